"""A table in units of its own, and the first subspace of `PrincipalNetwork` (array API).

Axes: b tables, n points, d features, k components.
"""

from __future__ import annotations

from dataclasses import dataclass

from array_api_compat import array_namespace

from statformer.batch import Array
from statformer.nn.principal_cells import Columns, columns_of, pairwise_steps, tamed
from statformer.nn.principal_features import (
    Directions,
    differences,
    directions,
    outlyingness,
    spatial_median,
)
from statformer.nn.principal_quantiles import median
from statformer.nn.principal_steps import Subspace, orthonormal, power_steps

START_STEPS = 8


@dataclass(frozen=True)
class Units:
    """Where a table's own units come from: x = shift + unit * (value in them).

    shift "b d", unit "b"; columns (own units; None on complete tables in form "rows"), and the
    directions along which rows are compared.
    """

    shift: Array
    unit: Array
    columns: Columns | None
    outlying: Directions
    is_tamed: bool


@dataclass(frozen=True)
class Rows:
    """Rows in units of a table.

    X "b n d" (0 where missing), observed "b n d" as 0 and 1 or None, Y "b n d" (X, with far cells
    pulled in where the table is `tamed`), outlyingness "b n".
    """

    X: Array
    observed: Array | None
    Y: Array
    outlyingness: Array


def units_of(X: Array, observed: Array | None, weight: Array, form: str) -> tuple[Units, Array]:
    """The units of a table, and the distance "b n" of each of its rows from the centre in them.

    Complete tables in form "rows" have the spatial median for a centre and the median distance
    for a unit: a rotation of the columns changes neither. All others have column medians.
    """
    xp = array_namespace(X)
    largest = xp.max(xp.abs(X), axis=(1, 2))
    largest = xp.where(largest > 0, largest, xp.ones_like(largest))
    X = X / largest[:, None, None]
    columns = None
    if observed is None:
        centre, distance = spatial_median(X, weight)
        Y = X - centre[:, None, :]
    else:
        columns = columns_of(X, observed * weight[..., None])
        centre = columns.centre
        Y = observed * (X - centre[:, None, :])
        if form == "cells":
            Y, _ = tamed(Y, observed, columns.scale)
        # a row of few cells is as long as its cells promise
        share = xp.mean(observed, axis=2)
        distance = xp.sqrt(xp.sum(Y * Y, axis=2) / xp.where(share > 0, share, 1.0 + 0.0 * share))
    unit = median(distance, weight, axis=1)[:, 0]
    mean = xp.sum(weight * distance, axis=1) / xp.sum(weight, axis=1)
    unit = xp.where(unit > 1e-9 * mean, unit, mean)
    unit = xp.where(unit > 0, unit, xp.ones_like(unit))
    distance = distance / unit[:, None]
    outlying = directions(Y / unit[:, None, None], weight, distance)
    if columns is not None:
        columns = Columns(columns.centre, columns.scale / unit[:, None])
    shift = centre * largest[:, None]
    return Units(shift, unit * largest, columns, outlying, form == "cells"), distance


def rows_of(X: Array, observed: Array | None, units: Units) -> Rows:
    """Rows of X "b n d" in the units of a table, their own or another's."""
    X = (X - units.shift[:, None, :]) / units.unit[:, None, None]
    if observed is not None:
        X = X * observed
    Y = X
    if units.is_tamed and units.columns is not None and observed is not None:
        Y, _ = tamed(X, observed, units.columns.scale)
    return Rows(X, observed, Y, outlyingness(Y, units.outlying))


def first_subspace(rows: Rows, units: Units, weight: Array, distance: Array, k: int) -> Subspace:
    """Power steps from ranked pairs of rows, a row at distance r weighing 1 / (r^2 + 0.1).

    With missing cells the covariance is made up for them (`pairwise_steps`).
    """
    xp = array_namespace(rows.X)
    w = weight / (distance * distance + 0.1)
    V = orthonormal(differences(rows.Y, weight, distance, k))
    if rows.observed is None:
        return power_steps(rows.X, w, V, START_STEPS)
    V = pairwise_steps(rows.Y, rows.observed, w, V, START_STEPS)
    a = (w / xp.sum(w, axis=1, keepdims=True))[..., None]
    t = xp.matmul(rows.Y, xp.matrix_transpose(V))
    spread = xp.matmul(xp.matrix_transpose(t), a * t)
    explained = xp.sum(xp.linalg.diagonal(spread), axis=1)
    rest = xp.clip(xp.sum(a * rows.Y * rows.Y, axis=(1, 2)) - explained, 0.0, None)
    mean = xp.zeros_like(units.shift)
    d = rows.X.shape[2]
    return Subspace(mean, V, spread, rest / max(d - k, 1) + 1e-6 * explained)
