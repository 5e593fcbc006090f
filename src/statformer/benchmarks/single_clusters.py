"""Tables without clusters: one cloud of one kind, which nothing should split.

Ours. Axes: n points, d features.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

Matrix = Float[np.ndarray, "n d"]
Single = Callable[[np.random.Generator, int, int], Matrix]


def single_cluster(rng: np.random.Generator, n: int, d: int, kind: str) -> Matrix:
    """n points of one cloud of `kind`, under a random linear map in half of the tables.

    The map has condition number up to 10. "rounded" and "counts" tables keep their grid.
    """
    X = KINDS[kind](rng, n, d)
    if kind not in {"rounded", "counts"} and rng.random() < 0.5:
        left, _ = np.linalg.qr(rng.standard_normal((d, d)))
        right, _ = np.linalg.qr(rng.standard_normal((d, d)))
        X = X @ (left * np.exp(rng.uniform(-1.0, 1.0, d) * np.log(10.0) / 2.0)) @ right
    return X


def _student(rng: np.random.Generator, n: int, d: int) -> Matrix:
    degrees = rng.uniform(2.5, 6.0)
    scale = np.sqrt(degrees / rng.chisquare(degrees, size=(n, 1)))
    return rng.standard_normal((n, d)) * scale


def _lognormal(rng: np.random.Generator, n: int, d: int) -> Matrix:
    return np.exp(rng.uniform(0.3, 1.0, d) * rng.standard_normal((n, d)))


def _beta(rng: np.random.Generator, n: int, d: int) -> Matrix:
    return rng.beta(rng.uniform(0.8, 3.0, d), rng.uniform(0.8, 3.0, d), size=(n, d))


def _rounded(rng: np.random.Generator, n: int, d: int) -> Matrix:
    return np.round(rng.standard_normal((n, d)) / rng.uniform(0.2, 0.8, d))


def _counts(rng: np.random.Generator, n: int, d: int) -> Matrix:
    rate = rng.gamma(rng.uniform(2.0, 8.0), size=(n, 1)) * rng.uniform(0.3, 2.0, d)
    return rng.poisson(rate).astype(np.float64)


def _bent(rng: np.random.Generator, n: int, d: int) -> Matrix:
    z = rng.standard_normal((n, max(d, 2)))
    z[:, 1] += rng.uniform(0.3, 0.8) * (z[:, 0] ** 2 - 1.0)
    return z[:, :d]


KINDS: dict[str, Single] = {
    "normal": lambda rng, n, d: rng.standard_normal((n, d)),
    "student": _student,
    "lognormal": _lognormal,
    "uniform": lambda rng, n, d: rng.random((n, d)),
    "beta": _beta,
    "rounded": _rounded,
    "counts": _counts,
    "exponential": lambda rng, n, d: rng.exponential(size=(n, d)),
    "bent": _bent,
}
