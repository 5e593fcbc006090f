"""What a table looks like before anyone has clustered it: directions, neighbours, spanning tree.

Computed once per table, and read by the features of every labeling of it. All of it is ours.

Axes: n rows, d columns, p leading directions, k neighbours, e edges of the spanning tree.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

N_DIRECTIONS = 16
N_NEIGHBOURS = 10
N_NEAR = 5
MAX_ROWS = 512
RIDGE = 1e-2  # in units of the mean variance along the directions


class TableView:
    """Rows of a table as labelings are described on.

    X       "n d"  complete rows, each column robustly standardised
    weight  "n"    how often each row counts

    Z "n p" are the leading principal directions (all of them up to 16 columns), in units of the
    root mean variance of the table, so that a common scale plays no part.
    """

    def __init__(self, X: Float[np.ndarray, "n d"], weight: Float[np.ndarray, " n"]) -> None:
        self.n, self.d = X.shape
        self.weight = weight
        self.share = weight / weight.sum()
        self.size = float(weight.sum())
        centred = X - self.share @ X
        variance = self.share @ (centred**2)
        unit = float(np.sqrt(variance.mean()))
        self.X = centred / (unit if unit > 1e-12 else 1.0)
        self.Z = self._directions()
        self.p = self.Z.shape[1]

    def _directions(self) -> Float[np.ndarray, "n p"]:
        if self.d <= N_DIRECTIONS:
            return self.X
        B = self.X * np.sqrt(self.share)[:, None]
        if self.n < self.d:
            values, vectors = np.linalg.eigh(B @ B.T)
            keep = values[-N_DIRECTIONS:] > 1e-12
            top = B.T @ vectors[:, -N_DIRECTIONS:][:, keep]
            top = top / np.linalg.norm(top, axis=0)
        else:
            top = np.linalg.eigh(B.T @ B)[1][:, -N_DIRECTIONS:]
        Z = self.X @ top
        return Z if Z.shape[1] else self.X[:, :1]

    @cached_property
    def squared(self) -> Float[np.ndarray, "n n"]:
        """Squared Euclidean distances between rows, infinite on the diagonal."""
        norm = (self.X**2).sum(axis=1)
        found = norm[:, None] + norm[None, :] - 2.0 * (self.X @ self.X.T)
        np.clip(found, 0.0, None, out=found)
        np.fill_diagonal(found, np.inf)
        return found

    @cached_property
    def distances(self) -> Float[np.ndarray, "n n"]:
        """Distances between rows, 0 on the diagonal."""
        found = np.sqrt(self.squared)
        np.fill_diagonal(found, 0.0)
        return found

    @cached_property
    def neighbours(self) -> Int[np.ndarray, "n k"]:
        """The nearest rows of each row, nearest first; at most `N_NEIGHBOURS`."""
        k = min(N_NEIGHBOURS, self.n - 1)
        if k == 0:
            return np.zeros((self.n, 0), dtype=np.int64)
        nearest = np.argpartition(self.squared, k - 1, axis=1)[:, :k]
        length = np.take_along_axis(self.squared, nearest, axis=1)
        return np.take_along_axis(nearest, np.argsort(length, axis=1, kind="stable"), axis=1)

    @cached_property
    def sparsity(self) -> Float[np.ndarray, " n"]:
        """Standardised log distance to the last neighbour: large where rows are sparse."""
        if self.neighbours.shape[1] == 0:
            return np.zeros(self.n)
        far = np.take_along_axis(self.squared, self.neighbours[:, -1:], axis=1)[:, 0]
        logs = 0.5 * np.log(far + 1e-12)
        logs = logs - self.share @ logs
        return logs / np.sqrt(self.share @ logs**2 + 1e-12)

    @cached_property
    def tree(self) -> tuple[Int[np.ndarray, "e 2"], Float[np.ndarray, " e"]]:
        """Minimum spanning tree (Prim): its edges, and their log lengths, standardised."""
        n = self.n
        ends = np.zeros((n - 1, 2), dtype=np.int64)
        lengths = np.zeros(n - 1)
        near, parent = self.squared[0].copy(), np.zeros(n, dtype=np.int64)
        outside = np.ones(n, dtype=bool)
        outside[0] = False
        near[0] = np.inf
        for e in range(n - 1):
            j = int(near.argmin())
            if not outside[j]:  # only infinite distances are left: huge values overflowed
                j = int(np.flatnonzero(outside)[0])
            ends[e], lengths[e] = (parent[j], j), near[j]
            outside[j] = False
            row = self.squared[j]
            closer = (row < near) & outside
            near[closer] = row[closer]
            parent[closer] = j
            near[j] = np.inf
        logs = 0.5 * np.log(np.minimum(lengths, 1e300) + 1e-12)
        if len(logs):
            logs = (logs - logs.mean()) / (logs.std() + 1e-6)
        return ends, logs

    @cached_property
    def pairs(self) -> tuple[Int[np.ndarray, " q"], Int[np.ndarray, " q"]]:
        """Places of the upper triangle of p x p."""
        first, second = np.triu_indices(self.p)
        return first, second

    @cached_property
    def products(self) -> Float[np.ndarray, "n q"]:
        """(1, z_j, z_j z_j' for j <= j') of each row."""
        first, second = self.pairs
        ones = np.ones((self.n, 1))
        return np.concatenate([ones, self.Z, self.Z[:, first] * self.Z[:, second]], axis=1)
