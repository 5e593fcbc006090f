"""Slopes of straight lines, such as exponents of rates, with bootstrap intervals.

Axes: q points, in whatever coordinates the line is straight; take log10 before.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

__all__ = ["ENOUGH_DECADES", "Fit", "fit_line"]

ENOUGH_DECADES = 1.5  # of the quantity on the x axis; less shows no power law
_N_RESAMPLES = 2000
_LEVELS = (0.025, 0.975)


@dataclass(frozen=True)
class Fit:
    """y = intercept + slope x, the slope's 95 % interval, and the decades the points cover."""

    slope: float
    low: float
    high: float
    intercept: float
    decades: float

    @property
    def interval(self) -> tuple[float, float]:
        """(low, high) of the slope."""
        return self.low, self.high

    @property
    def is_short(self) -> bool:
        """Whether the points cover less than `ENOUGH_DECADES`."""
        return self.decades < ENOUGH_DECADES

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "is_short": self.is_short}

    def __str__(self) -> str:
        short = f" (short: {self.decades:.1f} decades)" if self.is_short else ""
        return f"{self.slope:.3f} [{self.low:.3f}, {self.high:.3f}]{short}"


def fit_line(
    x: Float[np.ndarray, " q"],
    y: Float[np.ndarray, " q"],
    rng: np.random.Generator,
    seeds: np.ndarray | None = None,
    *,
    log_base: float = 10.0,
) -> Fit:
    """Least squares of y on x; the interval is the percentile bootstrap over points or seeds.

    slope = sum (x - mean x)(y - mean y) / sum (x - mean x)^2

    seeds     of each point, "q". With at least two, all points of a seed are drawn together: those
              of one seed share their luck, and points drawn apart would look more certain than they
              are
    log_base  base of the logarithms in x, 10 for `np.log10` and e for `np.log`; the decades are
              (max x - min x) log10(log_base), and mean nothing where x is no logarithm

    Draws of which all points share one x have no slope and are left out. Raises ValueError for
    fewer than three points, points that are not finite, and a single x.
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(f"x has shape {x.shape} and y {y.shape}; pass one number each per point")
    if len(x) < 3:
        raise ValueError(f"x holds {len(x)} points; a slope with an interval needs at least 3")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("x or y holds a number that is not finite; leave such points out")
    if np.ptp(x) == 0:
        raise ValueError(f"x is {x[0]} at every point; a slope needs two places")
    # Sums of each unit that is drawn as a whole: 1, x, y, xx, xy. Centred, for accuracy.
    middle, height = float(x.mean()), float(y.mean())
    u, v = x - middle, y - height
    moments = np.stack([np.ones_like(u), u, v, u * u, u * v], axis=1)
    if seeds is not None and len(np.unique(seeds)) > 1:
        _, unit = np.unique(np.asarray(seeds), return_inverse=True)
        units = np.zeros((int(unit.max()) + 1, moments.shape[1]))
        np.add.at(units, unit.ravel(), moments)
    else:
        units = moments
    n = len(units)
    counts = rng.multinomial(n, np.full(n, 1.0 / n), size=_N_RESAMPLES).astype(np.float64)
    slopes = _slopes(counts @ units)
    slope = float(_slopes(moments.sum(axis=0)[None])[0])
    low, high = np.nanquantile(slopes, _LEVELS)
    decades = float(np.ptp(x) * np.log10(log_base))
    return Fit(slope, float(low), float(high), height - slope * middle, decades)


def _slopes(sums: Float[np.ndarray, "r 5"]) -> Float[np.ndarray, " r"]:
    """Slopes from the sums of 1, x, y, xx and xy; NaN where all x are equal."""
    n, u, v, uu, uv = sums.T
    spread = n * uu - u * u
    usable = spread > 1e-12 * np.maximum(n * uu, np.finfo(np.float64).tiny)
    return np.where(usable, n * uv - u * v, np.nan) / np.where(usable, spread, 1.0)
