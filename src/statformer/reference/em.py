"""EM for Gaussian mixtures and Lloyd's k-means, one table at a time, written to be read.

Axes: n points, d features, c components.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.special import logsumexp

Array = np.ndarray
COVARIANCE_TYPES = ("full", "tied", "diag", "spherical")


class Mixture(NamedTuple):
    """sum_k pi_k N(mu_k, Sigma_k); every covariance type is written out as full matrices."""

    weights: Float[Array, "c"]
    means: Float[Array, "c d"]
    covariances: Float[Array, "c d d"]


class Iterate(NamedTuple):
    """One iteration: the mixture of the M step, and the responsibilities under it."""

    mixture: Mixture
    responsibilities: Float[Array, "n c"]


# ---------------------------------------------------------------------------------------------
# Any covariance type (Dempster, Laird and Rubin 1977; Bishop 2006, section 9.2)


def log_densities(X: Float[Array, "n d"], mixture: Mixture) -> Float[Array, "n c"]:
    """log N(x_i; mu_k, Sigma_k) = -(d log 2 pi + log |Sigma_k| + m_ik) / 2, m the Mahalanobis."""
    _, d = X.shape
    columns = []
    for mean, covariance in zip(mixture.means, mixture.covariances, strict=True):
        L = np.linalg.cholesky(covariance)
        z = np.linalg.solve(L, (X - mean).T)
        log_determinant = 2.0 * np.log(np.diag(L)).sum()
        columns.append(-0.5 * (d * np.log(2.0 * np.pi) + log_determinant + (z**2).sum(axis=0)))
    return np.stack(columns, axis=1)


def e_step(X: Float[Array, "n d"], mixture: Mixture) -> Float[Array, "n c"]:
    """r_ik = pi_k N(x_i; mu_k, Sigma_k) / sum_k' pi_k' N(x_i; mu_k', Sigma_k')."""
    return _normalise(log_densities(X, mixture) + _log(mixture.weights))


def m_step(
    X: Float[Array, "n d"],
    responsibilities: Float[Array, "n c"],
    covariance_type: str = "full",
    ridge: float = 1e-6,
    sample_weight: Float[Array, "n"] | None = None,
) -> Mixture:
    """Weighted moments, with a_ik = w_i r_ik and n_k = sum_i a_ik:

        pi_k = n_k / sum_k n_k,   mu_k = sum_i a_ik x_i / n_k,
        S_k = sum_i a_ik (x_i - mu_k)(x_i - mu_k)' / n_k,

    | type      | Sigma_k                                  |
    |-----------|------------------------------------------|
    | full      | S_k + ridge I                            |
    | tied      | sum_k pi_k S_k + ridge I                 |
    | diag      | diagonal of S_k + ridge I                |
    | spherical | (trace(S_k) / d + ridge) I               |

    Raises ValueError for an unknown type, and where a component owns no weight.
    """
    if covariance_type not in COVARIANCE_TYPES:
        raise ValueError(
            f"covariance_type={covariance_type!r} is unknown; choose from {COVARIANCE_TYPES}"
        )
    n, d = X.shape
    w = np.ones(n) if sample_weight is None else sample_weight
    a = w[:, None] * responsibilities
    owned = a.sum(axis=0)
    if not np.all(owned > 0):
        empty = np.flatnonzero(~(owned > 0)).tolist()
        raise ValueError(f"components {empty} own no weight; leave them out of the start")
    weights = owned / owned.sum()
    means = (a.T @ X) / owned[:, None]
    difference = X[:, None, :] - means  # n c d
    S = np.einsum("nc,ncd,nce->cde", a, difference, difference) / owned[:, None, None]
    if covariance_type == "tied":
        S = np.broadcast_to(np.einsum("c,cde->de", weights, S), S.shape)
    elif covariance_type == "diag":
        S = S * np.eye(d)
    elif covariance_type == "spherical":
        S = np.trace(S, axis1=1, axis2=2)[:, None, None] / d * np.eye(d)
    return Mixture(weights, means, S + ridge * np.eye(d))


def em(
    X: Float[Array, "n d"],
    start: Mixture,
    n_steps: int,
    covariance_type: str = "full",
    ridge: float = 1e-6,
    sample_weight: Float[Array, "n"] | None = None,
) -> list[Iterate]:
    """An E step under `start`, then `n_steps` times M and E."""
    iterates = []
    responsibilities = e_step(X, start)
    for _ in range(n_steps):
        mixture = m_step(X, responsibilities, covariance_type, ridge, sample_weight)
        responsibilities = e_step(X, mixture)
        iterates.append(Iterate(mixture, responsibilities))
    return iterates


def log_likelihood(X: Float[Array, "n d"], mixture: Mixture) -> float:
    """Mean over points of log sum_k pi_k N(x_i; mu_k, Sigma_k): what EM never lowers (ridge 0)."""
    joint = log_densities(X, mixture) + _log(mixture.weights)
    return float(logsumexp(joint, axis=1).mean())


# ---------------------------------------------------------------------------------------------
# Isotropic components of known standard deviation sigma: only pi and mu are estimated


def squared_distances(X: Float[Array, "n d"], means: Float[Array, "c d"]) -> Float[Array, "n c"]:
    """|x_i - mu_k|^2."""
    difference = X[:, None, :] - means
    return np.asarray(np.einsum("ncd,ncd->nc", difference, difference))


def isotropic_e_step(
    X: Float[Array, "n d"], weights: Float[Array, "c"], means: Float[Array, "c d"], sigma: float
) -> Float[Array, "n c"]:
    """r_i = softmax_k(log pi_k - |x_i - mu_k|^2 / (2 sigma^2))."""
    return _normalise(_log(weights) - squared_distances(X, means) / (2.0 * sigma**2))


def isotropic_m_step(
    X: Float[Array, "n d"],
    responsibilities: Float[Array, "n c"],
    means: Float[Array, "c d"],
    sample_weight: Float[Array, "n"] | None = None,
) -> tuple[Float[Array, "c"], Float[Array, "c d"]]:
    """pi_k = n_k / n and mu_k = sum_i w_i r_ik x_i / n_k; where n_k = 0 the mean stays."""
    w = np.ones(len(X)) if sample_weight is None else sample_weight
    a = w[:, None] * responsibilities
    owned = a.sum(axis=0)
    moved = (a.T @ X) / np.where(owned > 0, owned, 1.0)[:, None]
    return owned / w.sum(), np.where(owned[:, None] > 0, moved, means)


def isotropic_em(
    X: Float[Array, "n d"],
    weights: Float[Array, "c"],
    means: Float[Array, "c d"],
    sigma: float,
    n_steps: int,
    sample_weight: Float[Array, "n"] | None = None,
) -> list[Iterate]:
    """An E step under the start, then `n_steps` times M and E, with Sigma_k = sigma^2 I."""
    c, d = means.shape
    covariances = np.broadcast_to(sigma**2 * np.eye(d), (c, d, d))
    iterates = []
    responsibilities = isotropic_e_step(X, weights, means, sigma)
    for _ in range(n_steps):
        weights, means = isotropic_m_step(X, responsibilities, means, sample_weight)
        responsibilities = isotropic_e_step(X, weights, means, sigma)
        iterates.append(Iterate(Mixture(weights, means, covariances), responsibilities))
    return iterates


# ---------------------------------------------------------------------------------------------
# Lloyd's k-means (Lloyd 1982): the limit sigma -> 0 with equal weights


def assign(X: Float[Array, "n d"], means: Float[Array, "c d"]) -> Int[Array, "n"]:
    """z_i = argmin_k |x_i - mu_k|^2; the first of equals."""
    return np.asarray(squared_distances(X, means).argmin(axis=1))


def assignment_margin(X: Float[Array, "n d"], means: Float[Array, "c d"]) -> Float[Array, "n"]:
    """Half the gap between the smallest and second smallest squared distance of each point.

    It is the gap between the two largest scores <x, mu_k> - |mu_k|^2 / 2. One centre: infinity.
    """
    if len(means) == 1:
        return np.full(len(X), np.inf)
    ordered = np.sort(squared_distances(X, means), axis=1)
    gap: Array = ordered[:, 1] - ordered[:, 0]
    return 0.5 * gap


def move(
    X: Float[Array, "n d"],
    labels: Int[Array, "n"],
    means: Float[Array, "c d"],
    sample_weight: Float[Array, "n"] | None = None,
) -> Float[Array, "c d"]:
    """Each centre to the mean of its points; a centre without points stays."""
    one_hot = np.eye(len(means))[labels]
    return isotropic_m_step(X, one_hot, means, sample_weight)[1]


def lloyd(
    X: Float[Array, "n d"],
    means: Float[Array, "c d"],
    n_steps: int,
    sample_weight: Float[Array, "n"] | None = None,
) -> list[tuple[Float[Array, "c d"], Int[Array, "n"]]]:
    """Assign under the start, then `n_steps` times move and assign: (means, labels) of each."""
    iterates = []
    labels = assign(X, means)
    for _ in range(n_steps):
        means = move(X, labels, means, sample_weight)
        labels = assign(X, means)
        iterates.append((means, labels))
    return iterates


def _log(weights: Float[Array, "c"]) -> Float[Array, "c"]:
    with np.errstate(divide="ignore"):  # log 0 = -inf: a component that is not there
        return np.asarray(np.log(weights))


def _normalise(scores: Float[Array, "n c"]) -> Float[Array, "n c"]:
    return np.asarray(np.exp(scores - logsumexp(scores, axis=1, keepdims=True)))
