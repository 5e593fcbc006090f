"""Weights and means of a spherical mixture from its first three moments, without a start.

Hsu and Kakade 2013 (arXiv 1206.5766): after whitening, the third moment is a sum of K orthogonal
rank-one tensors, which tensor power iterations with deflation find one after the other (Anandkumar
et al. 2014, arXiv 1210.7559). K may not exceed d. Numbers of restarts and iterations are ours.

Axes: n points, d features, c components.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

Array = np.ndarray
N_RESTARTS, N_ITERATIONS = 10, 60
_SMALLEST = 1e-6  # of the largest eigenvalue: what whitening divides by


def spherical_moments(
    X: Float[Array, "n d"],
) -> tuple[Float[Array, "d d"], Float[Array, "d d d"]]:
    """M2 = sum_k pi_k mu_k mu_k' and M3 = sum_k pi_k mu_k (x) mu_k (x) mu_k, estimated.

    sigma^2 is the smallest eigenvalue of the covariance and v its eigenvector;
    M1 = mean of x <v, x - xbar>^2,  M2 = mean of x x' - sigma^2 I,
    M3 = mean of x (x) x (x) x - sum_j (M1 (x) e_j (x) e_j and its two permutations).
    """
    n, d = X.shape
    centred = X - X.mean(axis=0)
    values, vectors = np.linalg.eigh(centred.T @ centred / n)
    M1 = (X * ((centred @ vectors[:, 0]) ** 2)[:, None]).mean(axis=0)
    eye = np.eye(d)
    M2 = X.T @ X / n - values[0] * eye
    M3 = np.einsum("ni,nj,nk->ijk", X, X, X, optimize=True) / n
    for subscripts in ("i,jk->ijk", "j,ik->ijk", "k,ij->ijk"):
        M3 = M3 - np.einsum(subscripts, M1, eye)
    return M2, M3


def components_of_moments(
    M2: Float[Array, "d d"],
    M3: Float[Array, "d d d"],
    n_components: int,
    rng: np.random.Generator,
) -> tuple[Float[Array, " c"], Float[Array, "c d"]]:
    """Weights and means with these moments: pi_k = 1 / lambda_k^2, mu_k = lambda_k B v_k.

    W whitens M2 on its top K directions, B undoes it, and (lambda_k, v_k) are the eigenpairs of
    M3(W, W, W). Weights are divided by their sum.

    Raises ValueError for more components than columns.
    """
    d = len(M2)
    if not 1 <= n_components <= d:
        raise ValueError(
            f"n_components={n_components} with {d} columns: moments of order three tell apart at "
            "most as many components as there are columns"
        )
    values, vectors = np.linalg.eigh(M2)
    top = slice(d - n_components, d)
    scale = np.sqrt(np.maximum(values[top], _SMALLEST * max(values[-1], _SMALLEST)))
    W, B = vectors[:, top] / scale, vectors[:, top] * scale
    T = np.einsum("ijk,ia,jb,kc->abc", M3, W, W, W, optimize=True)
    weights, means = [], []
    for _ in range(n_components):
        eigenvalue, v = _top_pair(T, rng)
        T = T - eigenvalue * np.einsum("a,b,c->abc", v, v, v)
        weights.append(1.0 / max(eigenvalue, _SMALLEST) ** 2)
        means.append(eigenvalue * (B @ v))
    shares = np.array(weights)
    return shares / shares.sum(), np.stack(means)


def method_of_moments(
    X: Float[Array, "n d"], n_components: int, rng: np.random.Generator
) -> tuple[Float[Array, " c"], Float[Array, "c d"]]:
    """Weights and means of sum_k pi_k N(mu_k, sigma^2 I), sigma estimated too.

    `rng` draws where power iterations begin. Raises ValueError for more components than columns.
    """
    return components_of_moments(*spherical_moments(X), n_components, rng)


def _top_pair(
    T: Float[Array, "c c c"], rng: np.random.Generator
) -> tuple[float, Float[Array, " c"]]:
    """The largest T(v, v, v) that power iterations v <- T(I, v, v) / |.| reach from all starts."""
    V = rng.normal(size=(N_RESTARTS, len(T)))
    V /= np.linalg.norm(V, axis=1, keepdims=True)
    for _ in range(N_ITERATIONS):
        V = np.einsum("abc,rb,rc->ra", T, V, V, optimize=True)
        V /= np.maximum(np.linalg.norm(V, axis=1, keepdims=True), 1e-300)
    reached = np.einsum("abc,ra,rb,rc->r", T, V, V, V, optimize=True)
    best = int(reached.argmax())
    return float(reached[best]), V[best]
