"""How unlike the tables of the training a table is: a distance of its invariant features (ours).

With mean m, standard deviations s and correlations R of the features of the training tables,

    D(f) = || R^(-1/2) diag(1 / s) (f - m) ||,

the Mahalanobis distance with the symmetric root, so that entry j of the vector is what feature j
adds beyond the others. Features are not Gaussian, so nobody reads D as a chi-square: what counts is
how many of the training tables are nearer.

Axes: m training tables, f features of a table, q quantiles.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int

LEVELS = np.linspace(0.0, 100.0, 1001)  # percentiles that are kept of the training distances
# Correlations lean on independence by this share, so that a combination of features that never
# varied does not decide alone.
LEAN = 0.05
_LEAST_STD = 1e-3

Reference = Mapping[str, Float[np.ndarray, "..."]]


def depth_reference(features: Float[np.ndarray, "m f"]) -> dict[str, Float[np.ndarray, "..."]]:
    """What a checkpoint keeps of the features of its training tables.

    "depth.mean" "f" and "depth.scale" "f", "depth.whiten" "f f" = R^(-1/2) diag(1 / s), and
    "depth.quantiles" "q", the percentiles `LEVELS` of D over the training tables.

    Raises ValueError where there are fewer tables than features, or a value is not finite.
    """
    m, f = features.shape
    if m <= f:
        raise ValueError(f"features has {m} rows, of {f} features each; give more tables")
    if not np.isfinite(features).all():
        raise ValueError("features holds values that are not finite; drop those tables")
    mean = features.mean(axis=0)
    scale = np.maximum(features.std(axis=0), _LEAST_STD)
    z = (features - mean) / scale
    R = (1.0 - LEAN) * (z.T @ z / m) + LEAN * np.eye(f)
    values, vectors = np.linalg.eigh(R)
    whiten = (vectors / np.sqrt(values)) @ vectors.T / scale
    found = {"depth.mean": mean, "depth.scale": scale, "depth.whiten": whiten}
    every = np.linalg.norm((features - mean) @ whiten.T, axis=1)
    return found | {"depth.quantiles": np.percentile(every, LEVELS)}


def distance(features: Float[np.ndarray, " f"], reference: Reference) -> float:
    """D of one table."""
    return float(np.linalg.norm(_whitened(features, reference)))


def percentile(reached: float, reference: Reference) -> float:
    """Percentage of the training tables that are nearer than `reached`, 0 to 100."""
    quantiles = reference["depth.quantiles"]
    levels = np.linspace(0.0, 100.0, len(quantiles))
    return float(np.interp(reached, quantiles, levels))


def quantile(level: float, reference: Reference) -> float:
    """The distance below which `level` percent of the training tables lie."""
    quantiles = reference["depth.quantiles"]
    return float(np.interp(level, np.linspace(0.0, 100.0, len(quantiles)), quantiles))


def most_unusual(
    features: Float[np.ndarray, " f"], reference: Reference, n: int = 3
) -> Int[np.ndarray, " n"]:
    """Places of the features that add most to D, the largest first."""
    return np.argsort(-np.abs(_whitened(features, reference)), kind="stable")[:n]


def _whitened(features: Float[np.ndarray, " f"], reference: Reference) -> Float[np.ndarray, " f"]:
    return reference["depth.whiten"] @ (features - reference["depth.mean"])
