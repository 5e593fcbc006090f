"""Weighted quantiles along an axis, cell by cell weighted (array API).

Axes: b tables, n points, d features, q levels.
"""

from __future__ import annotations

from collections.abc import Sequence

from array_api_compat import array_namespace

from statformer.batch import Array


def quantiles(values: Array, weight: Array, levels: Sequence[float], axis: int) -> list[Array]:
    """The smallest value whose cumulative weight reaches level * total; one array per level.

    `weight` broadcasts to `values`; values of weight 0 are absent. No interpolation: an entry of
    weight 2 is exactly two entries. Where the total is 0 the smallest value is returned. `axis` is
    kept with length 1.
    """
    xp = array_namespace(values)
    order = xp.argsort(values, axis=axis)
    ordered = xp.take_along_axis(values, order, axis=axis)
    wide = xp.broadcast_to(weight, values.shape)
    reached = xp.cumulative_sum(xp.take_along_axis(wide, order, axis=axis), axis=axis)
    total = xp.max(reached, axis=axis, keepdims=True)
    found = []
    for level in levels:
        below = xp.astype(reached < level * total, xp.int64)
        index = xp.clip(xp.sum(below, axis=axis, keepdims=True), 0, values.shape[axis] - 1)
        found.append(xp.take_along_axis(ordered, index, axis=axis))
    return found


def median(values: Array, weight: Array, axis: int) -> Array:
    """The lower weighted median along `axis`, which is kept with length 1."""
    return quantiles(values, weight, (0.5,), axis)[0]


def rows_at(rank_by: Array, weight: Array, levels: Sequence[float]) -> Array:
    """Indices "b q" of the rows at these levels of the weighted distribution of `rank_by` "b n".

    A level falls on a row in proportion to its weight, so a row of weight 2 is found where either
    of two equal rows would be.
    """
    xp = array_namespace(rank_by)
    order = xp.argsort(rank_by, axis=1)
    reached = xp.cumulative_sum(xp.take_along_axis(weight, order, axis=1), axis=1)
    total = reached[:, -1:]
    places = []
    for level in levels:
        below = xp.astype(reached < level * total, xp.int64)
        places.append(xp.clip(xp.sum(below, axis=1), 0, rank_by.shape[1] - 1))
    return xp.take_along_axis(order, xp.stack(places, axis=1), axis=1)
