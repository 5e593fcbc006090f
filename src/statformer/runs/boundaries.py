"""The boundary of a phase diagram: where a measured value passes a level, as a power law.

Axes: s seeds, i places on the x axis, j places on the y axis, q points of the boundary, r draws.
Both axes are logarithmic. A grid line is a row (all x at one y) or a column (all y at one x).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

__all__ = ["Boundary", "Constant", "Crossings", "crossings", "fit_boundary", "fit_constant"]

FEWEST_POINTS = 3
_N_RESAMPLES = 2000
_LEVELS = (0.025, 0.975)

Along = Literal["x", "y"]


@dataclass(frozen=True)
class Crossings:
    """Points x, y "q" at which a grid line passes the level once, and the lines that do not.

    n_none     lines all on one side of the level
    n_several  lines that pass it more than once: they name no one point, and give none
    """

    x: Float[np.ndarray, " q"]
    y: Float[np.ndarray, " q"]
    n_none: int
    n_several: int

    @property
    def n_points(self) -> int:
        """Lines that pass the level once."""
        return len(self.x)

    def __str__(self) -> str:
        n_lines = self.n_points + self.n_none + self.n_several
        return (
            f"{self.n_points} of {n_lines} lines ({self.n_none} without a crossing, "
            f"{self.n_several} with several)"
        )


@dataclass(frozen=True)
class Boundary:
    """y = scale x^slope through the crossings.

    low, high  95 % interval of the slope; (-inf, inf) where the boundary may run along the y axis
               (only for crossings along x), NaN with one seed
    r_squared  of the line through the logarithms
    share      of the resamples that had enough points for a line
    """

    slope: float
    low: float
    high: float
    scale: float
    r_squared: float
    share: float
    crossings: Crossings

    @property
    def interval(self) -> tuple[float, float]:
        """(low, high) of the slope."""
        return self.low, self.high

    def at(self, x: Float[np.ndarray, " q"]) -> Float[np.ndarray, " q"]:
        """The boundary's y at places x."""
        with np.errstate(over="ignore", invalid="ignore"):  # of a boundary along the y axis
            return self.scale * np.asarray(x, dtype=np.float64) ** self.slope

    def __str__(self) -> str:
        return (
            f"slope {self.slope:.2f} [{self.low:.2f}, {self.high:.2f}], R² {self.r_squared:.3f}, "
            f"{self.crossings}"
        )


@dataclass(frozen=True)
class Constant:
    """x^power y = value on the boundary, the power being given by theory.

    low, high  95 % interval of the value; NaN with one seed
    r_squared  of the line of that slope through the logarithms: below 0 where a boundary that
               does not depend on the line's own axis would fit better
    share      of the resamples that had enough points
    """

    value: float
    low: float
    high: float
    power: float
    r_squared: float
    share: float
    crossings: Crossings

    @property
    def interval(self) -> tuple[float, float]:
        """(low, high) of the value."""
        return self.low, self.high

    def at(self, x: Float[np.ndarray, " q"]) -> Float[np.ndarray, " q"]:
        """The boundary's y at places x."""
        return self.value * np.asarray(x, dtype=np.float64) ** -self.power

    def __str__(self) -> str:
        return (
            f"{self.value:.3g} [{self.low:.3g}, {self.high:.3g}] at power {self.power:g}, "
            f"R² {self.r_squared:.3f}, {self.crossings}"
        )


def crossings(
    z: Float[np.ndarray, "i j"],
    x: Float[np.ndarray, " i"],
    y: Float[np.ndarray, " j"],
    level: float,
    *,
    along: Along = "x",
) -> Crossings:
    """Points where z (value z[i, j] at x[i] and y[j]) passes the level on each grid line.

    Between neighbours z is taken as linear in log x (or log y). A value equal to the level counts
    as above it. `along` "x" looks along each row, which suits boundaries steeper than 1, "y" along
    each column. Raises ValueError as `fit_boundary` does.
    """
    z, x, y = _checked(np.asarray(z, dtype=np.float64)[None], x, y, along)
    u, v, once, n_changes = _points(z, x, y, level, along)
    found, fixed = np.exp(u[0][once[0]]), np.exp(v[once[0]])
    first, second = (found, fixed) if along == "x" else (fixed, found)
    return Crossings(first, second, int((n_changes == 0).sum()), int((n_changes > 1).sum()))


