"""What a stack of identical regression layers does to its weights, without the tokens.

All tokens of `nn/relu_transformer.py` hold the same w, and two ReLU heads of opposite sign are one
linear head, so a ridge layer is w <- M w + c and a Lasso layer w <- shrink(M w + c), with

    M = I - step_size (S + penalty I),    c = step_size b,    S = X'X / n,    b = X'y / n.

T equal affine maps in a row are composed in 2 log2 T matrix products: the answer of T layers, for
the price of a few. Tests hold the two against each other.

Axes: k models, d features.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

Array = np.ndarray


def affine_stack(
    M: Float[Array, "k d d"], c: Float[Array, "k d"], n_layers: int
) -> Float[Array, "k d"]:
    """w after `n_layers` times w <- M w + c from 0, that is (I + M + ... + M^(T-1)) c.

    By doubling: (M, c) twice is (M M, M c + c).

    Raises ValueError for a negative number of layers.
    """
    if n_layers < 0:
        raise ValueError(f"n_layers={n_layers}: pass 0 or more")
    w = np.zeros_like(c)
    left = n_layers
    while left:
        if left % 2:
            w = _apply(M, w) + c
        c = _apply(M, c) + c
        M = M @ M
        left //= 2
    return w


def shrinking_stack(
    M: Float[Array, "k d d"],
    c: Float[Array, "k d"],
    threshold: Float[Array, " k"],
    w: Float[Array, "k d"],
    n_layers: int,
) -> Float[Array, "k d"]:
    """w after `n_layers` times w <- sign(v) max(|v| - threshold, 0), v = M w + c."""
    limit = threshold[:, None]
    for _ in range(n_layers):
        v = _apply(M, w) + c
        w = v - np.clip(v, -limit, limit)
    return w


def _apply(M: Float[Array, "k d d"], w: Float[Array, "k d"]) -> Float[Array, "k d"]:
    return np.asarray((M @ w[..., None])[..., 0])
