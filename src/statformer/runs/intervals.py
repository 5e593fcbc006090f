"""Bootstrap intervals of means, paired differences and ratios, over tables within cells.

Axes: a cell is a vector with one number per table; several cells are strata that are resampled
each by itself, so an interval does not pay for differences between cells.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


def resampled_interval(
    sides: Sequence[Sequence[np.ndarray]],
    statistic: Callable[[list[np.ndarray]], np.ndarray],
    seed: int = 0,
) -> Interval:
    """A statistic of sums over all tables, such as a calibration error over the rows of all.

    sides      methods that saw the same tables; each a list of cells "n ...", an array per table
    statistic  sums of each side "r ..." -> "r"; the leading axis may be absent
    """
    arrays = [[np.asarray(cell, dtype=np.float64) for cell in side] for side in sides]
    flat = [[cell.reshape(len(cell), -1) for cell in side] for side in arrays]
    shape = arrays[0][0].shape[1:]
    rng = np.random.default_rng(seed)
    sums = [np.zeros((N_RESAMPLES, cells[0].shape[1])) for cells in flat]
    for cells in zip(*flat, strict=True):
        n = len(cells[0])
        counts = rng.multinomial(n, np.full(n, 1.0 / n), size=N_RESAMPLES).astype(np.float64)
        sums = [total + counts @ cell for total, cell in zip(sums, cells, strict=True)]
    value = statistic([np.sum([cell.sum(axis=0) for cell in side], axis=0) for side in arrays])
    spread = statistic([total.reshape(N_RESAMPLES, *shape) for total in sums])
    low, high = np.quantile(spread, _LEVELS)
    return Interval(float(value), float(low), float(high), sum(len(cell) for cell in arrays[0]))


def _resampled_sums(sides: Sequence[Sequence[Cell]], seed: int) -> list[Float[np.ndarray, " r"]]:
    """Sum over all cells of each side, for each resample; the sides share their draws."""
    rng = np.random.default_rng(seed)
    sums = np.zeros((len(sides), N_RESAMPLES))
    for cells in zip(*sides, strict=True):
        n = len(cells[0])
        index = rng.integers(n, size=(N_RESAMPLES, n))
        sums += np.stack([cell[index].sum(axis=1) for cell in cells])
    return list(sums)
