"""Means and principal axes of weighted rows, exactly, without a matrix of n by n.

    mean = sum_i w_i x_i / W,    S = N / (N - 1) sum_i w_i (x_i - mean)(x_i - mean)' / W,

W the sum of the weights w and N the number of rows that they stand for. With w = 1 these are the
moments of scikit-learn's PCA, and nearly so are the ways to take the axes: eigenvectors of S for
long tables, singular vectors of the rows for small, narrow and wide ones, randomized ones for a few
components of a large table. Axes: n rows, d columns, m axes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from scipy.linalg import eigh, svd
from sklearn.utils.extmath import randomized_svd, svd_flip

LONG = 10  # rows per column from which on S is formed
WIDEST_SCATTER = 1000  # columns
SMALL = 500  # rows and columns of a table whose singular vectors are all taken,
NARROW = 100  # and rows or columns
FEW = 0.8  # share of the axes below which randomized ones are quicker

Piece = tuple[Float[np.ndarray, "n d"], Float[np.ndarray, " n"]]


@dataclass(frozen=True)
class Axes:
    """Mean, axes by descending variance (the largest loading of each is positive), total variance.

    mean "d", components "m d", variances "m", total the sum of all variances.
    """

    mean: Float[np.ndarray, " d"]
    components: Float[np.ndarray, "m d"]
    variances: Float[np.ndarray, " m"]
    total: float

    def shifted(self, shift: Float[np.ndarray, " d"]) -> Axes:
        """The axes of rows that lie `shift` further."""
        return replace(self, mean=shift + self.mean)


def takes_scatter(n: int, d: int) -> bool:
    """Whether S is formed: the rule of scikit-learn's PCA."""
    return d <= WIDEST_SCATTER and n >= LONG * d


def axes_of_moments(
    pieces: Iterable[Piece],
    shift: Float[np.ndarray, " d"],
    n_rows: float,
    extra: Float[np.ndarray, "d d"] | float = 0.0,
) -> Axes:
    """Axes from one reading of the rows x - shift and their weights, piece by piece.

    A shift near the mean keeps the digits of a table far from 0. `extra` (a matrix that the pieces
    may fill while they are read) is added to the sum of squares.
    """
    d = len(shift)
    total, first, second = 0.0, np.zeros(d), np.zeros((d, d))
    for rows, weight in pieces:
        plain = bool((weight == 1.0).all())
        weighted = rows if plain else rows * weight[:, None]
        total += float(weight.sum())
        first += weighted.sum(axis=0)
        second += weighted.T @ rows
    mean = first / total
    S = (second + extra) / total - np.outer(mean, mean)
    S *= n_rows / (n_rows - 1.0)
    if not np.isfinite(S).all():
        raise ValueError("X holds values whose squares are no numbers; divide the columns by 1e150")
    values, vectors = eigh(0.5 * (S + S.T))
    variances = np.maximum(values[::-1], 0.0)
    components, variances = _canonical(
        vectors[:, ::-1].T, variances, min(int(n_rows + 0.5), d), d * np.finfo(np.float64).eps
    )
    return Axes(shift + mean, components, variances, float(variances.sum()))


def axes_of_rows(
    rows: Float[np.ndarray, "n d"],
    weight: Float[np.ndarray, " n"],
    n_rows: float,
    n_axes: int | None,
    seed: int,
) -> Axes:
    """Axes from the singular vectors of weight^(1/2) (x - mean); `rows` is overwritten.

    n_axes : how many are needed, None for all. Few of many are taken by randomized subspace
    iteration begun by `seed`, with the settings of scikit-learn's PCA.
    """
    n, d = rows.shape
    share = (weight / weight.sum()).astype(rows.dtype)
    mean = share @ rows
    rows -= mean
    rows *= np.sqrt(share * (n_rows / (n_rows - 1.0)))[:, None].astype(rows.dtype)
    total = float(np.einsum("nd,nd->", rows, rows, dtype=np.float64))
    if not np.isfinite(total):
        raise ValueError("X holds values whose squares are no numbers; divide the columns by 1e150")
    side = min(int(n_rows + 0.5), d)
    is_large = max(n, d) > SMALL and min(n, d) > NARROW
    if n_axes is not None and is_large and n_axes < FEW * min(n, d):
        side = n_axes
        _, spread, Vt = randomized_svd(
            rows, side, n_oversamples=10, flip_sign=False, random_state=seed
        )
    else:
        _, spread, Vt = svd(rows, full_matrices=False, overwrite_a=True)
    rounding = (max(n, d) * float(np.finfo(rows.dtype).eps)) ** 2
    variances = np.square(spread.astype(np.float64))
    return Axes(mean, *_canonical(Vt, variances, side, rounding), total)


def _canonical(
    Vt: Float[np.ndarray, "m d"], variances: Float[np.ndarray, " m"], side: int, rounding: float
) -> tuple[Float[np.ndarray, "s d"], Float[np.ndarray, " s"]]:
    """`side` axes with scikit-learn's signs; those of no variance are a function of the others.

    An axis with less than `rounding` of the largest variance is replaced: by what the axes before
    leave of the column that they leave most of. So copies of rows and weights of rows, whose
    rounding differs, have the same answer.
    """
    rank = int((variances[:side] > rounding * variances.max(initial=0.0)).sum())
    axes = np.zeros((side, Vt.shape[1]), dtype=Vt.dtype)
    axes[:rank] = svd_flip(None, np.array(Vt[:rank]), u_based_decision=False)[1]
    found = np.zeros(side)
    found[:rank] = variances[:rank]
    left = 1.0 - np.einsum("md,md->d", axes, axes, dtype=np.float64)
    for m in range(rank, side):
        column = int(left.argmax())
        axis = -(axes[:m, column] @ axes[:m])
        axis[column] += 1.0
        axis -= (axes[:m] @ axis) @ axes[:m]  # twice, against rounding
        axes[m] = axis / np.linalg.norm(axis)
        left -= axes[m].astype(np.float64) ** 2
    return axes, found
