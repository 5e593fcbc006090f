"""The settings of a run of fast adversarial training, checked where they are made."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import torch

from statformer.robust.guidance import Guidance, Regulariser, Relaxation
from statformer.robust.schedule import Schedule

__all__ = ["Action", "MakeOptimizer", "Precision", "Settings", "doubt_of_units"]

Action = Literal["stop", "rollback", "warn"]
Precision = Literal["float32", "bfloat16"]
MakeOptimizer = Callable[[Iterable[torch.nn.Parameter]], torch.optim.Optimizer]
USUAL_EPS = (0.5, 128.0)


def doubt_of_units(eps_255: float) -> str:
    """What to say of a budget outside 0.5 to 128, which may be in other units; else nothing."""
    low, high = USUAL_EPS
    if low <= eps_255 <= high:
        return ""
    hint = f"; did you mean {255 * eps_255:g}?" if eps_255 < 1 else ""
    return (
        f"eps_255={eps_255:g} is a budget of {eps_255:g}/255 on pixels in [0, 1], outside the "
        f"usual {low:g} to {high:g}{hint}"
    )


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All that decides a run but the network, the data and the seed; a checkpoint keeps it.

    The fields are those of `FastAdversarialTrainer`, where they are explained. Raises ValueError
    for values that no run could have, warns where eps looks as if it were not in units of 1/255.
    """

    eps_255: float
    step_255: float
    start: str
    n_steps: int
    regulariser: Regulariser | None
    relaxation: Relaxation | None
    guidance: Guidance
    strength: float
    learning_rate: float
    schedule: Schedule
    averaging: float | None
    alarm: Action | None
    precision: Precision
    channels_last: bool

    def __post_init__(self) -> None:
        for name, known in (
            ("regulariser", (*get_args(Regulariser), None)),
            ("relaxation", (*get_args(Relaxation), None)),
            ("guidance", get_args(Guidance)),
            ("schedule", get_args(Schedule)),
            ("alarm", (*get_args(Action), None)),
            ("precision", get_args(Precision)),
        ):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"{name}={getattr(self, name)!r}: pass one of {', '.join(map(repr, known))}"
                )
        for name in ("eps_255", "step_255", "learning_rate"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}={getattr(self, name)}: pass a positive number")
        if not self.strength >= 0:
            raise ValueError(f"strength={self.strength}: pass 0 or more")
        if self.n_steps < 1:
            raise ValueError(f"n_steps={self.n_steps}: pass at least 1")
        if self.averaging is not None and not 0 < self.averaging < 1:
            raise ValueError(f"averaging={self.averaging}: pass a number between 0 and 1, or None")
        if self.guidance == "literal" and self.relaxation != "sklr":
            raise ValueError(
                f"guidance='literal' with relaxation={self.relaxation!r}: it is a way to work out "
                "the label weights of relaxation='sklr'; pass that, or guidance='epoch'"
            )
        self._warn_of_units()

    def _warn_of_units(self) -> None:
        if doubt := doubt_of_units(self.eps_255):
            warnings.warn(doubt, stacklevel=5)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)
