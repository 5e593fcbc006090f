"""Learning rates as functions of the step alone, so that a resumed run needs no scheduler state."""

from __future__ import annotations

import math
from typing import Literal, get_args

__all__ = ["Schedule", "learning_rate"]

Schedule = Literal["onecycle", "drops", "constant"]
DROPS = (100 / 110, 105 / 110)  # the epochs of SKG-FAT's code, as shares of its 110
WARM = 0.3
FIRST, LAST = 25.0, 1e4  # start at peak / FIRST, end at peak / (FIRST LAST): torch's OneCycleLR


def learning_rate(schedule: Schedule, peak: float, step: int, n_steps: int) -> float:
    """The rate of step 0 <= step < n_steps.

    onecycle  from peak / 25 up to peak over the first 30 % of the steps, then down to peak / 25e4,
              both along half a cosine: torch's OneCycleLR, whose momentum is left constant here
    drops     peak, times 0.1 after 100/110 and again after 105/110 of the steps: SKG-FAT's code
    constant  peak

    Raises ValueError for an unknown schedule.
    """
    if schedule == "constant":
        return peak
    if schedule == "drops":
        return peak * 0.1 ** sum(step >= share * n_steps for share in DROPS)
    if schedule == "onecycle":
        top = max(WARM * n_steps - 1, 1e-9)
        if step <= top:
            return _between(peak / FIRST, peak, step / top)
        return _between(peak, peak / (FIRST * LAST), (step - top) / max(n_steps - 1 - top, 1e-9))
    raise ValueError(f"schedule={schedule!r}: pass one of {', '.join(get_args(Schedule))}")


def _between(a: float, b: float, share: float) -> float:
    """From a to b along half a cosine."""
    return b + (a - b) * (1 + math.cos(math.pi * share)) / 2
