"""Invariant features of rows and cells: what the learned weights of `PrincipalNetwork` look at.

Distances of rows are compared on a log scale with their weighted median over the rows. None
depends on units; those of form "rows" on a complete table depend on inner products alone, so that
a rotation of the columns changes nothing.

Axes: b tables, n points, d features, k components, q directions, s distances, f features.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from array_api_compat import array_namespace

from statformer.batch import Array
from statformer.nn.principal_quantiles import median, quantiles, rows_at
from statformer.nn.principal_steps import Scores, Subspace

N_DIRECTIONS = 64
ROW_DISTANCES = {
    "rows": ("residual", "mahalanobis", "norm", "along components", "outlyingness"),
    "cells": (
        "residual", "mahalanobis", "norm", "along components", "outlyingness",
        "residual unweighted", "median cell", "upper cell",
    ),
}  # fmt: skip
N_ROW_FEATURES = {form: 2 * len(names) for form, names in ROW_DISTANCES.items()}
N_TABLE_FEATURES = {form: 3 * len(names) + 6 for form, names in ROW_DISTANCES.items()}
_FLOOR = 1e-6
_LEVELS = (0.25, 0.5, 0.75, 0.9, 0.97)
_WEISZFELD = 8
_GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0


# ---------------------------------------------------------------------------------------------
# The start: a robust centre, and directions between rows


def spatial_median(X: Array, weight: Array) -> tuple[Array, Array]:
    """Point "b d" of least mean distance after a few steps of Weiszfeld, and the distances "b n".

    Begins at the weighted mean; a distance below a millionth of the mean one counts as that.
    """
    xp = array_namespace(X)
    a = weight / xp.sum(weight, axis=1, keepdims=True)
    centre = xp.sum(a[..., None] * X, axis=1)
    distance = _norms(X - centre[:, None, :])
    for _ in range(_WEISZFELD):
        floor = 1e-6 * xp.sum(a * distance, axis=1, keepdims=True) + 1e-30
        w = a / (distance + floor)
        centre = xp.sum(w[..., None] * X, axis=1) / xp.sum(w, axis=1)[:, None]
        distance = _norms(X - centre[:, None, :])
    return centre, distance


@dataclass(frozen=True)
class Directions:
    """Unit vectors D "b q d", with the median and the scale of the table along each, "b q"."""

    D: Array
    centre: Array
    scale: Array


def differences(Y: Array, weight: Array, distance: Array, n_pairs: int) -> Array:
    """Unit vectors "b q d" between pairs of rows of Y "b n d", which is about a robust centre.

    One row y of each pair sits at evenly spaced levels of the weighted ranks of `distance` "b n",
    the other z at the multiples of the golden ratio: pairs that are not drawn but ranked (ours).
    The direction is that of y - 0.9 z, which is not 0 where both are the same row.
    """
    xp = array_namespace(Y)
    first = [(i + 0.5) / n_pairs for i in range(n_pairs)]
    second = [((i + 0.5) * _GOLDEN) % 1.0 for i in range(n_pairs)]
    near = _rows(Y, rows_at(distance, weight, second))
    D = _rows(Y, rows_at(distance, weight, first)) - 0.9 * near
    length = _norms(D)
    return D / (length + 1e-9 * xp.max(length, axis=1, keepdims=True) + 1e-30)[..., None]


def directions(Y: Array, weight: Array, distance: Array) -> Directions:
    """`differences` of rows of Y with the centre and scale of Y along each, for `outlyingness`."""
    xp = array_namespace(Y)
    D = differences(Y, weight, distance, N_DIRECTIONS)
    along = xp.matmul(Y, xp.matrix_transpose(D))  # b n q
    centre = median(along, weight[..., None], axis=1)
    scale = median(xp.abs(along - centre), weight[..., None], axis=1)
    return Directions(D, centre[:, 0, :], scale[:, 0, :])


def outlyingness(Y: Array, at: Directions) -> Array:
    """max over the directions of |y' D - centre| / scale, "b n" (Stahel and Donoho)."""
    xp = array_namespace(Y)
    along = xp.abs(xp.matmul(Y, xp.matrix_transpose(at.D)) - at.centre[:, None, :])
    floor = _FLOOR * xp.max(at.scale, axis=1, keepdims=True) + 1e-30
    return xp.max(along / (at.scale + floor)[:, None, :], axis=2)


# ---------------------------------------------------------------------------------------------
# Rows


@dataclass(frozen=True)
class RowScales:
    """What rows are compared with: one value per table.

    rotation "b k k" to the principal axes of the scores; whiten "b k", 1 / standard deviation, and
    along "b k", median |score|, on each axis; floor "b", a millionth of the median norm; levels
    "b s 5", quantiles of the log distances.
    """

    rotation: Array
    whiten: Array
    along: Array
    floor: Array
    levels: Array


