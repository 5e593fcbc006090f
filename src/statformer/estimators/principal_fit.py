"""From rows to weights to axes: a network weighs each row, exact moments do the rest.

All rows count with their weights: those that the layers gave them where the layers saw the whole
table, else those of the frozen network, chunk by chunk. Axes: n rows, d columns, m axes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from statformer.estimators.principal_axes import (
    WIDEST_SCATTER,
    Axes,
    Piece,
    axes_of_moments,
    axes_of_rows,
    takes_scatter,
)
from statformer.estimators.principal_model import chunks_of
from statformer.estimators.principal_reader import Reader, learn
from statformer.estimators.principal_weights import PrincipalCheckpoint


@dataclass(frozen=True)
class Counted:
    """How often each row counts, 0 for absent ones, and whether any cell of X is missing."""

    count: Float[np.ndarray, " n"]
    has_gaps: bool

    @property
    def n_rows(self) -> float:
        """The rows that the table stands for."""
        return float(self.count.sum())


def count_rows(X: Any, weight: Float[np.ndarray, " n"], names: Sequence[str] | None) -> Counted:
    """Rows without a cell never count, and weights that sum to less than 2 are shares.

    Raises ValueError for a column without a cell, by name, and where fewer than 2 rows are left.
    """
    count, seen, has_gaps = weight.copy(), np.zeros(X.shape[1], dtype=bool), False
    for rows in chunks_of(*X.shape):
        there = ~np.isnan(X[rows])
        if there.all():
            seen |= bool(count[rows].any())
            continue
        has_gaps = True
        count[rows] *= there.any(axis=1)
        seen |= there[count[rows] > 0].any(axis=0)
    if not seen.all():
        column = int(np.argmin(seen))
        name = f"x{column}" if names is None else str(names[column])
        raise ValueError(
            f"column {name!r} of X holds no number in the rows that count; leave it out"
        )
    if count.sum() < 2.0:
        count *= float((count > 0).sum()) / count.sum()
    if count.sum() < 2.0:
        raise ValueError("sample_weight and missing cells leave n_samples = 1 row; two are needed")
    return Counted(count, has_gaps)


@dataclass(frozen=True)
class Weighed:
    """The answer of a fit: the axes, who weighed the rows, and the weights."""

    axes: Axes
    reader: Reader
    row_weights: Float[np.ndarray, " n"]
    cell_weights: Float[np.ndarray, "n d"] | None


def fit_axes(
    X: Any,
    counted: Counted,
    n_components: int | None,
    checkpoint: PrincipalCheckpoint,
    max_context: int,
    rng: np.random.Generator,
) -> Weighed:
    """Weigh the rows of X and take their axes: all, or `n_components` where that is quicker.

    X float32 or float64, NaN where missing.
    """
    n, d = X.shape
    count, has_gaps = counted.count, counted.has_gaps
    learned = learn(X, count, n_components, checkpoint, max_context, has_gaps, rng)
    reader, weights = learned.reader, np.empty(n)
    cells: Float[np.ndarray, "n d"] | None = None
    if checkpoint.form == "cells":
        all_alike = reader.network is None and count.min() > 0
        one = np.ones((), dtype=np.float32)
        cells = np.broadcast_to(one, (n, d)) if all_alike else np.zeros((n, d), dtype=np.float32)
    is_exact = reader.model is None or (checkpoint.form == "rows" and not has_gaps)
    doubt = None if is_exact or d > WIDEST_SCATTER else np.zeros((d, d))

    def pieces() -> Iterator[Piece]:
        for rows in chunks_of(n, reader.width(d)):
            given = learned.weights
            found = reader.weigh(X[rows]) if given is None else given.of(rows)
            weights[rows] = found.rows * (count[rows] > 0)
            if cells is not None and cells.flags.writeable:
                here = 1.0 if found.cells is None else found.cells
                cells[rows] = here * (count[rows] > 0)[:, None]
            weight = weights[rows] * count[rows]
            if doubt is not None and found.cells is not None and reader.model is not None:
                doubt[...] += reader.model.uncertainty(found.cells, weight)
            yield reader.moved(X[rows], found), weight

    n_rows = counted.n_rows
    if takes_scatter(n, d) or doubt is not None:
        axes = axes_of_moments(pieces(), reader.shift, n_rows, 0.0 if doubt is None else doubt)
    else:
        stacked, weight = stack(pieces(), n, d, X.dtype)
        seed = int(rng.integers(2**31))
        axes = axes_of_rows(stacked, weight, n_rows, n_components, seed).shifted(reader.shift)
    return Weighed(axes, reader, weights, cells)


def stack(
    pieces: Iterator[Piece], n: int, d: int, dtype: Any
) -> tuple[Float[np.ndarray, "n d"], Float[np.ndarray, " n"]]:
    """The pieces as one table of the caller's own precision."""
    rows, weight = np.empty((n, d), dtype=dtype), np.empty(n)
    first = 0
    for piece, of_piece in pieces:
        last = first + len(piece)
        rows[first:last], weight[first:last] = piece, of_piece
        first = last
    return rows, weight
