"""Rivals of the robust principal component network, each with its usual settings.

Every rival takes a table "n d" in which NaN is a missing cell, k and a seed, and returns an
orthonormal basis "k d" of the subspace it found. Axes: n rows, d columns, k components.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Float
from sklearn.covariance import MinCovDet

from statformer.benchmarks.robust_pca_em import probabilistic_pca
from statformer.benchmarks.robust_pca_filling import (
    with_iterated_svd,
    with_means,
    with_regressions,
)
from statformer.benchmarks.robust_pca_pursuit import component_pursuit

SVD = "SVD, mean imputation"
ITERATED = "iterated SVD imputation + SVD"
REGRESSIONS = "IterativeImputer + SVD"
PROBABILISTIC = "probabilistic PCA (EM)"
SPHERICAL = "spherical PCA"
MIN_COV_DET = "MinCovDet PCA"
PURSUIT = "principal component pursuit"

Matrix = Float[np.ndarray, "n d"]
Basis = Float[np.ndarray, "k d"]
Rival = Callable[[Matrix, int, int], Basis]


def leading(X: Matrix, n_components: int) -> Basis:
    """The first k right singular vectors of X as it is (not centred)."""
    basis: Basis = np.linalg.svd(X, full_matrices=False)[2][:n_components]
    return basis


def mean_svd(X: Matrix, n_components: int) -> Basis:
    """Missing cells at the means of their columns, centred, SVD."""
    filled = with_means(X)
    return leading(filled - filled.mean(axis=0), n_components)


def iterated_svd(X: Matrix, n_components: int) -> Basis:
    """Missing cells by the regularised iterative PCA, centred, SVD; the plain SVD without NaN."""
    filled = with_iterated_svd(X, n_components)
    return leading(filled - filled.mean(axis=0), n_components)


def regressions_svd(X: Matrix, n_components: int, seed: int) -> Basis:
    """Missing cells by scikit-learn's IterativeImputer, centred, SVD; the plain SVD without NaN."""
    filled = with_regressions(X, seed) if np.isnan(X).any() else X
    return leading(filled - filled.mean(axis=0), n_components)


def probabilistic(X: Matrix, n_components: int) -> Basis:
    """The span of the loadings of probabilistic PCA, fitted by EM to the observed cells."""
    W = probabilistic_pca(X, n_components).loadings
    return leading(W.T, n_components)


def spherical(X: Matrix, n_components: int) -> Basis:
    """SVD of the rows seen from the spatial median, each made of length 1 (Locantore et al. 1999).

    Missing cells are filled by the regularised iterative PCA first.
    """
    filled = with_iterated_svd(X, n_components)
    away = filled - spatial_median(filled)
    length = np.linalg.norm(away, axis=1, keepdims=True)
    return leading(away / np.where(length > 0, length, 1.0), n_components)


def min_cov_det(X: Matrix, n_components: int, seed: int) -> Basis:
    """Leading eigenvectors of the reweighted minimum covariance determinant of scikit-learn.

    Missing cells are filled by the regularised iterative PCA first. Raises ValueError unless
    n > 2 d, below which the determinant of half of the rows is not a measure of anything.
    """
    n, d = X.shape
    if n <= 2 * d:
        raise ValueError(f"X has {n} rows and {d} columns; MinCovDet needs n > 2 d, pass more rows")
    filled = with_iterated_svd(X, n_components)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "the covariance matrix is not full rank", and the like
        covariance = MinCovDet(random_state=seed).fit(filled).covariance_
    return np.linalg.eigh(covariance)[1][:, ::-1][:, :n_components].T


def pursuit(X: Matrix, n_components: int) -> Basis:
    """SVD of the centred low-rank part of the table seen from the medians of its columns."""
    away = X - np.nanmedian(X, axis=0)
    L = component_pursuit(away).low_rank
    return leading(L - L.mean(axis=0), n_components)


def spatial_median(
    X: Matrix, n_steps: int = 200, tolerance: float = 1e-9
) -> Float[np.ndarray, " d"]:
    """argmin_m sum_i ||x_i - m||, by Weiszfeld's steps from the medians of the columns."""
    centre: Float[np.ndarray, " d"] = np.median(X, axis=0)
    scale = max(float(np.median(np.abs(X - centre))), 1e-300)
    for _ in range(n_steps):
        weight = 1.0 / np.maximum(np.linalg.norm(X - centre, axis=1), 1e-9 * scale)
        moved = weight @ X / weight.sum()
        step = float(np.linalg.norm(moved - centre))
        centre = moved
        if step <= tolerance * scale:
            break
    return centre


def _without_luck(rival: Callable[[Matrix, int], Basis]) -> Rival:
    """A rival that draws nothing, so the seed does not matter."""
    return lambda X, n_components, _: rival(X, n_components)


RIVALS: Mapping[str, Rival] = {
    SVD: _without_luck(mean_svd),
    ITERATED: _without_luck(iterated_svd),
    REGRESSIONS: regressions_svd,
    PROBABILISTIC: _without_luck(probabilistic),
    SPHERICAL: _without_luck(spherical),
    MIN_COV_DET: min_cov_det,
    PURSUIT: _without_luck(pursuit),
}


def largest_angle(found: Basis, true: Basis) -> float:
    """Largest principal angle between two row spaces, in degrees; both orthonormal.

    By the sine of the angle where it is small and by its cosine where it is large, so that neither
    end loses digits (Bjorck and Golub 1973).
    """
    overlap = found @ true.T
    cosine = float(np.linalg.svd(overlap, compute_uv=False).min())
    if cosine**2 < 0.5:
        return float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))
    away = true - overlap.T @ found
    sine = float(np.linalg.svd(away, compute_uv=False).max())
    return float(np.degrees(np.arcsin(np.clip(sine, 0.0, 1.0))))
