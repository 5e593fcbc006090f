"""The context of a long table without sorting its rows: equal rows are found by a hash.

`context.canonical_rows` sorts all rows, column after column. Here one 64-bit number stands for a
row, one sort of numbers puts equal rows side by side, and only the rows that are drawn are sorted
as rows. What holds there holds here, exactly: the order of rows plays no part, weight 2 is twice,
weight 0 is absent. The rows that are drawn are others, in the same proportion. Source: ours.

Axes: n rows, d columns, k distinct rows, m rows of the context.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt64

from statformer.estimators.context import Matrix, Rows, systematic_draw

LONG_ROWS = 2**15  # distinct rows; the sort of fewer is quick
_CHUNK = 2**16  # numbers that are mixed at a time, so that they stay in a processor's cache
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # odd, so that no bit is lost
_HALF = np.uint64(32)


def draw_long_rows(
    X: Matrix, weight: Float[np.ndarray, " n"], max_context: int, rng: np.random.Generator
) -> Rows | None:
    """`draw_rows` of `canonical_rows` for a long table, in the time of one sort of n numbers.

    None, with nothing drawn from rng, where `canonical_rows` has to do it: up to `LONG_ROWS`
    distinct rows of positive weight, or all of them in the context, or a missing cell, or two
    different rows of one hash. None of this depends on the order of the rows or on copies.
    """
    if len(X) <= max(LONG_ROWS, max_context) or np.isnan(X).any():
        return None
    kept = None if weight.min() > 0 else np.flatnonzero(weight > 0)
    values, w = (X, weight) if kept is None else (X[kept], weight[kept])
    code = hash_rows(values)
    order = np.argsort(code)
    ordered = code[order]
    again = np.flatnonzero(ordered[1:] == ordered[:-1])  # the place before a copy
    if len(values) - len(again) <= max(LONG_ROWS, max_context):
        return None
    if len(again):
        if (values[order[again]] != values[order[again + 1]]).any():
            return None
        order = np.lexsort((w, code))  # weight is the last key: sums have one order
    is_new = np.ones(len(order), dtype=bool)
    is_new[again + 1] = False
    first = np.flatnonzero(is_new)
    merged = np.add.reduceat(w[order], first)
    if merged.sum() < 1.0:
        merged = merged * (len(first) / merged.sum())
    drawn, times = systematic_draw(merged, max_context, rng)
    place = np.minimum.reduceat(order, first)[drawn]  # of copies, the first of the caller's
    chosen = values[place] + 0.0
    sort = np.lexsort(chosen.T[::-1])
    indices = place[sort] if kept is None else kept[place[sort]]
    ascending = np.argsort(indices)
    return Rows(chosen[sort], times[sort], indices[ascending], ascending)


def hash_rows(X: Matrix) -> UInt64[np.ndarray, " n"]:
    """A number for each row; equal rows have equal ones, and -0.0 is 0.0.

    h = mix(h xor bits(x_j)) over the columns, mix(h) = g xor (g >> 32) with g = h * odd number:
    each step is one to one in h and in x_j.
    """
    n, d = X.shape
    found = np.zeros(n, dtype=np.uint64)
    step = max(1, _CHUNK // max(d, 1))
    for start in range(0, n, step):
        h = found[start : start + step]
        for bits in np.add(X[start : start + step].T, 0.0, order="C").view(np.uint64):
            h ^= bits
            h *= _MULTIPLIER
            h ^= h >> _HALF
    return found
