"""Two classes by the sign of the leading score, and what theory says about its errors.

The mixture is x_i = z_i theta + sigma eps_i with z_i = -1 or +1 and eps_i standard normal.

Axes: n points, d features.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from statformer.reference.power_iteration import covariance, exact_eigenpairs

Array = np.ndarray


class TwoClasses(NamedTuple):
    """Labels -1 or +1, the scores whose signs they are, and the direction of the scores."""

    labels: Int[Array, "n"]
    scores: Float[Array, "n"]
    vector: Float[Array, "d"]


def two_classes(
    X: Float[Array, "n d"], *, centre: bool = False, vector: Float[Array, "d"] | None = None
) -> TwoClasses:
    """z_i = sign <x_i, v> with v the leading eigenvector of X'X; a score of 0 counts as +1.

    `centre` takes the mean row away first, for means that are not opposite. `vector` is v where it
    comes from elsewhere (a few power steps); by default LAPACK finds it. Both signs of v are right.
    """
    if centre:
        X = X - X.mean(axis=0)
    if vector is None:
        vector = exact_eigenpairs(covariance(X, centre=False), 1).vectors[0]
    scores = X @ vector
    return TwoClasses(np.where(scores >= 0, 1, -1), scores, vector)


def mismatch(labels: Int[Array, "n"], z: Int[Array, "n"]) -> float:
    """min over the global sign of the share of points whose label is not z."""
    wrong = float(np.mean(labels != z))
    return min(wrong, 1.0 - wrong)


def exact_recovery_radius(n_points: int, n_features: int, sigma: float = 1.0) -> float:
    """|theta| above which all labels can be recovered, and below which they cannot (n large):

        sigma sqrt( (1 + sqrt(1 + 2 d / (n log n))) log n ).

    Source: Ndaoud (arXiv 1812.08078). Raises ValueError for fewer than two points.
    """
    if n_points < 2:
        raise ValueError(f"n_points={n_points}: log n has to be positive; pass at least 2")
    log_n = math.log(n_points)
    return sigma * math.sqrt((1.0 + math.sqrt(1.0 + 2.0 * n_features / (n_points * log_n))) * log_n)


def oracle_error(radius: float, sigma: float = 1.0) -> float:
    """Phi(-|theta| / sigma): the error of sign <x, theta>, which no classifier undercuts."""
    return 0.5 * math.erfc(radius / sigma / math.sqrt(2.0))
