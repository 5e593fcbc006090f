"""The nearest context rows of many queries, exactly and in blocks that stay in a processor's cache.

Hard attention. A block of float32 scores |x|^2 - 2 <q, x>, made by one matrix product, rules out
almost every row, because the rounding error of such a score has a bound. What is left is decided by
float64 differences. The answer is that of brute force in float64, ties included, at the price of
float32.

Source: ours. Axes: n context rows, q queries, d columns, p pairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

Matrix = np.ndarray
ROWS = 4096  # of a block, at most
SCORES = 2**18  # of a block, at most: 1 MB of float32
FEW = 1  # queries for which blocks of scores are not worth making
MANY = 512  # rows left per query, on average, above which scores of more digits are made
_NUMBERS = 2**16  # that a chunk of float64 differences may hold


@dataclass(frozen=True)
class NearestRows:
    """The rows at the smallest distance of each query, as a sparse matrix without values.

    row    "p"    ascending within a query; row[start[q] : start[q + 1]] are those of query q
    start  "q+1"
    """

    row: Int[np.ndarray, " p"]
    start: Int[np.ndarray, " q_plus_1"]

    def sums(self, values: Float[np.ndarray, "p v"]) -> Float[np.ndarray, "q v"]:
        """The sum over the rows of each query of values that belong to `row`."""
        if len(self.row) == len(self.start) - 1:
            return values
        return np.add.reduceat(values, self.start[:-1], axis=0)


def nearest_rows(X: Matrix, queries: Matrix) -> NearestRows:
    """argmin_n |x_n - q|^2, with every row whose float64 distance, from differences, is the least.

    X "n d" and queries "q d" are finite, of float32 or float64, with at least one row each.
    """
    if len(queries) <= FEW:
        return _by_brute_force(X, queries)
    for dtype in (np.float32, np.float64):
        left = _sieve(X, queries, dtype)
        if left is not None:
            return _decide(X, queries, *left)
    return _by_brute_force(X, queries)


# ---------------------------------------------------------------------------------------------
# Scores that rule out


def _sieve(
    X: Matrix, queries: Matrix, dtype: Any
) -> tuple[Int[np.ndarray, " p"], Int[np.ndarray, " p"]] | None:
    """Pairs (query, row) that may be nearest; None where too many are, or scores overflow.

    A computed score is off by at most slack = c u (N^2 + 2 |q| N): u the unit roundoff, N the
    greatest |x| of the block, c a little more than 2 d. The origin is moved near the rows, for far
    from it scores lose their digits.
    """
    shift = X[:: max(1, len(X) // ROWS)].mean(axis=0, dtype=np.float64)
    n, d = X.shape
    info = np.finfo(dtype)
    largest = float(info.max) / 16.0
    with np.errstate(over="ignore", invalid="ignore"):
        asked = np.ones((len(queries), d + 1), dtype=dtype)
        np.subtract(queries, shift, out=asked[:, :-1], casting="same_kind")
        squares = _squared_lengths(asked[:, :-1])
    if not squares.max() < largest:
        return None
    asked[:, :-1] *= -2.0
    length = np.sqrt(squares.astype(np.float64))
    roundoff, least = 1.1 * (d + 4) * float(info.eps), (d + 4) * float(info.tiny)
    left = _Left(len(queries))
    height = -(-n // -(-n // ROWS))  # so that blocks are of nearly equal height
    width = max(1, SCORES // height)
    made = np.empty(min(width, len(queries)) * height, dtype=dtype)
    for first, keys, farthest in _blocks(X, shift, height, dtype):
        if not farthest < largest:
            return None
        far = np.sqrt(farthest)
        slack = roundoff * (farthest + 2.0 * length * far) + least
        for start in range(0, len(queries), width):
            some = slice(start, start + width)
            shape = len(asked[some]), keys.shape[1]
            scores = made[: shape[0] * shape[1]].reshape(shape)
            np.matmul(asked[some], keys, out=scores)
            left.add(scores, slack[some], some, first)
            if left.are_many() and left.thin().are_many():
                return None
    left.thin()
    return left.query, left.row


def _blocks(
    X: Matrix, shift: Float[np.ndarray, " d"], height: int, dtype: Any
) -> Iterator[tuple[int, Matrix, float]]:
    """First row, (x, |x|^2)' "d+1 height" and the greatest |x|^2 of each; the last may be lower."""
    block = np.empty((height, X.shape[1] + 1), dtype=dtype)
    for first in range(0, len(X), height):
        rows = X[first : first + height]
        keys = block[: len(rows)]
        with np.errstate(over="ignore", invalid="ignore"):
            np.subtract(rows, shift, out=keys[:, :-1], casting="same_kind")
            keys[:, -1] = _squared_lengths(keys[:, :-1])
        yield first, keys.T, float(keys[:, -1].max())


