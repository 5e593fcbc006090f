"""A fitted principal component model: rows in, scores and densities out, one row at a time.

The density is that of probabilistic PCA (Tipping and Bishop 1999),

    x ~ N(mean, V' diag(l_j) V + noise (I - V' V)),    l_j = max(variance_j, noise),

with the components V as orthonormal rows. A missing cell is replaced by its expectation given the
observed cells of its own row; a complete row is projected as it is. No row knows of another.

Axes: n rows, d columns, k components, p patterns of missing cells.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float, Int

_CHUNK = 2**21  # numbers that are held at a time, beside the input and the output
Cells = Float[np.ndarray, "n d"]  # weights of cells, 0 to 1; 0 where missing
_LEAST_NOISE = 1e-10  # of the largest variance: where cells are missing, directions below are noise


@dataclass(frozen=True)
class PrincipalModel:
    """Mean and axes of a table, in the caller's units.

    mean       "d"
    components "k d"  orthonormal rows
    variances  "k"    along the components, descending
    noise      variance along every direction that is no component; 0 where there is none
    """

    mean: Float[np.ndarray, " d"]
    components: Float[np.ndarray, "k d"]
    variances: Float[np.ndarray, " k"]
    noise: float

    def restored(self, scores: Any) -> Float[np.ndarray, "n d"]:
        """mean + scores V."""
        found: Float[np.ndarray, "n d"] = scores @ self.components + self.mean
        return found

    def centred(self, X: Any, cells: Cells | None = None) -> Float[np.ndarray, "n d"]:
        """x - mean in float64, missing cells at their expectation given the row's other cells.

        A cell of weight c in `cells` (0 where missing) has precision c, and is moved by 1 - c of
        the way to its expectation.
        """
        known = np.asarray(X, dtype=np.float64) - self.mean
        gaps = np.isnan(known)
        if cells is None:
            if not gaps.any():
                return known
            cells = np.where(gaps, 0.0, 1.0)
        known[gaps] = 0.0
        for part, inference in self._inferences(cells):
            guess = inference.latent(known[part]) @ self._loadings.T
            known[part] = guess + cells[part] * (known[part] - guess)
        return known

    def log_density(self, X: Any) -> Float[np.ndarray, " n"]:
        """log p(x) in nats; of the observed cells alone where some are missing."""
        found = np.empty(len(X))
        for rows in chunks_of(*np.shape(X)):
            found[rows] = self._log_density(np.asarray(X[rows], dtype=np.float64) - self.mean)
        return found

    def covariance(self) -> Float[np.ndarray, "d d"]:
        """V' diag(l - noise) V + noise I."""
        V, d = self.components, len(self.mean)
        excess = np.maximum(self.variances - self.noise, 0.0)
        found: Float[np.ndarray, "d d"] = (V.T * excess) @ V + self.noise * np.eye(d)
        return found

    def precision(self) -> Float[np.ndarray, "d d"]:
        """Inverse of the covariance; variances of 0 count as the smallest that can be inverted."""
        V, (variances, noise) = self.components, self._positive()
        found: Float[np.ndarray, "d d"] = (V.T / variances) @ V
        return found if len(V) == V.shape[1] else found + (np.eye(V.shape[1]) - V.T @ V) / noise

    def uncertainty(
        self, cells: Cells, weight: Float[np.ndarray, " n"]
    ) -> Float[np.ndarray, "d d"]:
        """Weighted sum over rows of what the moved cells of `centred` lack in a sum of squares.

        For missing cells their covariance given the observed cells of the row; for a cell of weight
        c the same, times (1 - c) on either side, and (1 - c^2) noise of its own.
        """
        found = np.diag(self.noise * (weight @ (1.0 - cells**2)))
        for part, inference in self._inferences(cells):
            found += inference.spread(weight[part])
        return found

    def _positive(self, share: float = 0.0) -> tuple[Float[np.ndarray, " k"], float]:
        """Variances and noise, at least `share` of the largest and never 0."""
        largest = max(float(self.variances.max(initial=0.0)), self.noise)
        largest = largest if largest > 0 else 1.0
        least = max(share, float(np.finfo(np.float64).eps)) * largest
        noise = max(self.noise, least)
        return np.maximum(self.variances, noise), noise

    @cached_property
    def _loadings(self) -> Float[np.ndarray, "d k"]:
        """W = V' diag(l - noise)^(1/2): x = mean + W z + noise^(1/2) e, z and e standard normal."""
        variances, noise = self._positive(_LEAST_NOISE)
        return self.components.T * np.sqrt(variances - noise)

    def _inferences(self, cells: Cells) -> Iterator[tuple[Int[np.ndarray, " m"], Inference]]:
        """The rows with missing or doubtful cells, in pieces, each with what is known of its z."""
        d, k = self._loadings.shape
        noise = self._positive(_LEAST_NOISE)[1]
        rows = np.flatnonzero((cells < 1.0).any(axis=1))
        step = max(1, _CHUNK // max(d * k, 1))
        for first in range(0, len(rows), step):
            part = rows[first : first + step]
            yield part, infer(self._loadings, noise, cells[part])

    def _log_density(self, centred: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " n"]:
        d = centred.shape[1]
        gaps = np.isnan(centred)
        known = np.where(gaps, 0.0, centred)
        variances, noise = self._positive()
        scores = known @ self.components.T
        rest = known - scores @ self.components
        found = (scores**2 / variances).sum(axis=1) + (rest**2).sum(axis=1) / noise
        found += np.log(variances).sum() + (d - len(variances)) * np.log(noise)
        if gaps.any():
            for part, inference in self._inferences(np.where(gaps, 0.0, 1.0)):
                found[part] = inference.deviance(known[part])
        density: Float[np.ndarray, " n"] = -0.5 * (
            found + (d - gaps.sum(axis=1)) * np.log(2.0 * np.pi)
        )
        return density


@dataclass(frozen=True)
class Inference:
    """What the cells of some rows say of z: N(G^-1 W' C x, noise G^-1), G = W' C W + noise I.

    C is diagonal and holds the weights of the cells of a row; rows of the same weights share one of
    the p `patterns`, row i has the pattern `which[i]`.
    """

    loadings: Float[np.ndarray, "d k"]
    noise: float
    patterns: Float[np.ndarray, "p d"]
    which: Int[np.ndarray, " n"]

    @cached_property
    def G(self) -> Float[np.ndarray, "p k k"]:
        """W' C W + noise I."""
        W = self.loadings
        found = np.matmul(self.patterns[:, None, :] * W.T, W)
        return found + self.noise * np.eye(W.shape[1])

    @cached_property
    def root(self) -> Float[np.ndarray, "p k k"]:
        """R with R R' = G^-1."""
        return np.linalg.inv(np.linalg.cholesky(self.G)).transpose(0, 2, 1)

    @cached_property
    def inverse(self) -> Float[np.ndarray, "p k k"]:
        """G^-1."""
        return np.matmul(self.root, self.root.transpose(0, 2, 1))

    def latent(self, known: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n k"]:
        """E[z | x]; `known` is centred, anything finite where missing."""
        seen = (self.patterns[self.which] * known) @ self.loadings
        return np.matmul(self.inverse[self.which], seen[:, :, None])[:, :, 0]

    def deviance(self, known: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " n"]:
        """x_o' S^-1 x_o + log det S, S = W_o W_o' + noise I the covariance of the observed cells.

        `known` is centred, and 0 where missing; every weight is 0 or 1.
        """
        seen = known @ self.loadings
        explained = (seen * self.latent(known)).sum(axis=1)
        n_free = self.patterns.sum(axis=1) - self.loadings.shape[1]
        log_det = np.linalg.slogdet(self.G)[1] + n_free * np.log(self.noise)
        distance = np.maximum((known**2).sum(axis=1) - explained, 0.0) / self.noise
        found: Float[np.ndarray, " n"] = distance + log_det[self.which]
        return found

    def spread(self, weight: Float[np.ndarray, " n"]) -> Float[np.ndarray, "d d"]:
        """Weighted sum over rows of (I - C) W cov(z | x) W' (I - C)."""
        of_pattern = np.bincount(self.which, weights=weight, minlength=len(self.patterns))
        size = np.sqrt(self.noise * of_pattern)[:, None, None]
        each = (1.0 - self.patterns)[:, :, None] * np.matmul(self.loadings, self.root * size)
        stacked = each.transpose(0, 2, 1).reshape(-1, len(self.loadings))
        found: Float[np.ndarray, "d d"] = stacked.T @ stacked
        return found


def infer(loadings: Float[np.ndarray, "d k"], noise: float, cells: Cells) -> Inference:
    """Prepare E[z | x] for rows by the weights of their cells; equal rows are worked out once."""
    is_seen = cells > 0.0
    if not (cells == is_seen).all():
        return Inference(loadings, noise, np.asarray(cells, np.float64), np.arange(len(cells)))
    packed = np.packbits(is_seen, axis=1)
    _, first, which = np.unique(packed, axis=0, return_index=True, return_inverse=True)
    return Inference(loadings, noise, np.where(is_seen[first], 1.0, 0.0), which.reshape(-1))


def chunks_of(n: int, d: int) -> Iterator[slice]:
    """Slices of rows that hold about `_CHUNK` numbers."""
    step = max(1, _CHUNK // max(d, 1))
    for first in range(0, n, step):
        yield slice(first, min(first + step, n))
