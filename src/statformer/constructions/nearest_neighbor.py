"""Weights under which one softmax-attention layer is one nearest neighbour, and how sharp they are.

Where it comes from: Li et al. 2024 (arXiv 2411.10830) prove that gradient descent finds such a
layer. The weights, the bound and the rules below are derived here, for our reading of the network
(`nn/neighbor.py`); `docs/theorems/nearest_neighbor.md` has the derivation.

Reference: `reference.nearest_neighbor.nearest_labels`; error: `label_error`, for prompts on the
unit sphere with a margin: |x_j - x|^2 >= |x_i* - x|^2 + margin for every j other than i*.

Axes: as in `nn/neighbor.py`.
"""

from __future__ import annotations

import math

from statformer.nn.neighbor import NeighborTransformer


def temperature(margin: float, n_context: int, error: float) -> float:
    """xi_1 = (2 / margin) log(2 (N - 1) / error); 0 for a single context point.

    With it the other context points together take at most error / 2 of the attention. Without the
    unit sphere the same rule reads: scores -|x_i - x|^2 / T with T = 2 / xi_1.

    Raises ValueError for a margin that is not positive, an error outside (0, 1) or no context.
    """
    _check(n_context, error)
    if not margin > 0:
        raise ValueError(
            f"margin={margin!r}: pass a positive squared distance; a tie has no winner"
        )
    if n_context == 1:
        return 0.0
    return max(0.0, 2.0 / margin * math.log(2.0 * (n_context - 1) / error))


def self_suppression(xi_1: float, error: float, least_similarity: float = -1.0) -> float:
    """xi_2 = xi_1 (1 - s) + log(2 / error), s the least inner product of a query with its nearest.

    With it the query takes at most error / 2 of its own attention. s = -1 suits every prompt, and
    s = 1 queries that equal a context point.

    Raises ValueError for an error outside (0, 1) or a similarity outside [-1, 1].
    """
    _check(1, error)
    if not -1.0 <= least_similarity <= 1.0:
        raise ValueError(
            f"least_similarity={least_similarity!r}: pass an inner product of unit vectors, -1 to 1"
        )
    return xi_1 * (1.0 - least_similarity) + math.log(2.0 / error)


def attention_error(
    xi_1: float, xi_2: float, margin: float, n_context: int, similarity: float = -1.0
) -> float:
    """(N - 1) exp(-xi_1 margin / 2) + exp(xi_1 (1 - s) - xi_2), or 1 if that is less.

    An upper bound of 1 - a_i*, the attention that does not go to the nearest point, for
    xi_1 >= 0 and <x_i*, x> >= s.
    """
    others = (n_context - 1) * math.exp(-0.5 * xi_1 * margin)
    exponent = xi_1 * (1.0 - similarity) - xi_2
    return 1.0 if exponent > 0 else min(1.0, others + math.exp(exponent))


def label_error(
    xi_1: float,
    xi_2: float,
    margin: float,
    n_context: int,
    similarity: float = -1.0,
    largest_label: float = 1.0,
) -> float:
    """2 R `attention_error`: an upper bound of |answer - y_i*| for labels with |y| <= R."""
    return 2.0 * largest_label * attention_error(xi_1, xi_2, margin, n_context, similarity)


def nearest_neighbor_transformer(
    n_features: int,
    n_context: int,
    margin: float,
    error: float,
    *,
    least_similarity: float = -1.0,
    n_labels: int = 1,
) -> NeighborTransformer:
    """The layer whose attention misses the nearest of N points by `error` at most; float64.

    Its answer is off by at most 2 R error for labels up to R. Raises ValueError as `temperature`
    and `self_suppression` do.
    """
    xi_1 = temperature(margin, n_context, error)
    xi_2 = self_suppression(xi_1, error, least_similarity)
    return NeighborTransformer.from_family(n_features, xi_1, xi_2, n_labels)


def _check(n_context: int, error: float) -> None:
    if n_context < 1:
        raise ValueError(f"n_context={n_context}: pass at least 1 context point")
    if not 0.0 < error < 1.0:
        raise ValueError(f"error={error!r}: pass a share of the attention between 0 and 1")
