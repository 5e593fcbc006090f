"""The alarm for catastrophic overfitting: one step no longer fools the network, ten steps do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["OverfittingAlarm", "OverfittingWarning", "Signs"]


class OverfittingWarning(UserWarning):
    """A run has overfitted to its single step; the message says where and what helps."""


@dataclass(frozen=True)
class Signs:
    """Held-out accuracies after an epoch, in eval mode and under the same budget.

    single_step   under one step of size eps from zero
    ten_steps     under PGD of ten steps
    """

    single_step: float
    ten_steps: float


@dataclass
class OverfittingAlarm:
    """Fires where a single step no longer finds what ten steps find.

    It fires where single_step > `high` and ten_steps < `low`, the signature seen in public logs of
    FGSM and FGSM-RS, or where ten_steps < `share` of its best so far while single_step - ten_steps
    > `gap`, which also meets data on which no accuracy reaches `high`. `high`, `low` and `share`
    are those of our reading of the paper and of the logs; `gap` is ours.
    """

    high: float = 0.8
    low: float = 0.05
    share: float = 0.5
    gap: float = 0.2
    best: float = 0.0

    def fires(self, signs: Signs) -> bool:
        """Hear the accuracies of one more epoch."""
        absolute = signs.single_step > self.high and signs.ten_steps < self.low
        fallen = signs.ten_steps < self.share * self.best
        apart = signs.single_step - signs.ten_steps > self.gap
        self.best = max(self.best, signs.ten_steps)
        return absolute or (fallen and apart)

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"best": self.best}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        self.best = state["best"]


def overfitting_message(
    epoch: int, signs: Signs, *, eps_255: float, step_255: float, start: str, action: str
) -> str:
    """What happened, where, and what helps, in one sentence each."""
    remedy = (
        f"a step below {step_255:g}/255, or start='carried' with regulariser='cwr'"
        if start != "carried"
        else f"a step below {step_255:g}/255, or n_steps=2 and more"
    )
    return (
        f"catastrophic overfitting in epoch {epoch}: on held-out images the accuracy is "
        f"{signs.single_step:.3f} under a single step and {signs.ten_steps:.3f} under ten "
        f"(eps_255={eps_255:g}, step_255={step_255:g}, start={start!r}). {action}; what helps is "
        f"{remedy}."
    )