def axes_of(spread: Array) -> tuple[Array, Array]:
    """Principal axes of the scores: rotation "b k k" and 1 / standard deviation along each."""
    xp = array_namespace(spread)
    values, vectors = xp.linalg.eigh(spread)
    top = xp.max(values, axis=1, keepdims=True)
    return vectors, 1.0 / xp.sqrt(xp.clip(values, 0.0, None) + 1e-12 * top + 1e-30)


def log_distances(raw: Sequence[Array], t: Array, scales: RowScales) -> Array:
    """log of the distances "b s n" of `ROW_DISTANCES`; the levels of `scales` are not used.

    `raw` holds residual, norm, outlyingness and what else there is, each "b n".
    """
    xp = array_namespace(t)
    floor = scales.floor
    u = xp.matmul(t, scales.rotation)
    mahalanobis = _norms(u * scales.whiten[:, None, :])
    robust = xp.max(xp.abs(u) / scales.along[:, None, :], axis=2)
    residual, norm, outlying, *rest = raw
    columns = [
        xp.log(residual + floor[:, None]),
        xp.log(mahalanobis + _FLOOR),
        xp.log(norm + floor[:, None]),
        xp.log(robust + _FLOOR),
        xp.log(outlying + _FLOOR),
        *[xp.log(column + floor[:, None]) for column in rest[:1]],
        *[xp.log(column + _FLOOR) for column in rest[1:]],
    ]
    return xp.stack(columns, axis=1)


def row_scales(raw: Sequence[Array], scores: Scores, at: Subspace, weight: Array) -> RowScales:
    """The scales of a table from its own rows; raw as in `log_distances`."""
    xp = array_namespace(at.V)
    rotation, whiten = axes_of(at.spread)
    u = xp.abs(xp.matmul(scores.t, rotation))
    along = median(u, weight[..., None], axis=1)[:, 0, :]
    along = along + _FLOOR / whiten + 1e-30
    floor = _FLOOR * median(raw[1], weight, axis=1)[:, 0] + 1e-30
    scales = RowScales(rotation, whiten, along, floor, floor)
    logs = log_distances(raw, scores.t, scales)
    found = quantiles(logs, weight[:, None, :], _LEVELS, axis=2)
    return replace(scales, levels=xp.concat(found, axis=2))


def row_features(logs: Array, scales: RowScales) -> Array:
    """Features "b n f": log distance over its median, plain and in units of its upper quartile."""
    xp = array_namespace(logs)
    low, middle, high = (scales.levels[:, :, i : i + 1] for i in (0, 1, 2))
    plain = logs - middle
    standard = plain / (high - low + 0.02) / 4.0
    both = xp.concat([xp.clip(plain, -8.0, 8.0), xp.clip(standard, -6.0, 6.0)], axis=1)
    return xp.matrix_transpose(both)


def table_features(
    scales: RowScales, at: Subspace, total: Array, n_columns: int, missing: Array
) -> Array:
    """Features "b f": spread and tails of each distance, sizes, shares of noise and missing."""
    xp = array_namespace(at.V)
    L = scales.levels
    k = at.V.shape[1]
    tails = [L[..., 2] - L[..., 0], L[..., 3] - L[..., 1], L[..., 4] - L[..., 1]]
    signal = xp.sum(xp.linalg.diagonal(at.spread), axis=1)
    one = xp.ones_like(total)
    sizes = [
        xp.clip(xp.log(total / n_columns) / 2.0, -0.6, 2.7),
        xp.clip(xp.log(total), 3.0, 6.3) / 3.0 - 1.5,
        one * math.log(k) / 2.0,
        one * (k / n_columns),
        xp.log((signal + 1e-30) / (at.noise * n_columns + 1e-6 * signal + 1e-30)) / 3.0,
        missing,
    ]
    return xp.concat(
        [xp.clip(xp.concat(tails, axis=1), -4.0, 4.0), xp.stack(sizes, axis=1)], axis=1
    )


def row_raw(Y: Array, scores: Scores, V: Array) -> tuple[Array, Array]:
    """Residual and norm "b n" of the rows of a complete table.

    The residual is that of the reconstruction: |y|^2 - |t|^2 would lose half of the digits.
    """
    xp = array_namespace(Y)
    return _norms(Y - xp.matmul(scores.t, V)), _norms(Y)


def _norms(Y: Array) -> Array:
    xp = array_namespace(Y)
    return xp.sqrt(xp.sum(Y * Y, axis=-1))


def _rows(Y: Array, index: Array) -> Array:
    """Rows "b q d" of Y at `index` "b q"."""
    xp = array_namespace(Y)
    wide = xp.broadcast_to(index[..., None], (*index.shape, Y.shape[2]))
    return xp.take_along_axis(Y, wide, axis=1)
