"""From rows to weights to axes: a network weighs each row, exact moments do the rest.

The layers read a sample of at most `max_context` rows. What they leave behind, frozen, then weighs
every row of the table alone, in chunks, and the axes are those of all rows under these weights.
Constructed weights on complete rows are 1 by the theorem: no layer has to run.

Axes: n rows, d columns, k components, m axes. Rows are handed to the network as (x - shift) / unit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from statformer.estimators.context import systematic_draw
from statformer.estimators.principal_axes import (
    WIDEST_SCATTER,
    Axes,
    Piece,
    axes_of_moments,
    axes_of_rows,
    takes_scatter,
)
from statformer.estimators.principal_model import PrincipalModel, chunks_of
from statformer.estimators.principal_weights import PrincipalCheckpoint
from statformer.nn.principal import PrincipalNetwork

MOST_LAYERED = 8  # components up to which the layers were trained; the most where none is asked for
_RANK_ROWS = 1000  # rows that are looked at to choose a rank


@dataclass(frozen=True)
class Readings:
    """What is made of some rows.

    weight     "n"    of each row
    cells      "n d"  weight of each cell, 0 where missing; None where all are 1
    completed  "n d"  x - shift, missing and doubtful cells moved to where the model expects them
    """

    weight: Float[np.ndarray, " n"]
    cells: Float[np.ndarray, "n d"] | None
    completed: Float[np.ndarray, "n d"]


@dataclass(frozen=True)
class Reader:
    """Reads rows in the caller's units one by one: by a frozen network, or, without, as they are.

    `model` is what the layers came to, in the caller's units.
    """

    shift: Float[np.ndarray, " d"]
    unit: float = 1.0
    network: PrincipalNetwork | None = None
    summary: Any = None
    model: PrincipalModel | None = None

    def __call__(self, X: Any) -> Readings:
        """Read a chunk of rows."""
        if self.network is None or self.model is None:
            rows = np.asarray(X, dtype=np.float64) - self.shift
            return Readings(np.ones(len(rows)), None, rows)
        rows = (np.asarray(X, dtype=np.float64) - self.shift) / self.unit
        gaps = np.isnan(rows)
        observed = None
        if gaps.any():
            rows[gaps] = 0.0
            observed = ~gaps[None]
        weight, cells, _ = self.network.weigh(rows[None], self.summary, observed=observed)
        found = None if cells is None else cells[0]
        completed = self.model.centred(X, found) + (self.model.mean - self.shift)
        return Readings(weight[0], found, completed)


@dataclass(frozen=True)
class Weighed:
    """The answer of a fit: the axes, who weighed the rows, and the weights."""

    axes: Axes
    reader: Reader
    row_weights: Float[np.ndarray, " n"]
    cell_weights: Float[np.ndarray, "n d"] | None


def fit_axes(
    X: Any,
    count: Float[np.ndarray, " n"],
    n_components: int | None,
    checkpoint: PrincipalCheckpoint,
    max_context: int,
    rng: np.random.Generator,
) -> Weighed:
    """Weigh the rows of X and take their axes: all, or `n_components` where that is quicker.

    X float32 or float64, NaN where missing; `count` how often each row counts, 0 for absent rows.
    """
    n, d = X.shape
    has_gaps = any(np.isnan(X[rows]).any() for rows in chunks_of(n, d))
    reader = learn(X, count, n_components, checkpoint, max_context, has_gaps, rng)
    weights = np.empty(n)
    cells = np.empty((n, d), dtype=np.float32) if checkpoint.form == "cells" else None
    is_exact = reader.model is None or (checkpoint.form == "rows" and not has_gaps)
    doubt = None if is_exact or d > WIDEST_SCATTER else np.zeros((d, d))

    def pieces() -> Iterator[Piece]:
        for rows in chunks_of(n, d):
            read = reader(X[rows])
            weights[rows] = np.where(count[rows] > 0, read.weight, 0.0)
            if cells is not None:
                cells[rows] = 1.0 if read.cells is None else read.cells
            weight = weights[rows] * count[rows]
            if doubt is not None and read.cells is not None and reader.model is not None:
                doubt[...] += reader.model.uncertainty(read.cells, weight)
            yield read.completed, weight

    n_rows = float(count.sum())
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


def learn(
    X: Any,
    count: Float[np.ndarray, " n"],
    n_components: int | None,
    checkpoint: PrincipalCheckpoint,
    max_context: int,
    has_gaps: bool,
    rng: np.random.Generator,
) -> Reader:
    """Run the layers on a sample of the rows; freeze what they came to."""
    drawn, times = draw(X, count, max_context, rng)
    context = np.asarray(X[drawn], dtype=np.float64)
    shift = np.nanmedian(context, axis=0)
    if checkpoint.is_constructed and not has_gaps:
        return Reader(shift)
    context -= shift
    gaps = np.isnan(context)
    context[gaps] = 0.0
    largest = float(np.abs(context).max())
    unit = float(np.ldexp(1.0, np.frexp(largest)[1])) if largest > 0 else 1.0
    context /= unit
    m, d = context.shape
    k = n_components if n_components is not None and n_components < min(m, d) else None
    some = slice(None, None, -(-m // _RANK_ROWS))
    k = k or rank_of(context[some], times[some], ~gaps[some])
    trace = checkpoint.network(
        context[None],
        k,
        observed=~gaps[None] if gaps.any() else None,
        row_weight=times[None],
    )
    model = PrincipalModel(
        shift + unit * trace.mean[0],
        trace.components[0],
        unit**2 * trace.variances[0],
        unit**2 * float(trace.noise_variance[0]),
    )
    return Reader(shift, unit, checkpoint.network, trace.summary, model)


def draw(
    X: Any, count: Float[np.ndarray, " n"], max_context: int, rng: np.random.Generator
) -> tuple[Int[np.ndarray, " m"], Float[np.ndarray, " m"]]:
    """Places of the rows that the layers read, and how often each counts.

    All that count, or `max_context` drawn in proportion to how often they do; and for each column
    that would have no cell among these, one more row that has one.
    """
    there = np.flatnonzero(count > 0)
    if len(there) <= max_context:
        return there, count[there]
    place, times = systematic_draw(count[there], max_context, rng)
    drawn = there[place]
    unseen = np.flatnonzero(np.isnan(X[drawn]).all(axis=0))
    more = [there[int(np.argmin(np.isnan(X[there, j])))] for j in unseen]
    fresh = np.setdiff1d(np.array(more, dtype=drawn.dtype), drawn)
    return np.concatenate([drawn, fresh]), np.concatenate([times, np.ones(len(fresh))])


def rank_of(
    rows: Float[np.ndarray, "n d"], times: Float[np.ndarray, " n"], seen: Bool[np.ndarray, "n d"]
) -> int:
    """A number of components for the layers where the caller names none, 1 to `MOST_LAYERED`.

    Singular values above the hard threshold of Gavish and Donoho (2014) for unknown noise,
    (0.56 b^3 - 0.95 b^2 + 1.82 b + 1.43) times their median, b the ratio of the sides; of narrow
    tables with missing cells (rows 0 there, `seen` False) from the covariances of pairs of columns.
    To use it here, and the bounds, are ours: all axes are answered, only the weights depend on it.
    """
    share = (times / times.sum())[:, None]
    n, d = rows.shape
    mean = (share * rows).sum(axis=0) / np.maximum((share * seen).sum(axis=0), 1e-12)
    centred = np.where(seen, rows - mean, 0.0) * np.sqrt(share)
    if d <= _RANK_ROWS:
        there = seen * np.sqrt(share)
        gram = centred.T @ centred / np.maximum(there.T @ there, 0.5 / n)
    else:
        gram = centred @ centred.T
    spread = np.sqrt(np.maximum(np.linalg.eigvalsh(gram)[-min(n, d) :], 0.0))
    b = min(n, d) / max(n, d)
    threshold = (0.56 * b**3 - 0.95 * b**2 + 1.82 * b + 1.43) * float(np.median(spread))
    found = int((spread > threshold).sum())
    return max(1, min(found, MOST_LAYERED, min(n, d) - 1))