def fit_boundary(
    z: Float[np.ndarray, "s i j"],
    x: Float[np.ndarray, " i"],
    y: Float[np.ndarray, " j"],
    level: float,
    rng: np.random.Generator,
    *,
    along: Along = "x",
) -> Boundary:
    """log y = a + b log x through the crossings of the mean over seeds, by least squares.

    z       one value per seed and place, z[s, i, j] at x[i] and y[j]
    along   the lines on which crossings are sought, and the coordinate whose squared distances
            from the line are least: along "x", log x = (log y - a) / b is fitted, as the error of
            a crossing lies along its line

    The interval is the percentile bootstrap over seeds: all values of a seed are drawn together
    and crossings sought again. It covers the luck of the seeds alone; how straight the boundary is
    says R^2. With very few seeds such intervals are too narrow.

    Raises ValueError for fewer than three crossings, for a z that has not the shape of the grid or
    is not finite, and for a grid that does not increase from above 0.
    """
    z, x, y = _checked(z, x, y, along)
    found = _found(z, x, y, level, along)
    draws = _resamples(z, rng)
    u, v, once, _ = _points(draws, x, y, level, along)
    lines = _lines(u, v, once)
    here = _of_crossings(found, along)
    ((slope, intercept, r_squared),) = _lines(*here)
    ends = np.nanquantile(lines[:, 0], _LEVELS) if len(z) > 1 else np.full(2, np.nan)
    if along == "x":
        with np.errstate(divide="ignore", invalid="ignore"):
            slope, intercept = 1.0 / slope, -intercept / slope
        crosses = ends[0] <= 0.0 <= ends[1]
        ends = np.array([-np.inf, np.inf]) if crosses else 1.0 / ends[::-1]
    share = float(np.isfinite(lines[:, 0]).mean())
    low, high = (float(end) for end in ends)
    with np.errstate(over="ignore"):  # of a boundary along the y axis
        scale = float(np.exp(intercept))
    return Boundary(float(slope), low, high, scale, float(r_squared), share, found)


def fit_constant(
    z: Float[np.ndarray, "s i j"],
    x: Float[np.ndarray, " i"],
    y: Float[np.ndarray, " j"],
    level: float,
    power: float,
    rng: np.random.Generator,
    *,
    along: Along = "x",
) -> Constant:
    """x^power y = c: log c is the mean of power log x + log y over the crossings.

    Arguments, intervals and errors are those of `fit_boundary`.
    """
    z, x, y = _checked(z, x, y, along)
    if not math.isfinite(power) or (along == "x" and power == 0):
        raise ValueError(f"power={power}: pass a finite number, along x another than 0")
    found = _found(z, x, y, level, along)
    log_x, log_y = np.log(found.x), np.log(found.y)
    mean = float((power * log_x + log_y).mean())
    u, v, once, _ = _points(_resamples(z, rng), x, y, level, along)
    sums = power * u + v if along == "x" else power * v + u
    enough = once.sum(axis=1) >= FEWEST_POINTS
    means = np.where(once, sums, 0.0).sum(axis=1)[enough] / once.sum(axis=1)[enough]
    ends = np.quantile(means, _LEVELS) if len(z) > 1 and len(means) else np.full(2, np.nan)
    own, rest = (log_x, (mean - log_y) / power) if along == "x" else (log_y, mean - power * log_x)
    total = float(np.square(own - own.mean()).sum())
    r_squared = 1.0 - float(np.square(own - rest).sum()) / total if total else math.nan
    low, high = (float(np.exp(end)) for end in ends)
    return Constant(math.exp(mean), low, high, power, r_squared, float(enough.mean()), found)


class _Checked(NamedTuple):
    z: Float[np.ndarray, "s i j"]
    x: Float[np.ndarray, " i"]
    y: Float[np.ndarray, " j"]


