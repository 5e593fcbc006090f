"""The guards of the tests: a run-time type checker, and a look at the state of the process."""

from __future__ import annotations

import sys

import numpy as np
from beartype import BeartypeConf, beartype

# An int is accepted where a float is asked for, as mypy does.
checked = beartype(conf=BeartypeConf(is_pep484_tower=True))


def global_state() -> dict[str, object]:
    """The settings that belong to the whole process; torch's only where torch is imported."""
    kind, keys, position, *rest = np.random.get_state(legacy=True)  # noqa: NPY002
    state: dict[str, object] = {
        "numpy's global seed": (kind, keys.tobytes(), position, *rest),
        "numpy's floating-point error handling": np.geterr(),
    }
    if "torch" in sys.modules:
        torch = sys.modules["torch"]
        state["torch's global seed"] = torch.get_rng_state().numpy().tobytes()
        state["torch's default dtype"] = torch.get_default_dtype()
        state["torch's grad mode"] = torch.is_grad_enabled()
        state["torch's deterministic mode"] = torch.are_deterministic_algorithms_enabled()
    return state


def changes(before: dict[str, object], after: dict[str, object]) -> list[str]:
    """Names of the settings that differ; one that had not been there before does not count."""
    return [name for name in before if before[name] != after[name]]
