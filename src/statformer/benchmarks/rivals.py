"""scikit-learn's clusterers at their best: many starts, sensible ridges, standardised columns.

All read z-scores (column mean 0, variance 1; a constant column is 0). EM adds 1e-4 to variances,
for scikit-learn's 1e-6 lets discrete columns collapse. A method that raises counts as ARI 0.

Axes: n points, d features, j + 1 numbers of components.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Int
from sklearn.cluster import AgglomerativeClustering, KMeans
from sklearn.mixture import BayesianGaussianMixture, GaussianMixture

COVARIANCE_TYPES = ("full", "tied", "diag", "spherical")
REG_COVAR = 1e-4
N_STARTS = 10
N_STARTS_PER_TYPE = 5

Matrix = Float[np.ndarray, "n d"]
Labels = Int[np.ndarray, " n"]
Rival = Callable[[Matrix, int, int], Labels]


def z_scores(X: Matrix) -> Matrix:
    """(x - mean) / standard deviation per column."""
    centred = X - X.mean(axis=0)
    spread = X.std(axis=0)
    scored: Matrix = centred / np.where(spread > 0, spread, 1.0)
    return scored


def k_means(Z: Matrix, n_components: int, seed: int) -> Labels:
    """k-means++ and Lloyd, 10 starts."""
    labels: Labels = KMeans(n_components, n_init=N_STARTS, random_state=seed).fit(Z).labels_
    return labels


def em_full(Z: Matrix, n_components: int, seed: int) -> Labels:
    """EM with full covariances, 10 starts."""
    labels: Labels = em_of_type(Z, n_components, "full", N_STARTS, seed).predict(Z)
    return labels


def bayesian_mixture(Z: Matrix, n_components: int, seed: int) -> Labels:
    """Variational mixture with a Dirichlet process prior and full covariances, 3 starts."""
    model = BayesianGaussianMixture(
        n_components=n_components,
        n_init=3,
        max_iter=200,
        reg_covar=REG_COVAR,
        random_state=seed,
    )
    labels: Labels = model.fit(Z).predict(Z)
    return labels


def ward(Z: Matrix, n_components: int, seed: int) -> Labels:  # noqa: ARG001
    """Agglomerative clustering by Ward's criterion; it draws nothing."""
    labels: Labels = AgglomerativeClustering(n_components).fit(Z).labels_
    return labels


def gaussian_mixtures(
    Z: Matrix, n_components: int, seed: int, n_starts: int = N_STARTS_PER_TYPE
) -> dict[str, GaussianMixture | None]:
    """EM of every covariance type, `n_starts` starts each; None for a type that raised."""
    found: dict[str, GaussianMixture | None] = {}
    for covariance_type in COVARIANCE_TYPES:
        try:
            found[covariance_type] = em_of_type(Z, n_components, covariance_type, n_starts, seed)
        except (ValueError, np.linalg.LinAlgError):
            found[covariance_type] = None
    return found


def best_by_bic(
    Z: Matrix, n_components: int, seed: int, n_starts: int = N_STARTS_PER_TYPE
) -> tuple[GaussianMixture, float]:
    """The model of the best type and its BIC; ValueError where every type fails."""
    models = gaussian_mixtures(Z, n_components, seed, n_starts)
    found = [(float(m.bic(Z)), i, m) for i, m in enumerate(models.values()) if m is not None]
    if not found:
        raise ValueError(f"EM of {n_components} components failed for all covariance types")
    bic, _, model = min(found)
    return model, bic


def bic_sweep(
    Z: Matrix, counts: Sequence[int], seed: int, n_starts: int = N_STARTS_PER_TYPE
) -> tuple[Float[np.ndarray, " j"], Labels]:
    """log P(K) from BIC weights, exp(-BIC / 2) of the best type at each K, and the best labels.

    A K for which every type fails gets probability 0; ValueError where that holds for all.
    """
    score = np.full(len(counts), -np.inf)
    best: GaussianMixture | None = None
    for j, K in enumerate(counts):
        try:
            model, bic = best_by_bic(Z, K, seed, n_starts)
        except ValueError:
            continue
        score[j] = -0.5 * bic
        if score[j] == score.max():
            best = model
    if best is None:
        raise ValueError(f"EM failed for every K in {list(counts)}")
    top = score.max()
    return score - top - np.log(np.exp(score - top).sum()), best.predict(Z)


def em_of_type(
    Z: Matrix, n_components: int, covariance_type: str, n_starts: int, seed: int
) -> GaussianMixture:
    """EM of one covariance type, fitted; raises ValueError where every start fails."""
    model = GaussianMixture(
        n_components,
        covariance_type=covariance_type,
        n_init=n_starts,
        reg_covar=REG_COVAR,
        random_state=seed,
    )
    return model.fit(Z)
