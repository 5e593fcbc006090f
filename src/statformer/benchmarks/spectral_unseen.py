"""Low-rank tables, and corruptions of them, that no prior of this package holds.

x_i = mean + sum_j s_j u_ij v_j + e_i with k orthonormal v_j, unit variances of u and e, and weakest
s_k between 2.5 and 5. All of it is ours. Axes: n rows, d columns, k components.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

Matrix = Float[np.ndarray, "n d"]
Basis = Float[np.ndarray, "k d"]
LONGEST_RUN = 12  # rows during which a column stands still


@dataclass(frozen=True)
class LowRankTable:
    """A clean table X "n d", its noise-free part "n d", and the true basis "k d"."""

    X: Matrix
    signal: Matrix
    basis: Basis


Corruption = Callable[[LowRankTable, float, np.random.Generator], Matrix]


def low_rank_table(n: int, d: int, n_components: int, rng: np.random.Generator) -> LowRankTable:
    """A clean table with uniform scores."""
    basis: Basis = np.linalg.qr(rng.standard_normal((d, n_components)))[0].T
    weakest = rng.uniform(2.5, 5.0)
    strengths = weakest * np.cumprod(np.append(1.0, rng.uniform(1.1, 1.6, n_components - 1)))[::-1]
    scores = rng.uniform(-np.sqrt(3.0), np.sqrt(3.0), (n, n_components))
    signal = (scores * strengths) @ basis + 5.0 * rng.standard_normal(d)
    return LowRankTable(signal + rng.standard_normal((n, d)), signal, basis)


def unit_errors(table: LowRankTable, share: float, rng: np.random.Generator) -> Matrix:
    """A share of the cells was written in another unit: 10 times the value, or a tenth of it."""
    X = table.X
    hit = rng.random(X.shape) < share
    return np.where(hit, X * rng.choice([10.0, 0.1], X.shape), X)


def stuck_runs(table: LowRankTable, share: float, rng: np.random.Generator) -> Matrix:
    """Runs of 4 to 12 rows in which a column repeats one extreme value, until a share is hit."""
    X = table.X
    n, d = X.shape
    found = X.copy()
    hit = np.zeros(X.shape, dtype=bool)
    spread = X.std(axis=0)
    while hit.mean() < share:
        j, first = int(rng.integers(d)), int(rng.integers(n))
        rows = slice(first, min(first + int(rng.integers(4, LONGEST_RUN + 1)), n))
        value = X[:, j].mean() + rng.choice([-1.0, 1.0]) * rng.uniform(3.0, 6.0) * spread[j]
        found[rows, j], hit[rows, j] = value, True
    return found


def permuted_rows(table: LowRankTable, share: float, rng: np.random.Generator) -> Matrix:
    """A share of the rows has its values in a wrong order of the columns, another order each."""
    n, d = table.X.shape
    order = rng.permuted(np.tile(np.arange(d), (n, 1)), axis=1)
    outlying = rng.permutation(n) < round(share * n)
    return np.where(outlying[:, None], np.take_along_axis(table.X, order, axis=1), table.X)


def censored(table: LowRankTable, share: float, rng: np.random.Generator) -> Matrix:
    """Values below a limit of detection read as the limit: the lowest share of every column."""
    flip = rng.choice([-1.0, 1.0], table.X.shape[1])  # or the highest
    turned = flip * table.X
    return flip * np.maximum(turned, np.quantile(turned, share, axis=0))


CORRUPTIONS: Mapping[str, Corruption] = {
    "unit errors": unit_errors,
    "stuck runs": stuck_runs,
    "permuted rows": permuted_rows,
    "censored": censored,
}
