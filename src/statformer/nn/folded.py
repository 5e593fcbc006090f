"""What a stack of identical regression layers does to its weights, without the tokens.

All tokens of `nn/relu_transformer.py` hold the same w, and two ReLU heads of opposite sign are one
linear head, so a ridge layer is w <- w - step (S w - b + penalty w) and a Lasso layer is the same
without penalty and then shrinks, with S = X'X / n and b = X'y / n. Along an eigenvector of S a
ridge layer is w <- (1 - step (e + penalty)) w + step b, and T of them are a geometric sum: the
answer of any number of layers for the price of one. Tests hold both against the layers.

Axes: k models, d features.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

Array = np.ndarray


def ridge_factors(
    eigenvalues: Float[Array, " d"], penalty: float, step_size: float, n_layers: int
) -> Float[Array, " d"]:
    """w = factor b along each eigenvector after `n_layers` ridge layers from 0.

    (1 - (1 - step a)^T) / a with a = e + penalty > 0, for step sizes below 1 / max a or equal.

    Raises ValueError for a negative number of layers, a penalty that is not positive, or a step
    size outside (0, 1 / max a].
    """
    a = eigenvalues + penalty
    if n_layers < 0 or not penalty > 0:
        raise ValueError(f"n_layers={n_layers}, penalty={penalty!r}: pass 0 or more, and above 0")
    if not 0 < step_size * a.max() <= 1 + 1e-12:
        raise ValueError(f"step_size={step_size!r}: pass a number up to {1 / a.max():.3g}")
    if n_layers == 0:
        return np.zeros_like(a)
    moved = np.minimum(step_size * a, 1.0)
    with np.errstate(divide="ignore"):  # log 0 where one layer is enough
        return np.asarray(-np.expm1(n_layers * np.log1p(-moved)) / a)


def n_ridge_layers(eigenvalues: Float[Array, " d"], penalty: float, error: float) -> int:
    """Layers T of step size 1 / (beta + penalty) after which |w_T - w| <= error |w|.

    (1 - 1 / kappa)^T <= exp(-T / kappa), so T = ceil(kappa log(1 / error)) is enough,
    kappa = (beta + penalty) / (alpha + penalty).
    """
    kappa = (eigenvalues.max() + penalty) / (eigenvalues.min() + penalty)
    return max(1, int(np.ceil(kappa * np.log(1.0 / error))))


def shrinking_stack(
    S: Float[Array, "d d"],
    b: Float[Array, "#k d"],
    penalties: Float[Array, " k"],
    step_size: float,
    w: Float[Array, "k d"],
    n_layers: int,
) -> Float[Array, "k d"]:
    """w after `n_layers` Lasso layers: v = w - step (S w - b), w <- sign(v) max(|v| - limit, 0)."""
    limits = step_size * penalties[:, None]
    M, c = np.eye(len(S)) - step_size * S, step_size * b  # S is symmetric
    for _ in range(n_layers):
        v = w @ M + c
        w = v - np.clip(v, -limits, limits)
    return w


def lasso_gaps(
    S: Float[Array, "d d"],
    b: Float[Array, "#k d"],
    energy: Float[Array, " #k"],
    penalties: Float[Array, " k"],
    w: Float[Array, "k d"],
) -> Float[Array, " k"]:
    """Duality gaps of the Lasso: no smaller than objective(w) - its minimum; energy = |y|^2 / n.

    The dual point is the residual r, scaled so that no |<x_j, r>| / n exceeds the penalty. The gap
    bounds the fitted values, too: |X w - X w*|^2 / n <= 2 gap.
    """
    slope = b - w @ S
    product = energy - (b * w).sum(axis=1)  # <r, y> / n
    residual = product - (slope * w).sum(axis=1)  # |r|^2 / n
    with np.errstate(divide="ignore"):
        scale = np.minimum(1.0, penalties / np.abs(slope).max(axis=1))
    primal = 0.5 * residual + penalties * np.abs(w).sum(axis=1)
    return np.asarray(primal - scale * product + 0.5 * scale**2 * residual)