def _squared_lengths(rows: Matrix) -> Matrix:
    return np.einsum("nd,nd->n", rows, rows)


class _Left:
    """The rows that the blocks so far have left, and what is known of the least distances."""

    def __init__(self, n_queries: int) -> None:
        self.bound = np.full(n_queries, np.inf)  # never below the least exact score
        self.query = self.row = np.empty(0, dtype=np.int64)
        self.least = np.empty(0)  # never above the exact score of the row
        self._new: list[tuple[Matrix, Matrix, Matrix]] = []
        self._n = 0

    def add(self, scores: Matrix, slack: Matrix, some: slice, first: int) -> None:
        """Scores "q n" of a block of rows, from row `first` on, for some queries; written over.

        Two searches for a least score cost a fraction of one comparison with a limit: most queries
        have one row below it, and the second search finds those that have more.
        """
        lowest = scores.argmin(axis=1)
        low = scores[np.arange(len(scores)), lowest].astype(np.float64)
        bound = self.bound[some]
        np.minimum(bound, low + slack, out=bound)
        near = np.flatnonzero(low - slack <= bound)
        if len(near) < len(scores):
            scores, lowest, low, slack = (part[near] for part in (scores, lowest, low, slack))
        limit = bound[near] + slack
        place = np.arange(len(near))
        self._put(some.start + near, first + lowest, low - slack)
        scores[place, lowest] = np.inf
        others = np.flatnonzero(scores[place, scores.argmin(axis=1)] <= limit)
        scores, limit, slack = scores[others], limit[others], slack[others]
        pair, row = np.nonzero(scores <= limit[:, None])
        self._put(some.start + near[others[pair]], first + row, scores[pair, row] - slack[pair])

    def _put(self, query: Matrix, row: Matrix, least: Matrix) -> None:
        if len(query):
            self._new.append((query, row, least))
            self._n += len(query)

    def are_many(self) -> bool:
        return self._n > MANY * len(self.bound)

    def thin(self) -> _Left:
        """Drop rows that later blocks have ruled out."""
        columns = zip((self.query, self.row, self.least), *self._new, strict=True)
        query, row, least = (np.concatenate(column) for column in columns)
        near = least <= self.bound[query]
        self.query, self.row, self.least = query[near], row[near], least[near]
        self._new, self._n = [], len(self.query)
        return self


# ---------------------------------------------------------------------------------------------
# Differences that decide


def _decide(
    X: Matrix, queries: Matrix, query: Int[np.ndarray, " p"], row: Int[np.ndarray, " p"]
) -> NearestRows:
    """The nearest of the rows that are left; a query that has one left is done."""
    n = len(queries)
    if len(query) > n:
        distance = np.zeros(len(row))
        open_pairs = np.flatnonzero(np.bincount(query, minlength=n)[query] > 1)
        step = max(1, _NUMBERS // X.shape[1])
        for start in range(0, len(open_pairs), step):
            some = open_pairs[start : start + step]
            distance[some] = _squares(X[row[some]], queries[query[some]])
        least = np.full(n, np.inf)
        np.minimum.at(least, query, distance)
        ties = np.flatnonzero(distance == least[query])
        query, row = query[ties], row[ties]
    if len(query) == n:  # one each
        only = np.empty(n, dtype=np.int64)
        only[query] = row
        return NearestRows(only, np.arange(n + 1))
    order = np.lexsort((row, query))
    return NearestRows(row[order], np.searchsorted(query[order], np.arange(n + 1)))


def _by_brute_force(X: Matrix, queries: Matrix) -> NearestRows:
    """One query at a time against every row.

    For few queries, and for tables on which no score rules out enough.
    """
    step = max(1, _NUMBERS // X.shape[1])
    rows = []
    for query in queries:
        parts = [_squares(X[i : i + step], query) for i in range(0, len(X), step)]
        distance = np.concatenate(parts)
        rows.append(np.flatnonzero(distance == distance.min()))
    edges = np.concatenate([[0], np.cumsum([len(some) for some in rows])])
    return NearestRows(np.concatenate(rows), edges)


def _squares(rows: Matrix, query: Matrix) -> Float[np.ndarray, " _"]:
    """|x - q|^2 row by row; equal rows give equal numbers, to the bit."""
    return _squared_lengths(np.subtract(rows, query, dtype=np.float64))
