"""A frozen network that weighs rows one by one, and how it comes about: the layers of a fit.

The layers read a sample of the rows. What they leave behind weighs any row.

Axes: n rows, d columns, m rows of the sample. Rows are handed to the network as (x - shift) / unit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from statformer.estimators.context import systematic_draw
from statformer.estimators.principal_model import PrincipalModel
from statformer.estimators.principal_weights import PrincipalCheckpoint
from statformer.nn.principal import Form, PrincipalNetwork
from statformer.nn.principal_cells import columns_of
from statformer.nn.principal_features import spatial_median
from statformer.nn.principal_quantiles import median

MOST_LAYERED = 8  # components up to which the layers were trained; the most where none is asked for
LEAST_CONTEXT = 500  # rows that the layers read of a wide table
MOST_CELLS = 2_000_000  # that they read of a table of more rows than that
_RANK_ROWS = 1000  # rows that are looked at to choose a rank


@dataclass(frozen=True)
class RowWeights:
    """Weights of some rows "n", and of their cells "n d", 0 where missing; None where all are 1."""

    rows: Float[np.ndarray, " n"]
    cells: Float[np.ndarray, "n d"] | None = None

    def of(self, rows: slice) -> RowWeights:
        """Those of some of the rows."""
        return RowWeights(self.rows[rows], None if self.cells is None else self.cells[rows])


@dataclass(frozen=True)
class Reader:
    """Weighs rows in the caller's units, each alone; without a network every weight is 1.

    `model` is what the layers came to, in the caller's units.
    """

    shift: Float[np.ndarray, " d"]
    unit: float = 1.0
    network: PrincipalNetwork | None = None
    summary: Any = None
    model: PrincipalModel | None = None

    def width(self, n_columns: int) -> int:
        """About how many numbers the network holds for each row; 4 times that, for quick pieces."""
        if self.network is None:
            return n_columns
        return 4 * (64 + (48 if self.network.form == "cells" else 2) * n_columns)

    def weigh(self, X: Any) -> RowWeights:
        """The weights of a chunk of rows."""
        if self.network is None:
            return RowWeights(np.ones(len(X)))
        rows = (np.asarray(X, dtype=np.float64) - self.shift) / self.unit
        gaps = np.isnan(rows)
        observed = None
        if gaps.any():
            rows[gaps] = 0.0
            observed = ~gaps[None]
        weight, cells, _ = self.network.weigh(rows[None], self.summary, observed=observed)
        return RowWeights(weight[0], None if cells is None else cells[0])

    def moved(self, X: Any, weights: RowWeights) -> Float[np.ndarray, "n d"]:
        """x - shift, with missing and doubtful cells moved to where the model expects them."""
        if self.model is None:
            return np.asarray(X, dtype=np.float64) - self.shift
        return self.model.centred(X, weights.cells) + (self.model.mean - self.shift)


@dataclass(frozen=True)
class Learned:
    """The answer of the layers: the frozen reader, and the weights of all rows where they saw all.

    The weights of the layers themselves, after they looked at the table several times, and not
    those of the reader, which looks at a row alone.
    """

    reader: Reader
    weights: RowWeights | None = None


def learn(
    X: Any,
    count: Float[np.ndarray, " n"],
    n_components: int | None,
    checkpoint: PrincipalCheckpoint,
    max_context: int,
    has_gaps: bool,
    rng: np.random.Generator,
) -> Learned:
    """Run the layers on a sample of the rows: `max_context`, or fewer where they are wide.

    Constructed weights on complete rows are 1 by the theorem: then no layer has to run.
    """
    if checkpoint.is_constructed and not has_gaps:
        there = np.flatnonzero(count)
        few = there[:: -(-len(there) // LEAST_CONTEXT)]
        return Learned(Reader(np.median(np.asarray(X[few], dtype=np.float64), axis=0)))
    most = min(max_context, max(LEAST_CONTEXT, MOST_CELLS // X.shape[1]))
    drawn, times = draw(X, count, most, rng)
    context = np.asarray(X[drawn], dtype=np.float64)
    shift = np.nanmedian(context, axis=0)
    context -= shift
    gaps = np.isnan(context)
    context[gaps] = 0.0
    largest = float(np.abs(context).max())
    unit = float(np.ldexp(1.0, np.frexp(largest)[1])) if largest > 0 else 1.0
    context /= unit
    m, d = context.shape
    k = n_components if n_components is not None and n_components < min(m, d) else None
    some = slice(None, None, -(-m // _RANK_ROWS))
    k = k or rank_of(context[some], times[some], ~gaps[some], checkpoint.form)
    trace = checkpoint.network(
        context[None],
        k,
        observed=~gaps[None] if has_gaps else None,  # of all rows, not of these
        row_weight=times[None],
        polish=has_gaps or checkpoint.form == "cells",  # else the axes are taken exactly
    )
    model = PrincipalModel(
        shift + unit * trace.mean[0],
        trace.components[0],
        unit**2 * trace.variances[0],
        unit**2 * float(trace.noise_variance[0]),
    )
    reader = Reader(shift, unit, checkpoint.network, trace.summary, model)
    if m < np.count_nonzero(count):
        return Learned(reader)
    rows = np.zeros(len(X))
    rows[drawn] = trace.row_weights[0]
    cells = None
    if trace.cell_weights is not None:
        cells = np.zeros(X.shape)
        cells[drawn] = trace.cell_weights[0]
    return Learned(reader, RowWeights(rows, cells))


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
    weight = count[there]
    if weight.min() == weight.max():
        place = np.sort(rng.choice(len(there), max_context, replace=False, shuffle=False))
        times = np.full(max_context, min(1.0, float(weight.sum()) / max_context))
    else:
        place, times = systematic_draw(weight, max_context, rng)
    drawn = there[place]
    unseen = np.flatnonzero(np.isnan(X[drawn]).all(axis=0))
    more = [there[int(np.argmin(np.isnan(X[there, j])))] for j in unseen]
    fresh = np.setdiff1d(np.array(more, dtype=drawn.dtype), drawn)
    return np.concatenate([drawn, fresh]), np.concatenate([times, np.ones(len(fresh))])


def rank_of(
    rows: Float[np.ndarray, "n d"],
    times: Float[np.ndarray, " n"],
    seen: Bool[np.ndarray, "n d"],
    form: Form,
) -> int:
    """A number of components for the layers where the caller names none, 1 to `MOST_LAYERED`.

    Singular values above the hard threshold of Gavish and Donoho (2014) for unknown noise,
    (0.56 b^3 - 0.95 b^2 + 1.82 b + 1.43) times their median, b the ratio of the sides. Before, each
    row (0 where `seen` is False) is brought to one length, in form "cells" after cells beyond 2.5
    robust standard deviations were pulled in, so that outliers make no components; of narrow tables
    the covariance is that of pairs of columns, for missing cells. To use it so, and the bounds, are
    ours: all axes are answered, only the weights depend on it.
    """
    n, d = max(int(times.sum() + 0.5), 2), rows.shape[1]
    Y = rows
    if seen.all():
        Y = rows - spatial_median(rows[None], times[None])[0][0]
    if form == "cells":
        far = 2.5 * columns_of(Y[None], (seen * times[:, None])[None]).scale[0]
        Y = np.clip(Y, -far, far)
    length = (Y**2).sum(axis=1) / np.maximum(seen.mean(axis=1), 1.0 / d)
    weight = times / (length + 0.1 * float(median(length, times, axis=0)[0]) + 1e-300)
    root = np.sqrt(weight / weight.sum())[:, None]
    mean = (root**2 * Y).sum(axis=0) / np.maximum((root**2 * seen).sum(axis=0), 1e-12)
    centred = np.where(seen, Y - mean, 0.0) * root
    if d <= _RANK_ROWS:
        gram = centred.T @ centred / np.maximum((seen * root).T @ (seen * root), 0.5 / n)
    else:
        gram = centred @ centred.T
    spread = np.sqrt(np.maximum(np.linalg.eigvalsh(gram)[-min(n, d) :], 0.0))
    b = min(n, d) / max(n, d)
    threshold = (0.56 * b**3 - 0.95 * b**2 + 1.82 * b + 1.43) * float(np.median(spread))
    found = int((spread > threshold).sum())
    return max(1, min(found, MOST_LAYERED, len(rows) - 1, d - 1))
