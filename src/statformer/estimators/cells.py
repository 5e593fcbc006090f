"""Missing and categorical cells as the layers read them: no filling, no one-hot Gaussians.

A table is encoded as one matrix in which NaN is a cell nobody saw; `CellLayout` says which of its
columns are numbers and which belong to one categorical column, and makes `Tables` of it.

Axes: n rows, d columns of the encoded matrix, p numbers among them, q categories of all
categorical columns, s runs, c components.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from statformer.batch import Tables
from statformer.estimators.columns import Column
from statformer.estimators.context import Standardizer
from statformer.estimators.devices import Backend
from statformer.estimators.problems import Cells, Problem
from statformer.estimators.starts import Candidates, NetworkOf, one_hot
from statformer.nn.em_network import EMNetwork, log_density
from statformer.nn.missing import fill

Matrix = Float[np.ndarray, "n d"]

# One layer conditions every centre on every pattern of missing cells, p^3 each. Up to this product
# of patterns and p^3 a context is read as it is; a larger one is drawn smaller, down to
# `LEAST_ROWS` (ours: 10 starts of 3 components then take a few seconds). Beyond, gaps are filled.
PATTERN_WORK = 2**23
LEAST_ROWS = 512
RUN_ELEMENTS = 2**22  # numbers that the matrices of one batch of runs hold


@dataclass(frozen=True)
class CellLayout:
    """Which columns of the encoded matrix are numbers, and which make up a categorical column.

    numbers  places of the numbers
    blocks   places of the columns of each categorical column
    sizes    how many categories each has; two share one column of the matrix (0 and 1)
    """

    numbers: tuple[int, ...]
    blocks: tuple[tuple[int, ...], ...] = ()
    sizes: tuple[int, ...] = ()

    @staticmethod
    def of(columns: Sequence[Column]) -> CellLayout:
        """The layout of a matrix that these columns are encoded in."""
        numbers: list[int] = []
        blocks, sizes, at = [], [], 0
        for column in columns:
            width = len(column.feature_names)
            if column.categories:
                blocks.append(tuple(range(at, at + width)))
                sizes.append(len(column.categories))
            else:
                numbers.append(at)
            at += width
        return CellLayout(tuple(numbers), tuple(blocks), tuple(sizes))

    @property
    def n_columns(self) -> int:
        """d, columns of the encoded matrix."""
        return len(self.numbers) + sum(len(block) for block in self.blocks)

    @property
    def n_categories(self) -> int:
        """q, categories of all categorical columns."""
        return sum(self.sizes)

    @property
    def same_block(self) -> Float[np.ndarray, "q q"]:
        """1 where two categories belong to one categorical column."""
        owner = np.repeat(np.arange(len(self.sizes)), self.sizes)
        return (owner[:, None] == owner).astype(np.float64)

    @property
    def places(self) -> tuple[Int[np.ndarray, " e"], Int[np.ndarray, " e"]]:
        """Places of category columns in the matrix, and the category each of them shows."""
        columns: list[int] = []
        shown: list[int] = []
        first = 0
        for block, size in zip(self.blocks, self.sizes, strict=True):
            columns.extend(block)
            shown.extend(range(first + size - len(block), first + size))
            first += size
        return np.array(columns, dtype=np.int64), np.array(shown, dtype=np.int64)

    def onehot(self, X: Matrix) -> Float[np.ndarray, "n q"]:
        """0 and 1 for each category, zeros where it is missing."""
        parts = [np.zeros((len(X), 0))]
        for block, size in zip(self.blocks, self.sizes, strict=True):
            hot = X[:, list(block)]
            parts.append(hot if size == len(block) else np.concatenate([1.0 - hot, hot], axis=1))
        onehot = np.concatenate(parts, axis=1)
        return np.where(np.isnan(onehot), 0.0, onehot)

    def cells(self, X: Matrix, z: Float[np.ndarray, "n p"]) -> Cells:
        """Rows of the encoded matrix X; z their standardised numbers, NaN where missing."""
        observed = ~np.isnan(z)
        every = bool(observed.all())
        return Cells(
            z if every else np.where(observed, z, 0.0),
            None if every else observed,
            self.onehot(X) if self.blocks else None,
            self.same_block if self.blocks else None,
        )

    def shown(self, theta: Float[np.ndarray, "c q"]) -> Float[np.ndarray, "c e"]:
        """Means of the category columns of the matrix."""
        return theta[:, self.places[1]]

    def draw(
        self, theta: Float[np.ndarray, "n q"], rng: np.random.Generator
    ) -> Float[np.ndarray, "n e"]:
        """Category columns of the matrix, one category per row and column drawn from theta."""
        hot, first = np.zeros(theta.shape), 0
        for size in self.sizes:
            reached = np.cumsum(theta[:, first : first + size], axis=1)
            goal = rng.random(len(theta))[:, None] * reached[:, -1:]
            hot[np.arange(len(theta)), first + (reached <= goal).sum(axis=1)] = 1.0
            first += size
        return hot[:, self.places[1]]

    def shown_covariances(self, theta: Float[np.ndarray, "c q"]) -> Float[np.ndarray, "c e e"]:
        """diag(theta) - theta theta' within a categorical column, 0 across columns."""
        at = self.places[1]
        own = theta[:, at]
        within = self.same_block[np.ix_(at, at)]
        return own[:, :, None] * np.eye(len(at)) - within * own[:, :, None] * own[:, None, :]


