"""A prior over tables whose principal components are not those of the table as it stands (ours).

A low-rank table with noise (`low_rank`), then what may go wrong with it (`corruption`): Student-t
noise, rows of Student-t length, outlying rows, outlying cells, missing cells.

Axes: b tables, n points, d features, k components.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from statformer.tasks.corruption import (
    CELL_KINDS,
    HELD_OUT,
    MISSING_KINDS,
    ROW_KINDS,
    chosen_rows,
    log_uniform,
    missing_cells,
    outlying_cells,
    outlying_rows,
)
from statformer.tasks.low_rank import LowRank, low_rank
from statformer.tasks.stream import TaskStream

__all__ = [
    "CELL_KINDS",
    "HELD_OUT",
    "MISSING_KINDS",
    "RATES",
    "ROW_KINDS",
    "CorruptedBatch",
    "CorruptedRows",
]

RATES: dict[str, float] = {
    "rows": 0.45,
    "cells": 0.45,
    "missing": 0.45,
    "noise_df": 0.25,
    "row_df": 0.12,
}
PIECES = tuple(RATES)
_SHARES = {"rows": (0.02, 0.25), "cells": (0.01, 0.25), "missing": (0.05, 0.65)}
_KINDS = {"rows": ROW_KINDS, "cells": CELL_KINDS, "missing": MISSING_KINDS}
_DEGREES = (1.5, 10.0)
_WIDE = (60, 300)


@dataclass(frozen=True)
class CorruptedBatch:
    """Tables and their truth.

    X "b n d" (NaN where missing), clean "b n d" (the same table before anything went wrong), basis
    "b k d" (top eigenvectors of the clean population), is_outlying_row "b n", is_outlying_cell
    "b n d", and for each piece whether the table has it, "b".
    """

    X: Tensor
    clean: Tensor
    basis: Tensor
    is_outlying_row: Tensor
    is_outlying_cell: Tensor
    has: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class CorruptedRows:
    """Low-rank tables, some as they are, the others corrupted.

    n, d and k are log-uniform on their ranges and common to the tables of a step; n is cut so that
    n d stays below `cell_budget`, k so that k < d and k <= n / 4. In a share `wide` of the steps d
    is log-uniform on 60 to 300 and n d below three times the budget. A share `clean` of the tables
    is as it is; a share `gaps` has missing cells and nothing else, where rates["missing"] is above
    0; any other table has each piece of `rates` at its rate, with shares of rows in 0.02 to 0.25,
    of cells in 0.01 to 0.25, missing in 0.05 to 0.65, and degrees of freedom log-uniform on 1.5 to
    10.

    levels: every table has exactly these pieces at these levels instead, for example
    {"rows": 0.1, "missing": 0.4}; {} are clean tables. kinds: which kinds of rows, cells and
    missing cells there are; those that training saw by default.
    """

    n_rows: tuple[int, int] = (20, 500)
    n_columns: tuple[int, int] = (3, 60)
    n_components: tuple[int, int] = (1, 8)
    rates: Mapping[str, float] = field(default_factory=lambda: dict(RATES))
    clean: float = 0.25
    gaps: float = 0.15
    levels: Mapping[str, float] | None = None
    kinds: Mapping[str, Sequence[str]] = field(default_factory=dict)
    cell_budget: int | None = None
    wide: float = 0.0

    def __post_init__(self) -> None:
        for name, given in (("rates", self.rates), ("levels", self.levels or {})):
            unknown = set(given) - set(PIECES)
            if unknown:
                raise ValueError(f"{name} has unknown pieces {sorted(unknown)}; use {PIECES}")
        for piece, kinds in self.kinds.items():
            known = (*_KINDS.get(piece, ()), *HELD_OUT)
            if not set(kinds) <= set(known) or piece not in _KINDS or not kinds:
                raise ValueError(f"kinds[{piece!r}]={kinds!r}: choose from {known}")

    def sample(self, stream: TaskStream) -> CorruptedBatch:
        """Tables of one shape with their truth."""
        n, d, k = self._shape(stream)
        table = low_rank(stream, n, d, k)
        has, level = self._drawn(stream)
        clean = table.clean
        degrees = torch.where(
            has["noise_df"], level["noise_df"], torch.full_like(level["rows"], 1e4)
        )
        tails = _student(stream, degrees, n, d)
        lengths = torch.where(has["row_df"], level["row_df"], torch.full_like(degrees, 1e4))
        longer = _student(stream, lengths, n, 1)
        some = has["noise_df"][:, None, None]
        noise = torch.where(some, table.noise * tails, table.noise)
        body = table.signal + noise
        body = torch.where(has["row_df"][:, None, None], body * longer, body)
        is_row = chosen_rows(stream, n, torch.where(has["rows"], level["rows"], 0.0))
        for kind, rows, branch in self._kinds(stream, "rows", has):
            found = outlying_rows(branch, kind, _part(table, rows))
            body[rows] = torch.where(is_row[rows][..., None], found, body[rows])
        X = table.mean[:, None, :] + body
        is_cell = torch.zeros_like(X, dtype=torch.bool)
        for kind, rows, branch in self._kinds(stream, "cells", has):
            X[rows], is_cell[rows] = outlying_cells(branch, kind, X[rows], level["cells"][rows])
        for kind, rows, branch in self._kinds(stream, "missing", has):
            gone = missing_cells(branch, kind, X[rows], level["missing"][rows], k + 3)
            X[rows] = torch.where(gone, torch.nan, X[rows])
        return CorruptedBatch(X, clean, table.basis, is_row, is_cell, has)

    def _shape(self, stream: TaskStream) -> tuple[int, int, int]:
        shared = stream.shared()
        budget, n_columns = self.cell_budget, self.n_columns
        if shared.uniform().item() < self.wide:
            budget, n_columns = budget and 3 * budget, _WIDE
        n, d, k = (
            round(log_uniform(shared, low - 0.49, high + 0.49).item())
            for low, high in (self.n_rows, n_columns, self.n_components)
        )
        if budget is not None:
            n = min(n, max(self.n_rows[0], budget // d))
        return n, d, max(1, min(k, d - 1, n // 4))

    def _drawn(self, stream: TaskStream) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Which table has which piece, and at which level."""
        drawn = stream.uniform()
        is_clean, has_gaps = drawn < self.clean, drawn > 1.0 - self.gaps
        has, level = {}, {}
        for piece in PIECES:
            rate = self.rates.get(piece, 0.0)
            has[piece] = (stream.uniform() < rate) & ~is_clean
            if self.rates.get("missing", 0.0) > 0.0:
                has[piece] = torch.where(
                    has_gaps, torch.full_like(is_clean, piece == "missing"), has[piece]
                )
            if piece in _SHARES:
                low, high = _SHARES[piece]
                level[piece] = low + (high - low) * stream.uniform()
            else:
                level[piece] = log_uniform(stream, *_DEGREES)
            if self.levels is not None:
                has[piece] = torch.full_like(is_clean, piece in self.levels)
                level[piece] = torch.full_like(level[piece], self.levels.get(piece, 0.0))
        return has, level

    def _kinds(
        self, stream: TaskStream, piece: str, has: Mapping[str, Tensor]
    ) -> Iterator[tuple[str, Tensor, TaskStream]]:
        """The kinds of a piece, the tables that have them (one kind each), and a stream for them.

        Kinds that no table has take their branch of the stream, too: a table is the same whatever
        its neighbours have.
        """
        kinds = tuple(self.kinds.get(piece, _KINDS[piece]))
        drawn = stream.integers(0, len(kinds))
        for index, kind in enumerate(kinds):
            rows = (has[piece] & (drawn == index)).nonzero()[:, 0]
            branch = stream.branch(rows)
            if len(rows):
                yield kind, rows, branch


def _student(stream: TaskStream, degrees: Tensor, n: int, d: int) -> Tensor:
    """sqrt(nu / chi^2_nu) "b n d": normal noise times this is Student-t."""
    half = (degrees / 2.0)[:, None, None].clamp_min(0.5)
    return (half / stream.gamma(half, n, d)).sqrt()


def _part(table: LowRank, rows: Tensor) -> LowRank:
    return LowRank(**{name: value[rows] for name, value in vars(table).items()})
