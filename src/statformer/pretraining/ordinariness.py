"""How ordinary a table looks among the tables of a prior: the distance of invariant features.

Axes: t tables of the prior, f features, n rows, d columns, q columns after one-hot coding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.special import ndtri

from statformer.proposals.table_features import TABLE_FEATURES, table_features
from statformer.tasks.stream import TaskStream
from statformer.tasks.wide import WidePrior

N_TABLES = 2000
_TABLES_PER_STEP = 4
_SHRINKAGE = 0.1
_BEYOND = 4.0  # the normal score of a value that no table of the prior reaches


@dataclass(frozen=True)
class Ordinariness:
    """Where a table lies among those of the prior.

    `distance` is the Mahalanobis distance divided by its median over the prior, `percentile` the
    share of the prior's tables that lie nearer to the middle, `unusual` the features furthest from
    the prior's middle: name, value, and the share of the prior's tables with a smaller value.
    """

    distance: float
    percentile: float
    unusual: list[tuple[str, float, float]]


@dataclass(frozen=True)
class Reference:
    """The features of tables of a prior, and what distances among them are.

    A feature becomes a normal score by its rank among the prior's tables (ties share a rank; beyond
    the ends the score is 4). Distances are sqrt(s' C^-1 s), s the scores of a table less their mean
    and C their covariance with a tenth of it replaced by its diagonal, so that no direction is
    unusual for being rounding alone (ours).
    """

    features: Float[np.ndarray, "t f"]
    centre: Float[np.ndarray, " f"]
    precision: Float[np.ndarray, "f f"]
    distances: Float[np.ndarray, " t"]

    @staticmethod
    def of(features: Float[np.ndarray, "t f"]) -> Reference:
        """The reference of a prior from the features of its tables."""
        ordered = np.sort(features, axis=0)
        scores = _scores(ordered, features)
        centre = scores.mean(axis=0)
        covariance = np.cov((scores - centre).T)
        diagonal = np.diag(np.maximum(np.diag(covariance), 1e-3))
        covariance = (1.0 - _SHRINKAGE) * covariance + _SHRINKAGE * diagonal
        precision = np.linalg.inv(covariance)
        distances = _lengths(scores - centre, precision)
        return Reference(ordered, centre, precision, np.sort(distances))

    def place(self, features: Float[np.ndarray, " f"], n_unusual: int = 3) -> Ordinariness:
        """Where a table with these features lies."""
        scores = _scores(self.features, features[None])[0]
        distance = float(_lengths((scores - self.centre)[None], self.precision)[0])
        t = len(self.distances)
        percentile = float(np.searchsorted(self.distances, distance) / t)
        foremost = np.argsort(-np.abs(scores), kind="stable")[:n_unusual]
        below = (self.features < features).mean(axis=0)
        ties = (self.features == features).mean(axis=0)
        unusual = [
            (TABLE_FEATURES[j], float(features[j]), float(below[j] + 0.5 * ties[j]))
            for j in foremost
        ]
        return Ordinariness(distance / float(np.median(self.distances)), percentile, unusual)


def reference_of(prior: WidePrior, n_tables: int = N_TABLES, seed: int = 0) -> Reference:
    """Draw tables of a prior, a few per step as n and d are common to a step, and describe them."""
    found: list[Float[np.ndarray, " f"]] = []
    with torch.no_grad():
        for step in range(-(-n_tables // _TABLES_PER_STEP)):
            batch = prior.sample(TaskStream(seed, step, range(_TABLES_PER_STEP)))
            X, marks = batch.X.double().numpy(), batch.latent["is_categorical"].numpy()
            found += [table_features(one_hot(x, mark)) for x, mark in zip(X, marks, strict=True)]
    return Reference.of(np.stack(found[:n_tables]))


def one_hot(
    X: Float[np.ndarray, "n d"], is_categorical: Bool[np.ndarray, " d"]
) -> Float[np.ndarray, "n q"]:
    """Each categorical column as a column of 0 and 1 per code that occurs; NaN where missing."""
    parts = []
    for x, coded in zip(X.T, is_categorical, strict=True):
        if not coded:
            parts.append(x[:, None])
            continue
        codes: Int[np.ndarray, " l"] = np.unique(x[~np.isnan(x)])
        parts.append(np.where(np.isnan(x)[:, None], np.nan, x[:, None] == codes))
    return np.concatenate(parts, axis=1)


def _scores(
    ordered: Float[np.ndarray, "t f"], features: Float[np.ndarray, "m f"]
) -> Float[np.ndarray, "m f"]:
    """Normal scores of mid-ranks, feature by feature."""
    t = len(ordered)
    scores = np.empty(features.shape)
    for j, column in enumerate(ordered.T):
        low = np.searchsorted(column, features[:, j], side="left")
        high = np.searchsorted(column, features[:, j], side="right")
        middle = ndtri(np.clip((low + high) / 2.0, 0.5, t - 0.5) / t)
        outside = (low == t).astype(float) - (high == 0).astype(float)
        scores[:, j] = np.where(outside != 0, _BEYOND * outside, middle)
    return scores


def _lengths(
    scores: Float[np.ndarray, "m f"], precision: Float[np.ndarray, "f f"]
) -> Float[np.ndarray, " m"]:
    return np.sqrt(np.maximum(np.einsum("mf,fg,mg->m", scores, precision, scores), 0.0))
