"""Classical indices that choose among labelings of a table; higher is better for all of them.

Each gives one number per candidate, -inf where it is not defined. They read z-scores.
Axes: n points, d features, m candidate labelings, c clusters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int
from sklearn.metrics import (
    calinski_harabasz_score,
    davies_bouldin_score,
    silhouette_score,
)

from statformer.benchmarks.rivals import COVARIANCE_TYPES, REG_COVAR
from statformer.benchmarks.scores import agreement
from statformer.estimators.problems import n_parameters

N_DRAWS = 3
SHARE = 0.7  # of the rows in a draw

Matrix = Float[np.ndarray, "n d"]
Labels = Int[np.ndarray, " n"]
Values = Float[np.ndarray, " m"]
Refit = Callable[[Matrix, int], Mapping[object, Labels | None]]

SILHOUETTE, CALINSKI, DAVIES, BIC = "silhouette", "Calinski-Harabasz", "Davies-Bouldin", "BIC"
STABILITY, AGREEMENT = "stability", "mean agreement"
NAMES = (SILHOUETTE, CALINSKI, DAVIES, BIC, STABILITY, AGREEMENT)


def inner_indices(Z: Matrix, labelings: Sequence[Labels]) -> dict[str, Values]:
    """The indices that need the table and the labels alone."""
    found = {
        SILHOUETTE: [_scored(silhouette_score, Z, labels) for labels in labelings],
        CALINSKI: [_scored(calinski_harabasz_score, Z, labels) for labels in labelings],
        DAVIES: [-_scored(davies_bouldin_score, Z, labels, np.inf) for labels in labelings],
        BIC: [-bic_of_labels(Z, labels) for labels in labelings],
        AGREEMENT: mean_agreement(labelings),
    }
    return {name: np.array(values, dtype=np.float64) for name, values in found.items()}


def _scored(
    index: Callable[[Matrix, Labels], float], Z: Matrix, labels: Labels, worst: float = -np.inf
) -> float:
    if not 2 <= len(np.unique(labels)) < len(Z):
        return worst
    return float(index(Z, labels))


def mean_agreement(labelings: Sequence[Labels]) -> list[float]:
    """Mean adjusted Rand index of each candidate with all others."""
    m = len(labelings)
    alike = np.zeros((m, m))
    for i in range(m):
        for j in range(i):
            alike[i, j] = alike[j, i] = agreement(labelings[i], labelings[j])
    return list(alike.sum(axis=1) / max(m - 1, 1))


def stability(
    Z: Matrix,
    labelings: Mapping[object, Labels],
    refit: Refit,
    rng: np.random.Generator,
    n_draws: int = N_DRAWS,
) -> Values:
    """Mean ARI of each candidate with what its method finds on 70 % of the rows (without
    replacement), in the order of `labelings`.

    refit: (rows of Z, seed) -> labels by every candidate's method; None counts as 0.
    """
    total = np.zeros(len(labelings))
    for draw in range(n_draws):
        rows = np.sort(rng.choice(len(Z), round(SHARE * len(Z)), replace=False))
        again = refit(Z[rows], draw)
        for i, (key, labels) in enumerate(labelings.items()):
            other = again[key]
            total[i] += 0.0 if other is None else agreement(labels[rows], other)
    values: Values = total / n_draws
    return values


def bic_of_labels(Z: Matrix, labels: Labels) -> float:
    """BIC of the Gaussian mixture with the moments of the clusters, of its best covariance type.

    -2 sum log p(x) + q log n; the same ridge as EM.
    """
    n, d = Z.shape
    names, member = np.unique(labels, return_inverse=True)
    K = len(names)
    hot = (member[:, None] == np.arange(K)).astype(np.float64)
    share = hot.mean(axis=0)
    means = (hot.T @ Z) / hot.sum(axis=0)[:, None]
    rest = Z - means[member]
    own = np.stack(
        [rest[member == k].T @ rest[member == k] / (member == k).sum() for k in range(K)]
    )
    tied = np.broadcast_to(rest.T @ rest / n, own.shape)
    diagonal = own * np.eye(d)
    spherical = np.eye(d) * (np.trace(own, axis1=1, axis2=2) / d)[:, None, None]
    by_type = dict(zip(COVARIANCE_TYPES, (own, tied, diagonal, spherical), strict=True))
    return min(
        -2.0 * _log_density(Z, share, means, covariances + REG_COVAR * np.eye(d)).sum()
        + n_parameters(kind, K, d) * float(np.log(n))
        for kind, covariances in by_type.items()
    )


def _log_density(
    Z: Matrix,
    share: Float[np.ndarray, " c"],
    means: Float[np.ndarray, "c d"],
    covariances: Float[np.ndarray, "c d d"],
) -> Float[np.ndarray, " n"]:
    factor = np.linalg.cholesky(covariances)
    inverse = np.linalg.inv(factor)
    z = np.einsum("cij,nj->cni", inverse, Z) - np.einsum("cij,cj->ci", inverse, means)[:, None]
    log_det = np.log(np.diagonal(factor, axis1=1, axis2=2)).sum(axis=1)
    constant = np.log(share) - log_det - 0.5 * Z.shape[1] * np.log(2.0 * np.pi)
    score = constant[:, None] - 0.5 * (z**2).sum(axis=2)
    top = score.max(axis=0)
    found: Float[np.ndarray, " n"] = top + np.log(np.exp(score - top).sum(axis=0))
    return found
