"""Context rows with labels, and what attention to them reads: hard, or soft at a temperature.

    a_qn = w_n exp(-|x_n - q|^2 / T) / sum_n w_n exp(-|x_n - q|^2 / T)

T = 0 is the nearest row; rows that tie share it. On the unit sphere |x - q|^2 = 2 - 2 <x, q>, so T
is 2 / xi_1 of the network (`constructions.nearest_neighbor`), and its query's own token, which that
network has to suppress, is simply not among the rows.

Axes: n context rows, q queries, d columns, v entries of a label.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from statformer.estimators.long_rows import hash_rows
from statformer.estimators.nearest_rows import nearest_rows
from statformer.estimators.query_slices import in_slices
from statformer.nn.selector import Selection

Matrix = np.ndarray
ROWS, QUERIES = 2048, 64  # of a block of scores
_PASSES, _POWERS = 16, 500  # reading a score, or taking its exponential, in multiplications
_HASHED = 2**16  # rows hashed or compared at a time
_SAMPLED = 4096


@dataclass(frozen=True)
class Labels:
    """Labels of rows: the rows of `values` "n v", or one-hot over `n_classes` of `codes` "n".

    One-hot rows are written out where they are read, never for all rows at a time.
    """

    values: Float[np.ndarray, "n v"] | None = None
    codes: Int[np.ndarray, " n"] | None = None
    n_classes: int = 0

    def __getitem__(self, rows: slice | Int[np.ndarray, " p"]) -> Float[np.ndarray, "p v"]:
        if self.codes is None:
            assert self.values is not None
            return self.values[rows]
        codes = self.codes[rows]
        onehot = np.zeros((len(codes), self.n_classes))
        onehot[np.arange(len(codes)), codes] = 1.0
        return onehot


@dataclass(frozen=True)
class Reading:
    """What queries read: labels "q v", and how many rows share the attention, n_effective "q"."""

    labels: Float[np.ndarray, "q v"]
    n_effective: Float[np.ndarray, " q"]


@dataclass(frozen=True)
class Context:
    """Rows X "n d" that queries may attend to; count "n" says how many times each counts.

    `place` "m" is the row here of each row as it was handed in; None where it is the same one.
    """

    X: Matrix
    labels: Labels
    count: Float[np.ndarray, " n"] | None = None
    place: Int[np.ndarray, " m"] | None = None

    @classmethod
    def of(cls, X: Matrix, labels: Labels) -> Context:
        """The rows as they are, or the distinct ones where most rows are copies.

        Copies of a row tie, and a tie is an average, so nothing changes but time and memory.
        Copies are rows with equal numbers and, where labels are classes, of one class.
        """
        found = _distinct(X, labels.codes)
        if found is None:
            return cls(X, labels)
        first, place = found
        count = np.bincount(place).astype(np.float64)
        if labels.codes is not None:
            merged = Labels(codes=labels.codes[first], n_classes=labels.n_classes)
        else:
            assert labels.values is not None
            sums = [np.bincount(place, weights=column) for column in labels.values.T]
            merged = Labels(values=np.stack(sums, axis=1) / count[:, None])
        return cls(X[first], merged, count, place)

    def read(self, queries: Matrix, temperature: float) -> Reading:
        """What each query reads, in memory that does not grow with the number of rows."""
        read: Callable[[Matrix], Reading] = (
            (lambda some: self._read_softly(some, temperature))
            if temperature > 0
            else self._read_nearest
        )
        n, d = self.X.shape
        cost = n * (d + (_POWERS if temperature > 0 else _PASSES))
        parts = in_slices(lambda some: read(queries[some]), len(queries), cost)
        return Reading(
            np.concatenate([part.labels for part in parts]),
            np.concatenate([part.n_effective for part in parts]),
        )

    def attention(self, queries: Matrix, temperature: float) -> Float[np.ndarray, "q m"]:
        """a_qn for every row that was handed in; each query's sums to 1."""
        if temperature > 0:
            scores = Scores(temperature, self._origin())
            found = scores.queries(queries) @ scores.keys(self.X).T
        else:
            found = np.full((len(queries), len(self.X)), -np.inf)
            for start in range(0, len(queries), QUERIES):
                nearest = nearest_rows(self.X, queries[start : start + QUERIES])
                query = np.repeat(np.arange(len(nearest.start) - 1), np.diff(nearest.start))
                found[start + query, nearest.row] = 0.0
        found -= found.max(axis=1, keepdims=True)
        np.exp(found, out=found)
        if self.place is not None:  # a copy gets its share of what all copies get
            found = found[:, self.place]
        found /= found.sum(axis=1, keepdims=True)
        return found

    def _origin(self) -> Float[np.ndarray, " d"]:
        return self.X[:: max(1, len(self.X) // ROWS)].mean(axis=0, dtype=np.float64)

    def _read_nearest(self, queries: Matrix) -> Reading:
        nearest = nearest_rows(self.X, queries)
        if self.count is None:
            total = np.diff(nearest.start).astype(np.float64)
            return Reading(nearest.sums(self.labels[nearest.row]) / total[:, None], total)
        count = self.count[nearest.row]
        total = nearest.sums(count[:, None])
        return Reading(nearest.sums(count[:, None] * self.labels[nearest.row]) / total, total[:, 0])

    def _read_softly(self, queries: Matrix, temperature: float) -> Reading:
        scores = Scores(temperature, self._origin())
        asked = scores.queries(queries)
        pieces = [asked[start : start + QUERIES] for start in range(0, len(asked), QUERIES)]
        found: list[Selection | None] = [None] * len(pieces)
        for start in range(0, len(self.X), ROWS):
            rows = slice(start, start + ROWS)
            keys, labels = scores.keys(self.X[rows]), self.labels[rows]
            count = None if self.count is None else self.count[rows]
            for i, piece in enumerate(pieces):
                chunk = Selection.of(piece @ keys.T, labels, count)
                before = found[i]
                found[i] = chunk if before is None else before.merge(chunk)
        done = [selection for selection in found if selection is not None]
        return Reading(
            np.concatenate([selection.labels() for selection in done]),
            np.concatenate([selection.n_effective() for selection in done]),
        )


class Scores:
    """-|x_n - q|^2 / T without -|q|^2 / T, which a query's rows share: one product, in float64.

    `origin` is a place near the rows; far from it differences would lose their digits.
    """

    def __init__(self, temperature: float, origin: Float[np.ndarray, " d"]) -> None:
        self.temperature, self.origin = temperature, origin

    def queries(self, queries: Matrix) -> Float[np.ndarray, "q d_plus_1"]:
        """(2 q / T, 1)."""
        asked = np.ones((len(queries), queries.shape[1] + 1))
        asked[:, :-1] = (queries - self.origin) * (2.0 / self.temperature)
        return asked

    def keys(self, X: Matrix) -> Float[np.ndarray, "n d_plus_1"]:
        """(x, -|x|^2 / T)."""
        keys = np.empty((len(X), X.shape[1] + 1))
        np.subtract(X, self.origin, out=keys[:, :-1])
        keys[:, -1] = np.einsum("nd,nd->n", keys[:, :-1], keys[:, :-1]) / -self.temperature
        return keys


def _distinct(
    X: Matrix, codes: Int[np.ndarray, " n"] | None
) -> tuple[Int[np.ndarray, " k"], Int[np.ndarray, " n"]] | None:
    """First row of each kind, and the kind of each row; None where most rows are their own.

    A sample of rows tells whether it is worth a look at all of them.
    """

    def table(rows: slice) -> Matrix:
        columns = X[rows].astype(np.float64)
        return columns if codes is None else np.column_stack([columns, codes[rows]])

    sample = table(slice(None, None, -(-len(X) // _SAMPLED)))
    if 2 * len(np.unique(sample, axis=0)) > len(sample):
        return None
    chunks = [slice(start, start + _HASHED) for start in range(0, len(X), _HASHED)]
    code = np.concatenate([hash_rows(table(rows)) for rows in chunks])
    _, first, place = np.unique(code, return_index=True, return_inverse=True)
    for rows in chunks:  # two different rows of one hash
        kind = first[place[rows]]
        if (X[kind] != X[rows]).any() or (codes is not None and (codes[kind] != codes[rows]).any()):
            return None
    return first, place
