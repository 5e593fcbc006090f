"""What a layer of `PrincipalNetwork` sees of a table with missing or doubtful cells (array API).

Axes: b tables, n points, d features.
"""

from __future__ import annotations

from dataclasses import dataclass

from array_api_compat import array_namespace

from statformer.batch import Array
from statformer.nn.principal_cells import (
    CellScales,
    CellView,
    cell_logs,
    cell_scales,
    row_quantiles,
    view_cells,
)
from statformer.nn.principal_steps import Scores, Subspace
from statformer.nn.principal_table import Rows, Units


@dataclass(frozen=True)
class Look:
    """What a layer sees of the cells: distances of rows, and cells beside their scales."""

    raw: list[Array]
    view: CellView
    logs: Array
    of_row: tuple[Array, Array]
    scales: CellScales


def look_at_cells(
    rows: Rows,
    units: Units,
    at: Subspace,
    cells: Array,
    scores: Scores,
    weight: Array,
    fitted: CellScales | None,
    form: str,
) -> Look:
    """Compare the cells with their reconstruction under `at`, in scales `fitted` or their own.

    The distances of rows are those of `ROW_DISTANCES` that are not read off the scores.
    """
    xp = array_namespace(rows.X)
    assert rows.observed is not None
    assert units.columns is not None
    view = view_cells(rows.X, rows.observed, cells, at, scores)
    squares = view.U * view.U
    d = rows.X.shape[2]
    n_seen = xp.sum(cells, axis=2) + 1e-9
    residual = xp.sqrt(d * xp.sum(cells * squares, axis=2) / n_seen)
    completed = view.R + cells * view.U - at.mean[:, None, :]
    norm = xp.sqrt(xp.sum(completed * completed, axis=2))
    raw = [residual, norm, rows.outlyingness]
    scales = fitted or cell_scales(view, rows.observed, weight, units.columns)
    logs = cell_logs(view, scales.residual)
    of_row = row_quantiles(logs, rows.observed)
    if form == "cells":
        n_seen = xp.sum(rows.observed, axis=2) + 1e-9
        plain = xp.sqrt(d * xp.sum(squares, axis=2) / n_seen)
        raw += [plain, *(xp.exp(level[..., 0]) for level in of_row)]
    return Look(raw, view, logs, of_row, scales)
