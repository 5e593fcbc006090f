"""What a table looks like, whatever its units: a short vector of invariant features (ours).

The features do not change when rows or columns change places, nor when a column is shifted, scaled
or turned over. Missing cells are NaN; they count as missing and are filled by the column's median
where a feature needs a complete table.

Axes: n rows, d columns, f features, q quantiles.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

MOST_ROWS = 4096  # a longer table is looked at through evenly spaced rows
MOST_NEIGHBOURS = 256  # rows whose distances to each other are taken
FEW_VALUES = 12
_QUANTILES = (0.1, 0.5, 0.9)
_TINY = 1e-9

TABLE_FEATURES: tuple[str, ...] = (
    "log n",
    "log d",
    "missing share",
    "missing share of the worst column",
    "share of columns with 2 values",
    "share of columns with at most 12 values",
    "distinct share",
    "share of the commonest value",
    "skewness 10 %",
    "skewness 50 %",
    "skewness 90 %",
    "log kurtosis 10 %",
    "log kurtosis 50 %",
    "log kurtosis 90 %",
    "bimodality 10 %",
    "bimodality 50 %",
    "bimodality 90 %",
    "outlier share",
    "mean correlation",
    "largest correlation",
    "spectrum entropy",
    "first direction",
    "first three directions",
    "log condition number",
    "bimodality of direction 1",
    "bimodality of direction 2",
    "duplicate share",
    "neighbour 1 to 5",
    "neighbour 5 to 20",
    "neighbour 5 to typical pair",
    "spread of neighbour 5",
    "isolation",
    "intrinsic dimension",
    "near pairs",
    "far pairs",
)


def table_features(
    X: Float[np.ndarray, "n d"], weight: Float[np.ndarray, " n"] | None = None
) -> Float[np.ndarray, " f"]:
    """The features `TABLE_FEATURES` of a table; finite for every table of a row and a column.

    With w the weights (1 by default; rows of weight 0 are as if absent), of each column: centre =
    median, scale = mean |x - median|. Skewness is |m3| / m2^(3/2), kurtosis m4 / m2^2, bimodality
    (skewness^2 + 1) / kurtosis (1/3 normal, 5/9 uniform, 1 two values), each at three quantiles
    over the columns. Spectrum: the eigenvalues of the correlation matrix of columns cut off at 6
    scales. Neighbours: Euclidean distances r_k among at most 256 rows (every so many in the order
    of their distance from the centre), divided by the distance of a typical pair.

    Raises ValueError where X has no row of positive weight or no column.
    """
    X = np.asarray(X, dtype=np.float64)
    w = np.ones(len(X)) if weight is None else np.asarray(weight, dtype=np.float64)
    if X.ndim != 2 or X.shape[1] == 0 or not (w > 0).any():
        raise ValueError(
            f"X has shape {X.shape} and {int((w > 0).sum())} rows of positive weight; "
            "pass a table with at least one row and one column"
        )
    if not (w > 0).all():
        X, w = X[w > 0], w[w > 0]
    total = float(w.sum())
    if len(X) > MOST_ROWS:
        rows = np.linspace(0, len(X) - 1, MOST_ROWS).round().astype(np.int64)
        X, w = X[rows], w[rows]
    seen = ~np.isnan(X)
    cells = seen * w[:, None]
    Z, count = _standardised(X, seen, cells)
    columns, real = _column_features(Z, seen, cells, count)
    missing = 1.0 - cells.sum(axis=0) / w.sum()
    head = [np.log(total), np.log(X.shape[1]), missing.mean(), missing.max()]
    cut = np.clip(np.where(seen, Z, 0.0), -6.0, 6.0)
    spectrum = _spectrum_features(cut[:, real], w)
    features = np.array([*head, *columns, *spectrum, *_neighbour_features(cut[:, real], w)])
    return np.clip(np.nan_to_num(features, posinf=20.0, neginf=-20.0), -20.0, 20.0)


def _standardised(
    X: Float[np.ndarray, "n d"], seen: Bool[np.ndarray, "n d"], cells: Float[np.ndarray, "n d"]
) -> tuple[Float[np.ndarray, "n d"], Float[np.ndarray, "d 2"]]:
    """(x - median) / mean |x - median|, NaN where missing; counts and largest shares of values."""
    filled = np.where(seen, X, 0.0)
    largest = np.abs(filled).max(axis=0)
    X = np.where(seen, X / np.where(largest > 0, largest, 1.0), np.inf)  # no square overflows
    order = np.argsort(X, axis=0, kind="stable")
    ordered = np.take_along_axis(X, order, axis=0)
    mass = np.take_along_axis(cells, order, axis=0)
    held = np.cumsum(mass, axis=0)
    half = 0.5 * held[-1]
    # the mean of the lower and the upper median does not mind a change of sign
    low = np.take_along_axis(ordered, (held < half * (1 - 1e-12)).sum(axis=0)[None], axis=0)[0]
    up = (held <= half * (1 + 1e-12)).sum(axis=0).clip(max=len(X) - 1)
    high = np.take_along_axis(ordered, up[None], axis=0)[0]
    middle = 0.5 * (np.where(np.isfinite(low), low, 0.0) + np.where(np.isfinite(high), high, 0.0))
    # runs of equal values: how many, and the mass of the heaviest
    is_new = np.ones(X.shape, dtype=bool)
    is_new[1:] = ordered[1:] != ordered[:-1]
    there = np.isfinite(ordered)
    n_values = (is_new & there).sum(axis=0)
    starts = np.flatnonzero(is_new.T)  # column after column; each begins a run
    runs = np.add.reduceat(mass.T.ravel(), starts)
    heaviest = np.zeros(X.shape[1])
    np.maximum.at(heaviest, starts // len(X), runs)
    away = np.where(seen, X - middle, 0.0)
    scale = (np.abs(away) * cells).sum(axis=0) / np.maximum(held[-1], _TINY)
    # a spread that is rounding alone is none
    scale = np.where(scale > 1e-13, scale, np.inf)
    Z = np.where(seen, away / scale, np.nan)
    return Z, np.stack([n_values, heaviest / np.maximum(held[-1], _TINY)], axis=1)


def _column_features(
    Z: Float[np.ndarray, "n d"],
    seen: Bool[np.ndarray, "n d"],
    cells: Float[np.ndarray, "n d"],
    count: Float[np.ndarray, "d 2"],
) -> tuple[list[float], Bool[np.ndarray, " d"]]:
    """Shapes of the columns, and which of them are not constant."""
    mass = np.maximum(cells.sum(axis=0), _TINY)
    filled = np.where(seen, Z, 0.0)
    centred = np.where(seen, filled - (filled * cells).sum(axis=0) / mass, 0.0)
    squares = centred**2
    m2 = (squares * cells).sum(axis=0) / mass
    real = m2 > 0
    safe = np.where(real, m2, 1.0)
    skew = np.abs((squares * centred * cells).sum(axis=0) / mass) / safe**1.5
    kurtosis = np.maximum((squares**2 * cells).sum(axis=0) / mass / safe**2, 1.0)
    bimodality = (skew**2 + 1.0) / kurtosis
    n_values = count[:, 0]
    common = [
        float((n_values <= 2).mean()),
        float((n_values <= FEW_VALUES).mean()),
        float((n_values / np.maximum(seen.sum(axis=0), 1)).mean()),
        float(count[:, 1].mean()),
    ]
    shapes = [np.log1p(skew), np.log(kurtosis), bimodality]
    if real.any():
        quantiles = [np.quantile(values[real], _QUANTILES) for values in shapes]
    else:
        quantiles = [np.zeros(3)] * 3
    # 3.5 standard deviations of a normal are 4.4 mean deviations
    outliers = float((cells * (np.abs(filled) > 4.4)).sum() / max(float(cells.sum()), _TINY))
    return [*common, *np.concatenate(quantiles).tolist(), outliers], real


def _spectrum_features(Z: Float[np.ndarray, "n d"], w: Float[np.ndarray, " n"]) -> list[float]:
    """Correlations, their spectrum, and the shape of the rows along its first two directions."""
    n, d = Z.shape
    if d == 0:
        return [0.0] * 8
    p = w / w.sum()
    centred = Z - p @ Z
    deviation = np.sqrt(p @ centred**2)
    U = centred / np.where(deviation > _TINY, deviation, np.inf)
    C = (U * p[:, None]).T @ U
    apart = np.abs(C[~np.eye(d, dtype=bool)]) if d > 1 else np.zeros(1)
    values, axes = np.linalg.eigh(C)
    values = np.maximum(values[::-1], 0.0)
    share = values / max(float(values.sum()), _TINY)
    rank = max(min(n, d), 2)
    entropy = float(-(share * np.log(np.maximum(share, 1e-300))).sum() / np.log(rank))
    last = max(share[min(n - 1, d) - 1] if n > 1 else share[0], 1e-6)
    shapes = []
    for place in (1, 2):
        along = U @ axes[:, -place] if d >= place else np.zeros(n)
        m2 = float(p @ along**2)
        if m2 < _TINY:
            shapes.append(1.0 / 3.0)
            continue
        skew2 = float(p @ along**3) ** 2 / m2**3
        shapes.append((skew2 + 1.0) / max(float(p @ along**4) / m2**2, 1.0))
    return [
        float(apart.mean()),
        float(apart.max()),
        entropy,
        float(share[0]),
        float(share[:3].sum()),
        float(np.log(max(share[0], 1e-6) / last)),
        *shapes,
    ]


def _neighbour_features(Z: Float[np.ndarray, "n d"], w: Float[np.ndarray, " n"]) -> list[float]:
    """Distances to neighbours and of pairs, among at most `MOST_NEIGHBOURS` rows."""
    length = (Z**2).sum(axis=1)
    if len(Z) > MOST_NEIGHBOURS:
        order = np.lexsort((w, length))
        Z = Z[order[np.linspace(0, len(Z) - 1, MOST_NEIGHBOURS).round().astype(np.int64)]]
        length = (Z**2).sum(axis=1)
    n = len(Z)
    if n < 3:
        return [0.0] * 9
    squared = length[:, None] + length[None, :] - 2.0 * Z @ Z.T
    distance = np.sqrt(np.maximum(squared, 0.0))
    # what is left of equal rows is rounding
    distance[squared < 1e-10 * (length.mean() + _TINY)] = 0.0
    far, middle = min(20, n - 1), min(5, n - 1)
    near = np.partition(distance, (0, 1, middle, far), axis=1)[:, : far + 1]
    near = np.sort(near, axis=1)
    pairs = distance[np.triu_indices(n, 1)]
    low, typical, high = np.quantile(pairs, (0.05, 0.5, 0.95))
    if high <= _TINY:
        return [1.0, *[0.0] * 8]
    typical = max(float(typical), 1e-3 * float(high))
    floor = 1e-4 * typical
    r1, r5, r20 = (np.maximum(near[:, k], floor) for k in (1, middle, far))
    logs = np.log(np.maximum(near[:, 1 : far + 1], floor))
    # maximum likelihood of the intrinsic dimension (Levina and Bickel 2005), over all rows
    dimension = 1.0 / max(float((logs[:, -1:] - logs).mean()), 0.01)
    quarters = np.quantile(np.log(r5), (0.1, 0.5, 0.9))
    return [
        float((near[:, 1] <= 0).mean()),
        float(np.median(np.log(r5 / r1))),
        float(np.median(np.log(r20 / r5))),
        float(np.log(typical) - quarters[1]),
        float(quarters[2] - quarters[0]),
        float(np.log(r1.max()) - quarters[1]),
        float(np.log(dimension)),
        float(max(low, 0.0) / typical),
        float(high / typical),
    ]
