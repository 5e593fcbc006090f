"""The guards that every test meets, shown to fail."""

from __future__ import annotations

import jaxtyping
import numpy as np
import pytest
from jaxtyping import Float

from guards import changes, checked, global_state


def test_nothing_changed_is_no_change() -> None:
    assert changes(global_state(), global_state()) == []


def test_a_changed_seed_is_noticed() -> None:
    before = global_state()
    kept = np.random.get_state()  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002
    after = global_state()
    np.random.set_state(kept)  # noqa: NPY002
    assert changes(before, after) == ["numpy's global seed"]


def test_a_changed_dtype_and_torch_seed_are_noticed() -> None:
    torch = pytest.importorskip("torch")
    before = global_state()
    kept = torch.get_rng_state()
    torch.set_default_dtype(torch.float64)
    torch.rand(1)
    after = global_state()
    torch.set_default_dtype(torch.float32)
    torch.set_rng_state(kept)
    assert changes(before, after) == ["torch's global seed", "torch's default dtype"]


def test_shapes_are_checked_in_the_networks() -> None:
    @jaxtyping.jaxtyped(typechecker=checked)
    def inner(x: Float[np.ndarray, "n"], y: Float[np.ndarray, "n"]) -> float:
        return float(x @ y)

    assert inner(np.ones(3), np.ones(3)) == 3.0
    with pytest.raises(jaxtyping.TypeCheckError, match="inner"):
        inner(np.ones(3), np.ones(4))


def test_the_import_hook_is_at_work() -> None:
    from statformer.constructions.em_network import em_weights

    em_weights("diag", reg_covar=1)  # an int is a float, as it is for mypy
    with pytest.raises(jaxtyping.TypeCheckError, match="em_weights"):
        em_weights("diag", reg_covar="small")  # type: ignore[arg-type]
