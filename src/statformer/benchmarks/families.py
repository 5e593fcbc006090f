"""Two families of clusters that no training prior holds, so they test what was learned elsewhere.

Both are ours. Axes: n points, d features, c components.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int
from scipy.special import ndtr
from scipy.stats import beta

Table = tuple[Float[np.ndarray, "n d"], Int[np.ndarray, " n"]]
Family = Callable[[np.random.Generator, int, int, int, float], Table]

_MARGIN = 0.1  # means of beta margins stay this far from 0 and 1


def copula_clusters(
    rng: np.random.Generator, n: int, d: int, n_components: int, separation: float
) -> Table:
    """Clusters with beta margins joined by a Gaussian copula; every value lies in [0, 1].

    Component k has a random correlation R_k and, in column j, the beta margin of mean m_kj and
    concentration kappa_kj; x_j = F_kj^-1(Phi(z_j)), z ~ N(0, R_k). Standard deviations are near
    one sd of the table, drawn between .06 and .16; the mean distance of a component's mean to its
    nearest neighbour is `separation` times sd. Where the means would leave [.1, .9], means and sd
    shrink together.
    """
    y = cluster_labels(rng, n, n_components)
    offset = _centres(rng, n_components, d, separation)
    sd = rng.uniform(0.06, 0.16)
    largest = float(np.abs(offset).max()) * sd
    shrink = min(1.0, (0.5 - _MARGIN) / largest) if largest > 0 else 1.0
    means = 0.5 + offset * sd * shrink
    spread = np.minimum(sd * shrink * rng.uniform(0.6, 1.4, size=means.shape), 0.25)
    kappa = np.maximum(means * (1.0 - means) / spread**2 - 1.0, 1.0)
    X = np.empty((n, d))
    for k in range(n_components):
        rows = y == k
        z = rng.standard_normal((int(rows.sum()), d)) @ np.linalg.cholesky(_correlation(rng, d)).T
        # Phi reaches 0 and 1 in floating point; the quantile there is the bound itself
        X[rows] = beta.ppf(ndtr(z), means[k] * kappa[k], (1.0 - means[k]) * kappa[k])
    return X, y


def curve_clusters(
    rng: np.random.Generator, n: int, d: int, n_components: int, separation: float
) -> Table:
    """Clusters along random smooth curves, with Gaussian thickness around them.

    x = mu_k + s_k [ sum_{j=1..3} a_kj cos(pi j t) / j + tau e ], t uniform on [0, 1], e normal,
    a_kj normal in R^d, tau between .05 and .3 of the curve's size, s_k such that the mean variance
    per column is 1. The mean distance of mu_k to its nearest neighbour is `separation`.
    """
    y = cluster_labels(rng, n, n_components)
    centres = _centres(rng, n_components, d, separation)
    X = np.empty((n, d))
    waves = np.arange(1, 4)
    for k in range(n_components):
        rows = y == k
        t = rng.random((int(rows.sum()), 1))
        amplitude = rng.standard_normal((3, d)) / waves[:, None]
        thickness = rng.uniform(0.05, 0.3) * np.sqrt(np.mean(amplitude**2))
        # cos(pi j t) has mean 0 and variance 1/2 over uniform t
        variance = 0.5 * np.mean((amplitude**2).sum(axis=0)) + thickness**2
        along = np.cos(np.pi * waves * t) @ amplitude
        around = thickness * rng.standard_normal(along.shape)
        X[rows] = centres[k] + (along + around) / np.sqrt(variance)
    return X, y


FAMILIES: dict[str, Family] = {"copula": copula_clusters, "curves": curve_clusters}


def cluster_labels(rng: np.random.Generator, n: int, n_components: int) -> Int[np.ndarray, " n"]:
    """Dirichlet(3) weights; every component owns at least two points."""
    if n < 2 * n_components:
        raise ValueError(
            f"n={n} rows cannot give {n_components} components two points each; "
            f"use at least {2 * n_components}"
        )
    weights = rng.dirichlet(np.full(n_components, 3.0))
    y = rng.choice(n_components, size=n, p=weights)
    y[: 2 * n_components] = np.repeat(np.arange(n_components), 2)
    return rng.permutation(y)


def _centres(
    rng: np.random.Generator, n_components: int, d: int, separation: float
) -> Float[np.ndarray, "c d"]:
    """Normal positions around 0, scaled to a mean nearest distance of `separation`."""
    raw = rng.standard_normal((n_components, d))
    if n_components == 1:
        return np.zeros((1, d))
    distance = np.linalg.norm(raw[:, None] - raw[None], axis=-1)
    np.fill_diagonal(distance, np.inf)
    scaled = raw * (separation / distance.min(axis=1).mean())
    centred: Float[np.ndarray, "c d"] = scaled - (scaled.max(axis=0) + scaled.min(axis=0)) / 2.0
    return centred


def _correlation(rng: np.random.Generator, d: int) -> Float[np.ndarray, "d d"]:
    """Correlation of A A' with A normal "d, 2 d + 1"."""
    A = rng.standard_normal((d, 2 * d + 1))
    covariance = A @ A.T
    scale = np.sqrt(np.diag(covariance))
    correlation: Float[np.ndarray, "d d"] = covariance / np.outer(scale, scale)
    return correlation
