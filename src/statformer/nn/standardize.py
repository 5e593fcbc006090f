"""Robust centre and scale of every column, with row weights (array API).

Axes: b tables, n points, d features, q quantiles.
"""

from __future__ import annotations

from array_api_compat import array_namespace, device

from statformer.batch import Array

_LEVELS = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


def weighted_quantiles(X: Array, weight: Array, levels: tuple[float, ...] = _LEVELS) -> Array:
    """The smallest x whose cumulative weight reaches level * total; "q b d".

    The inverse of the weighted distribution function, without interpolation: a row of weight 2
    is exactly two rows, a row of weight 0 is absent.
    """
    xp = array_namespace(X)
    b, n, d = X.shape
    order = xp.argsort(X, axis=1)
    values = xp.take_along_axis(X, order, axis=1)
    wide = xp.broadcast_to(weight[:, :, None], (b, n, d))
    reached = xp.cumulative_sum(xp.take_along_axis(wide, order, axis=1), axis=1)
    total = reached[:, -1:, :]
    found = []
    for level in levels:
        below = xp.astype(reached < level * total, xp.int64)
        index = xp.clip(xp.sum(below, axis=1, keepdims=True), 0, n - 1)
        found.append(xp.take_along_axis(values, index, axis=1)[:, 0, :])
    return xp.stack(found)


def robust_scale(X: Array, weight: Array) -> tuple[Array, Array]:
    """Centre (median) "b d" and scale "b d" > 0 of each column.

    scale = max(IQR / 1.349, (q95 - q05) / (2 * 3.29), (q99 - q01) / (4 * 4.653)): the standard
    deviation of a Gaussian column; the wider ranges take over where half of a column is one
    value. Where all three vanish (below 1e-9 standard deviations), the standard deviation is the
    scale; a constant column has scale 1. The rule is ours.
    """
    xp = array_namespace(X)
    q01, q05, q25, centre, q75, q95, q99 = weighted_quantiles(X, weight)
    scale = xp.maximum((q75 - q25) / 1.349, (q95 - q05) / (2.0 * 3.29))
    scale = xp.maximum(scale, (q99 - q01) / (4.0 * 4.653))
    total = xp.sum(weight, axis=1)[:, None]
    mean = xp.sum(weight[:, :, None] * X, axis=1) / total
    spread = xp.sum(weight[:, :, None] * (X - mean[:, None, :]) ** 2, axis=1) / total
    spread = xp.sqrt(spread)
    scale = xp.where(scale < 1e-9 * spread, spread, scale)
    one = xp.ones(scale.shape, dtype=scale.dtype, device=device(scale))
    return centre, xp.where(scale > 0, scale, one)


def compress(Z: Array, limit: float = 20.0) -> Array:
    """Standardised values beyond the limit grow only with the logarithm of their size.

    sign(z) limit (1 + log(|z| / limit)) for |z| > limit: a value a million scales away ends near
    240, so that it cannot take the digits of everyone else. Monotone, continuous, ours. The layers
    of a network read compressed values; densities are those of the values as they are.
    """
    xp = array_namespace(Z)
    size = xp.abs(Z)
    far = xp.where(size > limit, size, xp.full_like(size, limit))
    return xp.where(size > limit, xp.sign(Z) * limit * (1.0 + xp.log(far / limit)), Z)