def _checked(
    z: Float[np.ndarray, "s i j"],
    x: Float[np.ndarray, " i"],
    y: Float[np.ndarray, " j"],
    along: Along,
) -> _Checked:
    if along not in ("x", "y"):
        raise ValueError(f"along={along!r}: pass 'x' or 'y'")
    z, x, y = (np.asarray(values, dtype=np.float64) for values in (z, x, y))
    for name, places in (("x", x), ("y", y)):
        increases = places.ndim == 1 and len(places) > 1 and (np.diff(places) > 0).all()
        if not (increases and places[0] > 0 and np.isfinite(places).all()):
            raise ValueError(f"{name} must be two or more numbers that increase from above 0")
    if z.ndim != 3 or not len(z) or z.shape[1:] != (len(x), len(y)):
        raise ValueError(
            f"z has shape {z.shape}: pass (seeds, {len(x)}, {len(y)}), z[s, i, j] at x[i] and y[j]"
        )
    if not np.isfinite(z).all():
        raise ValueError(
            f"z holds {int((~np.isfinite(z)).sum())} values that are not finite; leave out the "
            "seeds, rows or columns that have them"
        )
    return _Checked(z, x, y)


def _points(
    z: Float[np.ndarray, "r i j"],
    x: Float[np.ndarray, " i"],
    y: Float[np.ndarray, " j"],
    level: float,
    along: Along,
) -> tuple[Float[np.ndarray, "r q"], Float[np.ndarray, " q"], Bool[np.ndarray, "r q"], np.ndarray]:
    """Of each line: the crossing's log on its own axis, the line's log on the other, whether it
    passes the level once, and how often it does."""
    lines = z.transpose(0, 2, 1) if along == "x" else z
    own, other = (np.log(x), np.log(y)) if along == "x" else (np.log(y), np.log(x))
    changes = np.diff(lines >= level, axis=-1)
    n_changes = changes.sum(axis=-1)
    at = changes.argmax(axis=-1)[..., None]
    before, after = (np.take_along_axis(lines, at + step, -1)[..., 0] for step in (0, 1))
    once = n_changes == 1
    part = (level - before) / np.where(once, after - before, 1.0)
    u = own[at[..., 0]] + part * (own[at[..., 0] + 1] - own[at[..., 0]])
    return np.where(once, u, 0.0), other, once, n_changes


def _found(
    z: Float[np.ndarray, "s i j"],
    x: Float[np.ndarray, " i"],
    y: Float[np.ndarray, " j"],
    level: float,
    along: Along,
) -> Crossings:
    found = crossings(z.mean(axis=0), x, y, level, along=along)
    if found.n_points < FEWEST_POINTS:
        raise ValueError(
            f"level={level} is passed once by {found}: a boundary needs {FEWEST_POINTS}; pass "
            "another level, a wider grid, or the other `along`"
        )
    return found


def _of_crossings(
    found: Crossings, along: Along
) -> tuple[Float[np.ndarray, "1 q"], Float[np.ndarray, " q"], Bool[np.ndarray, "1 q"]]:
    log_x, log_y = np.log(found.x), np.log(found.y)
    own, other = (log_x, log_y) if along == "x" else (log_y, log_x)
    return own[None], other, np.ones((1, len(own)), dtype=bool)


def _resamples(z: Float[np.ndarray, "s i j"], rng: np.random.Generator) -> np.ndarray:
    """Means over seeds drawn with replacement "r i j"."""
    n = len(z)
    counts = rng.multinomial(n, np.full(n, 1.0 / n), size=_N_RESAMPLES) / n
    return np.tensordot(counts, z, axes=1)


def _lines(
    u: Float[np.ndarray, "r q"], v: Float[np.ndarray, " q"], once: Bool[np.ndarray, "r q"]
) -> Float[np.ndarray, "r 3"]:
    """Slope, intercept and R^2 of u on v over the points that count; NaN with fewer than three."""
    n = once.sum(axis=1)
    usable = n >= FEWEST_POINTS
    n = np.where(usable, n, 1)
    mean_u, mean_v = (np.where(once, one, 0.0).sum(axis=1) / n for one in (u, v[None]))
    du = np.where(once, u - mean_u[:, None], 0.0)
    dv = np.where(once, v - mean_v[:, None], 0.0)
    spread = np.where(usable, (dv * dv).sum(axis=1), np.nan)
    slope = (du * dv).sum(axis=1) / spread
    total = (du * du).sum(axis=1)
    r_squared = slope * slope * spread / np.where(total > 0, total, np.nan)
    return np.stack([slope, mean_u - slope * mean_v, r_squared], axis=1)
