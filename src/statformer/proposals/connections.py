"""What says that two micro-clusters belong together: gaps, valleys and crossing neighbours (ours).

Every number comes from pairs of rows on either side, measured against the spacing of rows around
them. Rows count by their mass: a row of mass 2 is two rows.

Axes: n rows, c micro-clusters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

NEAR, MIDDLE, FAR = 3, 5, 12  # neighbours that measure the spacing around a row
_TINY = 1e-9


@dataclass(frozen=True)
class Connections:
    """Between each pair of micro-clusters, with s_k(x) the distance to the k-th neighbour of x.

    mass      "c"    mass of the rows
    gap       "c c"  min |x - y| over the rows x of one and y of the other
    reach     "c c"  min max(|x - y|, s_3(x), s_3(y)): the spacing at the pass between the two
    peak      "c"    min s_3(x): the spacing where the micro-cluster is densest
    stride    "c c"  min |x - y| / sqrt(s_12(x) s_12(y)): the gap in units of local spacing
    affinity  "c c"  sum of m_x m_y exp(-|x - y|^2 / (s_5(x) s_5(y))), own pairs on the diagonal
    """

    mass: Float[np.ndarray, " c"]
    gap: Float[np.ndarray, "c c"]
    reach: Float[np.ndarray, "c c"]
    peak: Float[np.ndarray, " c"]
    stride: Float[np.ndarray, "c c"]
    affinity: Float[np.ndarray, "c c"]


def connect(
    X: Float[np.ndarray, "n d"], mass: Float[np.ndarray, " n"], labels: Int[np.ndarray, " n"]
) -> Connections:
    """The connections of micro-clusters 0..c-1, each of which owns a row; O(n^2 d)."""
    order = np.argsort(labels, kind="stable")
    X, mass, labels = X[order], mass[order], labels[order]
    first = np.flatnonzero(np.diff(labels, prepend=-1))
    squared = pairwise_squared(X, X)
    # a floor far below any distance that matters keeps copies of one row from dividing by zero
    floor = _TINY * np.sqrt(squared.mean()) + 1e-150
    distance = np.sqrt(squared)
    near, middle, far = (s + floor for s in spacings(distance, mass, (NEAR, MIDDLE, FAR)))
    root = np.sqrt(far)
    stride = _blocks(np.minimum, distance / np.outer(root, root), first)
    squared /= np.outer(-middle, middle)
    kernel = np.exp(squared, out=squared)
    if not np.all(mass == 1.0):
        kernel *= np.outer(mass, mass)
    gap = _blocks(np.minimum, distance, first)
    np.maximum(distance, near[:, None], out=distance)
    np.maximum(distance, near[None, :], out=distance)
    return Connections(
        np.add.reduceat(mass, first),
        gap,
        _blocks(np.minimum, distance, first),
        np.minimum.reduceat(near, first),
        stride,
        _blocks(np.add, kernel, first),
    )


def pairwise_squared(
    X: Float[np.ndarray, "n d"], Y: Float[np.ndarray, "c d"]
) -> Float[np.ndarray, "n c"]:
    """|x - y|^2, never negative."""
    inner = X @ Y.T
    inner *= -2.0
    inner += (X**2).sum(axis=1)[:, None]
    inner += (Y**2).sum(axis=1)[None, :]
    return np.maximum(inner, 0.0, out=inner)


def spacings(
    distance: Float[np.ndarray, "n n"], mass: Float[np.ndarray, " n"], ranks: tuple[int, ...]
) -> list[Float[np.ndarray, " n"]]:
    """For each k: the radius around each row that holds mass k + 1, its own included.

    In a table of mass below 4 (k + 1) a quarter of the mass takes the place of k + 1.
    """
    total = float(mass.sum())
    wanted = [min(k + 1.0, total / 4.0) for k in ranks]
    if np.all(mass == 1.0):
        places = [max(0, int(np.ceil(need - 1e-9)) - 1) for need in wanted]
        last = max(places)
        nearest = np.sort(np.partition(distance, last, axis=1)[:, : last + 1], axis=1)
        return [nearest[:, place] for place in places]
    order = np.argsort(distance, axis=1, kind="stable")
    held = np.cumsum(mass[order], axis=1)
    found = []
    for need in wanted:
        place = np.argmax(held >= need * (1.0 - 1e-9), axis=1)
        at = np.take_along_axis(order, place[:, None], axis=1)
        found.append(np.take_along_axis(distance, at, axis=1)[:, 0])
    return found


def _blocks(
    reduce: np.ufunc, pairs: Float[np.ndarray, "n n"], first: Int[np.ndarray, " c"]
) -> Float[np.ndarray, "c c"]:
    """`pairs` reduced over blocks of rows that begin at `first`."""
    found: Float[np.ndarray, "c c"] = reduce.reduceat(
        reduce.reduceat(pairs, first, axis=0), first, axis=1
    )
    return found
