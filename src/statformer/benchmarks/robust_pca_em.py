"""Probabilistic principal components by EM that leaves missing cells out.

x_i = mu + W z_i + e_i, z_i ~ N(0, I_k), e_i ~ N(0, v I_d) (Tipping and Bishop 1999), rows through
their observed cells alone. Axes: n rows, d columns, k components.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from statformer.benchmarks.robust_pca_filling import with_means

MOST_STEPS, TOLERANCE = 500, 1e-7
_LEAST_NOISE = 1e-10  # of the mean variance of the observed cells


@dataclass(frozen=True)
class ProbabilisticPCA:
    """mean "d", loadings "d k" (W), noise v, and the log likelihood after each step."""

    mean: Float[np.ndarray, " d"]
    loadings: Float[np.ndarray, "d k"]
    noise: float
    log_likelihood: list[float]


def probabilistic_pca(X: Float[np.ndarray, "n d"], n_components: int) -> ProbabilisticPCA:
    """Maximise the likelihood of the observed cells, beginning at the SVD of the filled table.

    mu is estimated along with W, as one more column of loadings on the constant 1. Ends where the
    log likelihood grows by less than 1e-7 of its size, or after 500 steps.
    """
    n, d = X.shape
    k = n_components
    there = (~np.isnan(X)).astype(np.float64)
    filled = with_means(X)
    mean = filled.mean(axis=0)
    _, s, Vt = np.linalg.svd(filled - mean, full_matrices=False)
    total = max(float((s**2).sum()) / (n * d), 1e-300)
    noise = max(float((s[k:] ** 2).sum()) / (n * max(d - k, 1)), _LEAST_NOISE * total)
    variances = np.maximum(s[:k] ** 2 / n - noise, 1e-3 * noise)
    W = Vt[:k].T * np.sqrt(variances)
    values = np.where(there > 0, X, 0.0)
    likelihoods: list[float] = []
    for _ in range(MOST_STEPS):
        away = (values - mean) * there
        M = np.einsum("nd,dk,dl->nkl", there, W, W) + noise * np.eye(k)
        M_inverse = np.linalg.inv(M)
        pulled = away @ W  # n k
        z = np.einsum("nkl,nl->nk", M_inverse, pulled)
        likelihoods.append(_log_likelihood(there, away, M, pulled, z, noise))
        if len(likelihoods) > 1:
            grown = likelihoods[-1] - likelihoods[-2]
            if grown <= TOLERANCE * abs(likelihoods[-2]):
                break
        zz = noise * M_inverse + np.einsum("nk,nl->nkl", z, z)
        # regress each column on (z, 1) over the rows that observed it
        A = np.empty((d, k + 1, k + 1))
        A[:, :k, :k] = np.einsum("nd,nkl->dkl", there, zz)
        A[:, :k, k] = A[:, k, :k] = there.T @ z
        A[:, k, k] = np.maximum(there.sum(axis=0), 1.0)
        A += 1e-12 * np.trace(A, axis1=1, axis2=2)[:, None, None] * np.eye(k + 1)
        b = np.concatenate([values.T @ z, values.sum(axis=0)[:, None]], axis=1)
        both = np.linalg.solve(A, b[:, :, None])[:, :, 0]
        W, mean = both[:, :k], both[:, k]
        left = ((values - mean - z @ W.T) * there) ** 2
        spread = np.einsum("nd,dk,nkl,dl->", there, W, noise * M_inverse, W)
        noise = max(float(left.sum() + spread) / float(there.sum()), _LEAST_NOISE * total)
    return ProbabilisticPCA(mean, W, noise, likelihoods)


def _log_likelihood(
    there: Float[np.ndarray, "n d"],
    away: Float[np.ndarray, "n d"],
    M: Float[np.ndarray, "n k k"],
    pulled: Float[np.ndarray, "n k"],
    z: Float[np.ndarray, "n k"],
    noise: float,
) -> float:
    """sum_i log N(x_i | mu, W W' + v I) over observed cells, by the identities of Woodbury."""
    k = M.shape[1]
    cells = there.sum(axis=1)
    logdet = np.linalg.slogdet(M)[1] + (cells - k) * np.log(noise)
    quadratic = ((away**2).sum(axis=1) - (pulled * z).sum(axis=1)) / noise
    return float(-0.5 * (cells * np.log(2.0 * np.pi) + logdet + quadratic).sum())
