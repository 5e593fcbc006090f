"""From the rows of a table to what the network reads: canonical order, a bounded context, no units.

Rows of weight 0 are dropped and equal rows merged, so that weight 2 is twice and the order of rows
plays no part. NaN is a cell nobody saw: equal to itself here, and last in the order.

Axes: n rows, d columns of the matrix, p columns the network sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.linalg import eigh

from statformer.nn.standardize import compress, robust_scale

Matrix = Float[np.ndarray, "n d"]
_SMALLEST = 1e-153  # columns that vary less would lose their variance in float64
_RESIDUAL_FLOOR = 1e-4


@dataclass(frozen=True)
class Rows:
    """Distinct rows of positive weight in lexicographic order.

    X        "n d"  the rows
    weight   "n"    summed weights of equal rows
    indices  "m"    the caller's rows that have a place here, ascending
    place    "m"    where each of them is in X
    """

    X: Matrix
    weight: Float[np.ndarray, " n"]
    indices: Int[np.ndarray, " m"]
    place: Int[np.ndarray, " m"]


def canonical_rows(X: Matrix, weight: Float[np.ndarray, " n"]) -> Rows:
    """Drop rows of weight 0, merge equal rows, sort. A total weight below 1 is scaled up to n."""
    kept = np.flatnonzero(weight > 0)
    values = (X if len(kept) == len(X) else X[kept]) + 0.0  # a copy, in which -0.0 is 0.0
    w = weight[kept]
    # weight is the last key: the order of the sums below is then canonical too
    order = np.lexsort((w, *values.T[::-1]))
    values, w = values[order], w[order]
    new = np.ones(len(values), dtype=bool)
    differ = values[1:] != values[:-1]
    if np.isnan(values).any():
        differ &= ~(np.isnan(values[1:]) & np.isnan(values[:-1]))
    new[1:] = differ.any(axis=1)
    first = np.flatnonzero(new)
    merged = np.add.reduceat(w, first)
    if merged.sum() < 1.0:
        merged = merged * (len(first) / merged.sum())
    place = np.empty(len(kept), dtype=np.int64)
    place[order] = np.cumsum(new) - 1
    return Rows(values[first], merged, kept, place)


def draw_rows(rows: Rows, max_context: int, rng: np.random.Generator) -> Rows:
    """All rows, or `max_context` draws in proportion to weight (systematic, without bias).

    With equal weights this is a simple random sample. `indices` then names one of the caller's
    rows, the first, for each row that was drawn.
    """
    n = len(rows.X)
    if n <= max_context and len(rows.indices) <= max_context:
        return rows
    drawn, weight = np.arange(n), rows.weight
    if n > max_context:
        drawn, weight = systematic_draw(rows.weight, max_context, rng)
    _, first = np.unique(rows.place, return_index=True)
    indices = rows.indices[first[drawn]]
    order = np.argsort(indices)
    return Rows(rows.X[drawn], weight, indices[order], order)


def systematic_draw(
    weight: Float[np.ndarray, " n"], size: int, rng: np.random.Generator
) -> tuple[Int[np.ndarray, " k"], Float[np.ndarray, " k"]]:
    """Places (ascending) and weights of `size` draws in proportion to `weight`.

    Marks at equal steps along the shuffled rows: a row is drawn size * share times on average,
    give or take less than one, and weighs as often as it was drawn.
    """
    n = len(weight)
    shuffled = rng.permutation(n)
    step = weight.sum() / size
    marks = (rng.random() + np.arange(size)) * step
    hit = np.searchsorted(np.cumsum(weight[shuffled]), marks, side="right")
    drawn, counts = np.unique(shuffled[np.minimum(hit, n - 1)], return_counts=True)
    return drawn, counts * min(1.0, float(step))


@dataclass(frozen=True)
class Standardizer:
    """z = (x - centre) / scale, then u = (z - origin) @ directions above `max_features` columns.

    centre, scale "d"; origin "d" and directions "d p" are None without projection. Across the
    directions that were dropped the density is N(0, residual).

    The layers read `compress(z)` in the place of z, in training and here, so that far values
    keep their side without taking everyone's digits. Densities read z itself.
    """

    centre: Float[np.ndarray, " d"]
    scale: Float[np.ndarray, " d"]
    origin: Float[np.ndarray, " d"] | None = None
    directions: Float[np.ndarray, "d p"] | None = None
    residual: float = 1.0

    def __call__(self, X: Matrix) -> Float[np.ndarray, "n p"]:
        """What the layers read: values beyond 20 are compressed."""
        return self.project(compress(self.standardize(X)))

    def project(self, z: Matrix) -> Float[np.ndarray, "n p"]:
        """u, or z where nothing is projected."""
        return z if self.directions is None else (z - self.origin) @ self.directions

    def standardize(self, X: Matrix) -> Matrix:
        """z, bounded so that sums of squares stay inside float64."""
        return np.clip((X - self.centre) / self.scale, -1e140, 1e140)

    def only(self, columns: Sequence[int]) -> Standardizer:
        """Centre and scale of some columns, of a table that is not projected."""
        at = list(columns)
        return Standardizer(self.centre[at], self.scale[at])

    @property
    def n_dropped(self) -> int:
        """Directions without a place in the projection, d - p."""
        return 0 if self.directions is None else int(np.subtract(*self.directions.shape))

    def log_volume(self) -> float:
        """log |dz/dx| = -sum log scale: what a density in z needs to be one in x."""
        return -float(np.log(self.scale).sum())

    def residual_density(self, X: Matrix) -> Float[np.ndarray, " n"]:
        """Log density of the part of z - origin that the projection drops."""
        if self.directions is None:
            return np.zeros(len(X))
        z = self.standardize(X) - self.origin
        rest = z - (z @ self.directions) @ self.directions.T
        constant = self.n_dropped * np.log(2.0 * np.pi * self.residual)
        return -0.5 * ((rest**2).sum(axis=1) / self.residual + constant)

    def means_to_units(self, means: Float[np.ndarray, "c p"]) -> Float[np.ndarray, "c d"]:
        """Means in the caller's units: centre + scale (origin + V mu)."""
        if self.directions is not None:
            means = self.origin + means @ self.directions.T
        return self.centre + self.scale * means

    def covariances_to_units(
        self, covariances: Float[np.ndarray, "c p p"]
    ) -> Float[np.ndarray, "c d d"]:
        """scale (V S V' + residual (I - V V')) scale."""
        if self.directions is not None:
            V = self.directions
            rest = self.residual * (np.eye(len(V)) - V @ V.T)
            covariances = V @ covariances @ V.T + rest
        full = covariances * self.scale[:, None] * self.scale[None, :]
        return 0.5 * (full + np.swapaxes(full, 1, 2))


