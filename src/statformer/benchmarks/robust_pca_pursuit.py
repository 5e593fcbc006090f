"""Principal component pursuit: a table as a low-rank part plus a sparse one.

Axes: n rows, d columns. NaN is a missing cell.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

MOST_STEPS, TOLERANCE = 1000, 1e-7
_START, _GROWTH, _MOST_GROWTH = 1.25, 1.1, 1e7  # of the penalty

Matrix = Float[np.ndarray, "n d"]


@dataclass(frozen=True)
class Pursuit:
    """low_rank "n d" (L) and sparse "n d" (S; 0 in missing cells)."""

    low_rank: Matrix
    sparse: Matrix


def component_pursuit(X: Matrix) -> Pursuit:
    """min ||L||_* + lambda ||S||_1 with L + S = X on the observed cells (Candes et al. 2011).

    lambda = 1 / sqrt(p max(n, d)), p the share of observed cells (their theorems 1.1 and 1.2). By
    the inexact augmented Lagrangian of Lin, Chen and Ma (2010): the penalty begins at
    1.25 / ||X||_2 and grows until ||X - L - S||_F <= 1e-7 ||X||_F. It grows by 1.1 and not by their
    1.5, which on small tables stops short of the minimum and doubles the angle to the truth. In
    missing cells S is free of charge.
    """
    n, d = X.shape
    there = ~np.isnan(X)
    values = np.where(there, X, 0.0)
    lam = 1.0 / np.sqrt(max(float(there.mean()), 1e-12) * max(n, d))
    size = float(np.linalg.norm(values))
    if size == 0.0:
        return Pursuit(values, np.zeros_like(values))
    spectral = float(np.linalg.norm(values, 2))
    Y = values / max(spectral, float(np.abs(values).max()) / lam)
    penalty, most = _START / spectral, _START / spectral * _MOST_GROWTH
    L = np.zeros_like(values)
    S = np.zeros_like(values)
    for _ in range(MOST_STEPS):
        target = values - L + Y / penalty
        S = np.where(there, _shrunk(target, lam / penalty), target)
        U, s, Vt = np.linalg.svd(values - S + Y / penalty, full_matrices=False)
        L = (U * np.maximum(s - 1.0 / penalty, 0.0)) @ Vt
        gap = values - L - S
        Y = Y + penalty * gap
        penalty = min(_GROWTH * penalty, most)
        if float(np.linalg.norm(gap)) <= TOLERANCE * size:
            break
    return Pursuit(L, np.where(there, S, 0.0))


def _shrunk(X: Matrix, by: float) -> Matrix:
    """Soft threshold: towards 0 by `by`."""
    shrunk: Matrix = np.sign(X) * np.maximum(np.abs(X) - by, 0.0)
    return shrunk