def plain_view(
    layout: CellLayout, X: Matrix, weight: Float[np.ndarray, " n"], standardizer: Standardizer
) -> tuple[Float[np.ndarray, "n d"], Cells]:
    """The complete standardised matrix that starts and judges read, and the cells of the layers.

    Missing numbers are at their conditional means under one Gaussian of the numbers; a missing
    category has the shares of the table in its columns.
    """
    z = standardizer(X)
    numbers = list(layout.numbers)
    cells = layout.cells(X, z[:, numbers])
    complete = z.copy()
    if cells.observed is not None:
        tables = Tables(cells.numbers[None], weight[None], None, cells.observed[None])
        complete[:, numbers] = fill(tables)[0]
    missing = np.isnan(complete)
    for j in np.flatnonzero(missing.any(axis=0)):
        there = ~missing[:, j]
        w = weight * there
        complete[~there, j] = (w[there] @ z[there, j]) / w.sum() if there.any() else 0.0
    return complete, cells


def native_rows(layout: CellLayout, X: Matrix, max_context: int, max_features: int) -> int | None:
    """How many rows the layers can read without filling; None where gaps must be filled.

    See `PATTERN_WORK`. A matrix of more than `max_features` columns is projected, and a projection
    needs complete rows.
    """
    if X.shape[1] > max_features:
        return None
    work = max(1, len(layout.numbers) ** 3)
    gaps = np.isnan(X[:, list(layout.numbers)])
    if not gaps.any():
        return max_context
    n_patterns = len(np.unique(np.packbits(gaps, axis=1), axis=0))
    if n_patterns * work <= PATTERN_WORK:
        return max_context
    n_rows = PATTERN_WORK // work
    return min(max_context, n_rows) if n_rows >= min(LEAST_ROWS, len(X)) else None


def run_cells(
    network: EMNetwork | NetworkOf,
    problem: Problem,
    labels: Int[np.ndarray, "s n"],
    n_components: int,
    on: Backend,
    *,
    tol: float | None = None,
) -> Candidates:
    """All starts of one problem through the network, which reads `problem.cells`.

    `network` serves any runs, or is made for a slice of them, as in `starts.run`. Raises ValueError
    for a problem without cells.
    """
    ((centres, readout, density, *_),) = run_layers(
        network, problem, labels, n_components, (-1,), on, tol=tol
    )
    return Candidates(centres, readout, density * problem.weight.sum())


def run_layers(
    network: EMNetwork | NetworkOf,
    problem: Problem,
    labels: Int[np.ndarray, "s n"],
    n_components: int,
    layers: Sequence[int],
    on: Backend,
    *,
    tol: float | None = None,
) -> list[tuple[Any, ...]]:
    """All starts of one problem, read after each of `layers` (counted from 1; -1 is the last).

    Of each layer: centres and readout (leading axis s), mean log density "1 s", labels "1 s n",
    largest responsibility "1 s n", weighted mean of rho "1 s". Raises ValueError for a problem
    without cells.
    """
    cells = problem.cells
    if cells is None:
        raise ValueError("Problem(cells=None) is complete; use starts.run")
    s, n = labels.shape
    p = cells.numbers.shape[1]
    each = n_components * n * (p * p if cells.observed is not None else p + 1)
    step = max(1, RUN_ELEMENTS // max(each, 1))
    moved = on.put_record(cells.tables(problem.weight))
    share = problem.weight / problem.weight.sum()
    if isinstance(network, EMNetwork):
        network.weights = on.put_all(network.weights)
    parts: list[list[tuple[Any, ...]]] = [[] for _ in layers]
    for first in range(0, s, step):
        runs = slice(first, min(first + step, s))
        if isinstance(network, EMNetwork):
            own = network
        else:
            own = network(1, runs)
            own.weights = on.put_all(own.weights)
        record = "last" if {*layers} <= {-1, own.n_layers} else "all"
        start = on.put(one_hot(labels[runs], n_components))
        with on.inference():
            trace = own(moved, start, tol=tol, record=record)
            for place, layer in enumerate(layers):
                at = -1 if record == "last" or layer < 0 else layer - 1
                r = on.get(trace.responsibilities[at])
                parts[place].append(
                    (
                        on.get_record(trace.centres[at]),
                        on.get_record(trace.readouts[at]),
                        on.get(log_density(moved, trace.centres[at])) @ share,
                        r.argmax(axis=-1).astype(np.int16),
                        r.max(axis=-1).astype(np.float32),
                    )
                )
    return [_beside(part) for part in parts]


def _beside(parts: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
    """Batches of runs one after the other."""

    def joined(place: int) -> Any:
        return np.concatenate([part[place] for part in parts])

    def record(place: int) -> Any:
        first = parts[0][place]
        arrays = {
            f.name: np.concatenate([getattr(part[place], f.name) for part in parts])
            for f in fields(first)
            if getattr(first, f.name) is not None
        }
        return replace(first, **arrays)

    centres, readout = record(0), record(1)
    rho = (centres.weights * readout.rho).sum(axis=-1)
    return centres, readout, *(joined(place)[None] for place in (2, 3, 4)), rho[None]