def learn_standardizer(rows: Rows, max_features: int) -> Standardizer:
    """Robust centre and scale of each column; principal directions above `max_features`.

    Columns are brought to [-1, 1] by a power of two (exact) before anything is squared. A column
    that does not vary keeps that unit. Missing cells (NaN) have no say. Raises ValueError where
    a column varies too little for its variance to be a float64.
    """
    gaps = np.isnan(rows.X)
    known = np.where(gaps, 0.0, rows.X) if gaps.any() else rows.X
    largest = np.abs(known).max(axis=0)
    unit = np.ldexp(1.0, np.frexp(np.where(largest > 0, largest, 1.0))[1] - 1)
    scaled = known / unit
    centre, scale = robust_scale(scaled[None], rows.weight[None])
    centre, scale = centre[0], scale[0]
    for gap in np.flatnonzero(gaps.any(axis=0)):
        j = int(gap)
        centre[j], scale[j] = _scale_of_seen(scaled[~gaps[:, j], j], rows.weight[~gaps[:, j]])
    distance = np.where(gaps, 0.0, np.abs(scaled - centre)).max(axis=0)
    is_constant = distance <= 4.0 * np.finfo(np.float64).eps
    scale = np.where(is_constant, 1.0, scale)
    in_units = scale * unit
    if (in_units < _SMALLEST).any():
        narrow = int(np.argmin(in_units))
        raise ValueError(
            f"column {narrow} of the matrix spreads over {in_units[narrow]:g} only; multiply it by "
            "a power of ten so that its variance is a number"
        )
    plain = Standardizer(centre * unit, in_units)
    return plain if rows.X.shape[1] <= max_features else _project(plain, rows, max_features)


def _scale_of_seen(
    values: Float[np.ndarray, " n"], weight: Float[np.ndarray, " n"]
) -> tuple[float, float]:
    """Robust centre and scale of the cells of a column that are there; 0 and 1 without any."""
    if not len(values):
        return 0.0, 1.0
    centre, scale = robust_scale(values[None, :, None], weight[None])
    return float(centre[0, 0]), float(scale[0, 0])


def _project(plain: Standardizer, rows: Rows, p: int) -> Standardizer:
    """Principal directions of the compressed rows, and the mean variance of the others."""
    z, share = plain(rows.X), rows.weight / rows.weight.sum()
    origin = share @ z
    B = np.sqrt(share)[:, None] * (z - origin)
    d = B.shape[1]
    variances, V = _leading_directions(B, p)
    p = V.shape[1]
    V = V * np.sign(V[np.abs(V).argmax(axis=0), np.arange(p)])
    dropped = max(float((B**2).sum() - variances.sum()) / (d - p), _RESIDUAL_FLOOR)
    return Standardizer(plain.centre, plain.scale, origin, np.ascontiguousarray(V), dropped)


def _leading_directions(
    B: Matrix, p: int
) -> tuple[Float[np.ndarray, " p"], Float[np.ndarray, "d p"]]:
    """Eigenvalues and eigenvectors of B'B, largest first, from the smaller of B'B and BB'.

    Fewer than p where B has a smaller rank; at least one.
    """
    n, d = B.shape
    side = min(n, d)
    wide = d > n
    gram = B @ B.T if wide else B.T @ B
    values, vectors = eigh(gram, subset_by_index=(max(side - p, 0), side - 1))
    values, vectors = values[::-1], vectors[:, ::-1]
    keep = np.maximum(values > 1e-10 * max(values[0], 1e-300), np.arange(len(values)) == 0)
    values, vectors = values[keep], vectors[:, keep]
    if wide and values[0] > 0:
        vectors = B.T @ (vectors / np.sqrt(values))
    elif wide:
        vectors = np.eye(d, 1)
    return values, vectors
