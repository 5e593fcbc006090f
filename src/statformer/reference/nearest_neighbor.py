"""One nearest neighbour by looking at every context point, written to be read.

Axes: n context points, q queries, d features, v entries of a label.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

Array = np.ndarray


def squared_distances(X: Float[Array, "n d"], query: Float[Array, "d"]) -> Float[Array, "n"]:
    """|x_i - query|^2, from the differences: equal rows get equal distances, to the bit."""
    return np.asarray(((X - query) ** 2).sum(axis=1))


def nearest_index(X: Float[Array, "n d"], queries: Float[Array, "q d"]) -> Int[Array, "q"]:
    """argmin_i |x_i - query|^2; of points that tie, the first.

    On the sphere this is argmax_i <x_i, query>, for |x - q|^2 = 2 - 2 <x, q> there.

    Source: Li et al. 2024 (arXiv 2411.10830), i* of the one-nearest-neighbour rule.

    Raises ValueError without a context point.
    """
    if len(X) == 0:
        raise ValueError("X has no rows; a nearest neighbour needs at least one context point")
    return np.array([np.argmin(squared_distances(X, query)) for query in queries], dtype=np.int64)


def tied_neighbors(X: Float[Array, "n d"], query: Float[Array, "d"]) -> Bool[Array, "n"]:
    """True for the points at the smallest distance of all."""
    distance = squared_distances(X, query)
    return np.asarray(distance == distance.min())


def nearest_labels(
    X: Float[Array, "n d"], labels: Float[Array, "n v"], queries: Float[Array, "q d"]
) -> Float[Array, "q v"]:
    """The label of the nearest point; points that tie are averaged, as softmax averages them."""
    return np.array([labels[tied_neighbors(X, query)].mean(axis=0) for query in queries])
