"""Cells taken out of a complete table: completely at random, at random, not at random.

Ours, after Rubin's three mechanisms (1976). Axes: n rows, d columns.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from scipy.optimize import brentq
from scipy.special import expit

MECHANISMS = ("MCAR", "MAR", "MNAR")
SLOPE = 2.0  # of the logistic curve over z-scores; 0 would be completely at random
_SHARE_SEEN = 0.25  # of the columns under MAR that stay complete

Matrix = Float[np.ndarray, "n d"]


def with_missing_cells(X: Matrix, mechanism: str, rate: float, rng: np.random.Generator) -> Matrix:
    """A copy of X in which a share `rate` of all cells is NaN.

    MCAR  every cell with the same probability
    MAR   a quarter of the columns (at least one) stays complete; a cell (i, j) of the others is
          missing with probability expit(a_j + 2 s_i), s the z-score of a random combination of
          the complete columns, another one for each j
    MNAR  cell (i, j) is missing with probability expit(a_j +- 2 z_ij): its own value decides

    a_j is such that every column loses the same share. No row and no column is emptied. Raises
    ValueError for an unknown mechanism or a rate that leaves too little.
    """
    n, d = X.shape
    if mechanism not in MECHANISMS:
        raise ValueError(f"mechanism={mechanism!r} is unknown; choose from {MECHANISMS}")
    n_seen = max(1, round(_SHARE_SEEN * d)) if mechanism == "MAR" else 0
    share = rate * d / max(d - n_seen, 1)
    if not 0.0 <= share <= 0.9 or d < 2:
        raise ValueError(
            f"rate={rate} of a table of {d} columns under {mechanism} takes {share:.0%} of a "
            "column; use a lower rate or more columns"
        )
    Z = _z_scores(X)
    order = rng.permutation(d)
    lost = np.zeros((n, d), dtype=bool)
    for j in order[n_seen:]:
        if mechanism == "MCAR":
            pull = np.zeros(n)
        elif mechanism == "MAR":
            pull = _z_scores((Z[:, order[:n_seen]] @ rng.standard_normal(n_seen))[:, None])[:, 0]
        else:
            pull = Z[:, j] * rng.choice([-1.0, 1.0])
        lost[:, j] = rng.random(n) < _probability(SLOPE * pull, share)
    found = X.astype(np.float64, copy=True)
    found[_kept(lost, rng)] = np.nan
    return found


def _probability(pull: Float[np.ndarray, " n"], share: float) -> Float[np.ndarray, " n"]:
    """expit(a + pull) with a such that the mean is `share`."""
    if share == 0.0:
        return np.zeros(len(pull))
    bound = 30.0 + float(np.abs(pull).max())
    intercept = brentq(lambda a: float(expit(a + pull).mean()) - share, -bound, bound)
    found: Float[np.ndarray, " n"] = expit(intercept + pull)
    return found


def _kept(lost: Bool[np.ndarray, "n d"], rng: np.random.Generator) -> Bool[np.ndarray, "n d"]:
    """The same with one random cell given back to empty rows, and two to empty columns."""
    n, d = lost.shape
    empty = np.flatnonzero(lost.all(axis=1))
    lost[empty, rng.integers(d, size=len(empty))] = False
    for j in np.flatnonzero((~lost).sum(axis=0) < 2):
        lost[rng.choice(n, size=min(2, n), replace=False), j] = False
    return lost


def _z_scores(X: Matrix) -> Matrix:
    spread = X.std(axis=0)
    scored: Matrix = (X - X.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    return scored
