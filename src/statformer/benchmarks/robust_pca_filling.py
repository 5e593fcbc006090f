"""Missing cells filled before a principal component analysis that needs complete tables.

Axes: n rows, d columns, k components. NaN is a missing cell.
"""

from __future__ import annotations

import warnings

import numpy as np
from jaxtyping import Float
from sklearn.experimental import enable_iterative_imputer  # noqa: F401  (makes the next line work)
from sklearn.impute import IterativeImputer

_MOST_SWEEPS, _TOLERANCE = 1000, 1e-6
_MOST_ROUNDS, _ENOUGH = 10, 1e-3  # scikit-learn's own defaults

Matrix = Float[np.ndarray, "n d"]


def with_means(X: Matrix) -> Matrix:
    """X with the mean of the observed cells of its column in each missing cell.

    A column without an observed cell becomes 0.
    """
    observed = ~np.isnan(X)
    count = np.maximum(observed.sum(axis=0), 1)
    mean = np.where(observed, X, 0.0).sum(axis=0) / count
    return np.where(observed, X, mean)


def with_iterated_svd(X: Matrix, n_components: int) -> Matrix:
    """X with its missing cells at the fit of a regularised SVD that is repeated until it rests.

    The regularised iterative PCA of Josse and Husson (2012, J. Soc. Fr. Stat. 153(2)): fill,
    centre, replace the singular values s_j, j <= k, by (s_j^2 - n v) / s_j with v the mean variance
    of the left-out directions, fill again. At most 1000 sweeps, or until the filled cells move by
    less than 1e-6 of their size.
    """
    filled = with_means(X)
    missing = np.isnan(X)
    if not missing.any():
        return filled
    n, d = X.shape
    k = min(n_components, min(n - 1, d) - 1)
    for _ in range(_MOST_SWEEPS):
        mean = filled.mean(axis=0)
        U, s, Vt = np.linalg.svd(filled - mean, full_matrices=False)
        noise = float((s[k:] ** 2).sum()) / max((n - 1) * d - k * (n - 1 + d - k), 1)
        shrunk = np.maximum(s[:k] ** 2 - n * noise, 0.0) / np.maximum(s[:k], 1e-300)
        fit = (mean + (U[:, :k] * shrunk) @ Vt[:k])[missing]
        step = float(np.linalg.norm(fit - filled[missing]))
        filled[missing] = fit
        if step <= _TOLERANCE * max(float(np.linalg.norm(fit)), 1e-300):
            break
    return filled


def with_regressions(X: Matrix, seed: int) -> Matrix:
    """X filled by scikit-learn's IterativeImputer: Bayesian ridge regressions, column by column.

    Values stay within the observed range of their column, for without bounds the rounds can grow
    without limit on tables with outlying cells.
    """
    low, high = np.nanmin(X, axis=0), np.nanmax(X, axis=0)
    imputer = IterativeImputer(
        max_iter=_MOST_ROUNDS, tol=_ENOUGH, min_value=low, max_value=high, random_state=seed
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "stopping criterion not reached": ten rounds are its own
        filled: Matrix = imputer.fit_transform(X)
    return filled
