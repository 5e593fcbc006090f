"""Ridge regression in closed form, and the exact Bayes predictor under several noise levels.

Axes: n points, d features, k noise levels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

Array = np.ndarray


def ridge(X: Float[Array, "n d"], y: Float[Array, " n"], penalty: float) -> Float[Array, " d"]:
    """argmin of (1 / 2n) |X w - y|^2 + (penalty / 2) |w|^2, that is (X'X / n + penalty)^-1 X'y / n.

    Raises LinAlgError where the matrix is singular: penalty 0 and fewer than d directions.
    """
    n, d = X.shape
    return np.asarray(np.linalg.solve(X.T @ X / n + penalty * np.eye(d), X.T @ y / n))


def bayes_penalty(noise_std: float, n_points: int, n_features: int) -> float:
    """d sigma^2 / n: the ridge of this penalty is the mean of w | X, y for w ~ N(0, I / d)."""
    return n_features * noise_std**2 / n_points


def mixture_posterior(
    X: Float[Array, "n d"], y: Float[Array, " n"], noise_stds: Sequence[float]
) -> Float[Array, " k"]:
    """P(noise level | X, y) for w ~ N(0, I / d) and levels equally probable beforehand.

    Proportional to N(y; 0, X X' / d + sigma_k^2 I). With X / sqrt(d) = U diag(s) V' that is the
    product over the columns of U of N(<u, y>; 0, s^2 + sigma^2), and sigma^2 alone is the variance
    of what lies outside of them.

    Raises ValueError for a noise level that is not positive, whose density is none.
    """
    if min(noise_stds) <= 0:
        raise ValueError(f"noise_stds={tuple(noise_stds)}: every level should be positive")
    U, s, _ = np.linalg.svd(X / X.shape[1] ** 0.5, full_matrices=False)
    noise = np.square(np.asarray(noise_stds))
    inside, variance = U.T @ y, s**2 + noise[:, None]
    log_density = -0.5 * (np.log(variance) + inside**2 / variance).sum(axis=1)
    outside = max(float(y @ y - inside @ inside), 0.0)
    log_density -= 0.5 * ((len(y) - len(s)) * np.log(noise) + outside / noise)
    p = np.exp(log_density - log_density.max())
    return np.asarray(p / p.sum())


def mixture_bayes(
    X: Float[Array, "n d"], y: Float[Array, " n"], noise_stds: Sequence[float]
) -> Float[Array, " d"]:
    """E[w | X, y] = sum_k p_k ridge(d sigma_k^2 / n): the predictor <w, x> of least squared error.

    w ~ N(0, I / d), y = <w, x> + sigma_k z, the level k unknown and uniform. Derived, not printed
    in Bai et al. 2023 (arXiv 2306.04637).
    """
    n, d = X.shape
    p = mixture_posterior(X, y, noise_stds)
    rivals = [ridge(X, y, bayes_penalty(sigma, n, d)) for sigma in noise_stds]
    return np.asarray(p @ np.stack(rivals))
