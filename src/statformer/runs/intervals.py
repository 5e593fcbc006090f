"""Bootstrap intervals of means, paired differences and ratios, over tables within cells.

Axes: a cell is a vector with one number per table; several cells are strata that are resampled
each by itself, so an interval does not pay for differences between cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

N_RESAMPLES = 2000
_LEVELS = (0.025, 0.975)

Cell = Float[np.ndarray, " n"]


@dataclass(frozen=True)
class Interval:
    """An estimate, its 95 % percentile bootstrap interval, and the number of tables behind it."""

    value: float
    low: float
    high: float
    n: int

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def mean_interval(cells: Sequence[Cell], seed: int = 0) -> Interval:
    """Mean over all tables of all cells. Raises ValueError where there is no table."""
    cells = [np.asarray(cell, dtype=np.float64) for cell in cells if len(cell)]
    if not cells:
        raise ValueError("cells hold no table; measure at least one")
    total = sum(len(cell) for cell in cells)
    (sums,) = _resampled_sums([cells], seed)
    low, high = np.quantile(sums / total, _LEVELS)
    mean = sum(float(cell.sum()) for cell in cells) / total
    return Interval(mean, float(low), float(high), total)


def difference_interval(first: Sequence[Cell], second: Sequence[Cell], seed: int = 0) -> Interval:
    """Mean of first minus second, paired table by table."""
    pairs = zip(first, second, strict=True)
    return mean_interval([np.asarray(a) - np.asarray(b) for a, b in pairs], seed)


def ratio_interval(first: Sequence[Cell], second: Sequence[Cell], seed: int = 0) -> Interval:
    """sum first / sum second, both from the same resampled tables.

    Raises ValueError where second sums to 0.
    """
    cells = [[np.asarray(cell, dtype=np.float64) for cell in side] for side in (first, second)]
    total = [sum(float(cell.sum()) for cell in side) for side in cells]
    if not total[1] > 0:
        raise ValueError("second sums to 0; a ratio needs a positive denominator")
    above, below = _resampled_sums(cells, seed)
    ratios = above / np.where(below > 0, below, np.nan)
    low, high = np.nanquantile(ratios, _LEVELS)
    n = sum(len(cell) for cell in cells[0])
    return Interval(total[0] / total[1], float(low), float(high), n)


def _resampled_sums(sides: Sequence[Sequence[Cell]], seed: int) -> list[Float[np.ndarray, " r"]]:
    """Sum over all cells of each side, for each resample; the sides share their draws."""
    rng = np.random.default_rng(seed)
    sums = np.zeros((len(sides), N_RESAMPLES))
    for cells in zip(*sides, strict=True):
        n = len(cells[0])
        index = rng.integers(n, size=(N_RESAMPLES, n))
        sums += np.stack([cell[index].sum(axis=1) for cell in cells])
    return list(sums)
