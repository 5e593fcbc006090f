"""Missing and doubtful cells of `PrincipalNetwork`: a robust start, and features of every cell.

A cell is compared with its reconstruction from the other cells of its row, in units of its column
and beside the other cells of its row. Signs and the order of columns change nothing.

Axes: b tables, n points, d features, k components, f features.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from array_api_compat import array_namespace

from statformer.batch import Array
from statformer.nn.principal_quantiles import median, quantiles
from statformer.nn.principal_steps import Scores, Subspace, orthonormal

N_CELL_FEATURES = 14
N_CELL_TABLE_FEATURES = 9
_SOFT = 0.1  # log(z + 0.1): a cell that fits exactly is no more remarkable than one that fits well
_FAR = 2.5  # robust standard deviations that the first subspace sees of a cell


@dataclass(frozen=True)
class Columns:
    """Median and robust standard deviation of every column, "b d"."""

    centre: Array
    scale: Array


def columns_of(X: Array, mass: Array) -> Columns:
    """Weighted median and 1.4826 median |x - median| of the cells with mass "b n d" > 0.

    Where more than half of a column is one value, its mean absolute deviation counts; a constant
    column has the scale of the median column, or 1.
    """
    xp = array_namespace(X)
    centre = median(X, mass, axis=1)
    off = xp.abs(X - centre)
    scale = 1.4826 * median(off, mass, axis=1)[:, 0, :]
    mean = xp.sum(mass * off, axis=1) / (xp.sum(mass, axis=1) + 1e-30)
    scale = xp.where(scale > 1e-9 * mean, scale, 1.2533 * mean)
    usual = xp.max(scale, axis=1, keepdims=True)
    usual = xp.where(usual > 0, usual, xp.ones_like(usual))
    return Columns(centre[:, 0, :], xp.where(scale > 1e-12 * usual, scale, usual))


def tamed(Y: Array, observed: Array, scale: Array) -> tuple[Array, Array]:
    """Cells about their median with far ones pulled in, 0 where missing; and their weights.

    scale clip(z, -2.5, 2.5) with z = y / scale; the weight of a cell is min(1, 2.5 / |z|), the
    factor by which it was pulled in.
    """
    xp = array_namespace(Y)
    z = Y / scale[:, None, :]
    far = xp.abs(z)
    weight = observed * _FAR / xp.clip(far, _FAR, None)
    return weight * Y, weight


def pairwise_steps(Y: Array, observed: Array, weight: Array, V: Array, n_steps: int) -> Array:
    """Power steps on a covariance whose missing cells are made up for: cov_jl / (p_j p_l).

    p_j is the weighted share of observed cells of column j, and the diagonal is divided by p_j
    once: right on average when cells are missing at random.
    """
    xp = array_namespace(Y)
    a = (weight / xp.sum(weight, axis=1, keepdims=True))[..., None]
    share = xp.sum(a * observed, axis=1)
    share = xp.clip(share, 1e-3, None)
    Z = Y / share[:, None, :]
    surplus = xp.sum(a * Y * Z, axis=1) * (1.0 / share - 1.0)
    aZ = a * Z
    for _ in range(n_steps):
        W = xp.matmul(xp.matmul(V, xp.matrix_transpose(aZ)), Z)
        V = orthonormal(W - V * surplus[:, None, :])
    return V


@dataclass(frozen=True)
class CellScales:
    """What the cells of a table are compared with.

    Of the columns: residual "b d" (median |residual|), tails "b d 3", share "b d" (observed cells).
    """

    residual: Array
    tails: Array
    share: Array


@dataclass(frozen=True)
class CellView:
    """Cells beside their reconstruction R "b n d": residual U, leave-one-out |residual|, leverage.

    U and `alone` are 0 where missing; alone = |x - R| / (1 - h), the residual of the regression
    of the row's other cells.
    """

    R: Array
    U: Array
    alone: Array
    leverage: Array


def view_cells(X: Array, observed: Array, cells: Array, at: Subspace, scores: Scores) -> CellView:
    """Reconstruct every cell and say how far it is from what the rest of its row promises."""
    xp = array_namespace(X)
    b, n, d = X.shape
    k = at.V.shape[1]
    R = at.mean[:, None, :] + xp.matmul(scores.t, at.V)
    U = observed * (X - R)
    pairs = xp.reshape(at.V[:, :, None, :] * at.V[:, None, :, :], (b, k * k, d))
    h = cells * xp.matmul(xp.reshape(scores.inverse, (b, n, k * k)), pairs)
    h = xp.clip(h, 0.0, 0.98)
    return CellView(R, U, xp.abs(U) / (1.0 - h), h)


def cell_logs(view: CellView, residual: Array) -> Array:
    """log(z + 0.1) "b n d", z the leave-one-out residual in units of its column."""
    xp = array_namespace(residual)
    return xp.log(view.alone / residual[:, None, :] + _SOFT)


def cell_scales(view: CellView, observed: Array, weight: Array, columns: Columns) -> CellScales:
    """The scales of a table from its own cells; weight "b n" is that of rows."""
    xp = array_namespace(observed)
    mass = observed * weight[..., None]
    found = quantiles(view.alone, mass, (0.5, 0.75, 0.9, 0.97), axis=1)
    middle, *upper = (level[:, 0, :] for level in found)
    residual = middle + 1e-6 * columns.scale
    tails = [xp.log((level / residual + _SOFT) / (1.0 + _SOFT)) for level in upper]
    share = xp.sum(mass, axis=1) / xp.sum(weight, axis=1, keepdims=True)
    return CellScales(residual, xp.stack(tails, axis=2), share)


def row_quantiles(logs: Array, observed: Array) -> tuple[Array, Array]:
    """Median and 80 % point over the observed cells of each row, "b n 1"."""
    middle, upper = quantiles(logs, observed, (0.5, 0.8), axis=2)
    return middle, upper


def cell_features(
    X: Array,
    observed: Array,
    view: CellView,
    logs: Array,
    of_row: tuple[Array, Array],
    scales: CellScales,
    columns: Columns,
    row_residual: Array,
) -> Array:
    """Features "b n d f": the cell alone, beside its row, beside its column.

    X is about the column medians; row_residual "b n 2" are two features of the row.
    """
    xp = array_namespace(X)
    middle, upper = of_row
    one = xp.ones_like(X)
    raw = xp.abs(X) / columns.scale[:, None, :]
    relative = xp.log(scales.residual / columns.scale)
    parts = [
        logs,
        logs - middle,
        middle * one,
        xp.log(observed * raw + _SOFT),
        xp.log(1.0 - view.leverage),
        xp.mean(observed, axis=2, keepdims=True) * one,
        scales.share[:, None, :] * one,
        *[scales.tails[:, None, :, i] * one for i in range(3)],
        relative[:, None, :] * one,
        (upper - middle) * one,
        row_residual[:, :, :1] * one,
        row_residual[:, :, 1:] * one,
    ]
    return xp.clip(xp.stack(parts, axis=3), -6.0, 6.0)


def cell_table_features(scales: CellScales, at: Subspace, total: Array) -> Array:
    """Features "b f": mean tails of the columns, share missing, sizes, share of the noise."""
    xp = array_namespace(total)
    k, d = at.V.shape[1:]
    one = xp.ones_like(total)
    signal = xp.sum(xp.linalg.diagonal(at.spread), axis=1)
    columns = [
        *[xp.mean(scales.tails[..., i], axis=1) for i in range(3)],
        1.0 - xp.mean(scales.share, axis=1),
        xp.clip(xp.log(total / d) / 2.0, -0.6, 2.7),
        xp.clip(xp.log(total), 3.0, 6.3) / 3.0 - 1.5,
        one * math.log(k) / 2.0,
        one * (k / d),
        xp.log((signal + 1e-30) / (at.noise * d + 1e-6 * signal + 1e-30)) / 3.0,
    ]
    return xp.clip(xp.stack(columns, axis=1), -4.0, 4.0)
