"""Clusters of any shape: more micro-clusters than clusters, merged by several habits (ours).

One rule gives every label, of rows in the table and of rows to come. With micro-clusters of weight
w_c and mean m_c, all of one spherical variance v (their mean within variance), the owner map o and
a row x,

    p_c(x) = softmax_c(log w_c - |x - m_c|^2 / (2 v)),   label(x) = argmax_k sum_{o(c) = k} p_c(x)

so a cluster is itself a mixture of narrow Gaussians, and its responsibility is the sum of theirs.

Axes: n rows, d columns, c micro-clusters, k numbers of clusters (or clusters of one answer).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Int

from statformer.batch import Tables
from statformer.nn.seeding import kmeans_plus_plus, lloyd
from statformer.proposals.connections import Connections, connect, pairwise_squared
from statformer.proposals.linkages import HABITS

MAX_ROWS = 1024  # more rows are thinned before their pairs are looked at
MICRO_PER_ROOT = 2.7
MICRO_RANGE = (60, 100)
_TRIALS = 3
_LLOYD_STEPS = 12
_CHUNK = 2**22


@dataclass(frozen=True)
class MicroReadout:
    """Micro-clusters as narrow Gaussians: weights "c" (sum 1), means "c d", one variance."""

    weights: Float[np.ndarray, " c"]
    means: Float[np.ndarray, "c d"]
    variance: float

    def responsibilities(
        self, X: Float[np.ndarray, "n d"], owner: Int[np.ndarray, " c"]
    ) -> Float[np.ndarray, "n k"]:
        """sum over the micro-clusters c of each cluster of p_c(x); k = max(owner) + 1."""
        return self.shares(X) @ (owner[:, None] == np.arange(int(owner.max()) + 1))

    def labels(
        self, X: Float[np.ndarray, "n d"], owner: Int[np.ndarray, " c"]
    ) -> Int[np.ndarray, " n"]:
        """The cluster of each row under the one rule."""
        step = max(1, _CHUNK // (len(self.weights) + X.shape[1]))
        parts = [
            self.responsibilities(X[i : i + step], owner).argmax(axis=1)
            for i in range(0, len(X), step)
        ]
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)

    def shares(self, X: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n c"]:
        """p_c(x)."""
        score = pairwise_squared(X, self.means)
        score *= -0.5 / self.variance
        score += np.log(self.weights)
        score -= score.max(axis=1, keepdims=True)
        p = np.exp(score, out=score)
        p /= p.sum(axis=1, keepdims=True)
        return p


@dataclass(frozen=True)
class Micro:
    """Micro-clusters of a table.

    readout      how a row is shared among micro-clusters
    labels       "n"    nearest mean of each row
    shares       "n c"  p_c(x) of each row
    connections  what says which micro-clusters belong together
    """

    readout: MicroReadout
    labels: Int[np.ndarray, " n"]
    shares: Float[np.ndarray, "n c"]
    connections: Connections

    @property
    def means(self) -> Float[np.ndarray, "c d"]:
        """Means of the micro-clusters."""
        return self.readout.means


def micro_clusters(
    X: Float[np.ndarray, "n d"],
    weight: Float[np.ndarray, " n"],
    rng: np.random.Generator,
    max_rows: int = MAX_ROWS,
) -> Micro:
    """Over-segment a standardised table: k-means++, Lloyd, and the connections between the parts.

    c = 2.7 sqrt(sum of weights) within 60..100, fewer where rows are few or coincide. A row of
    weight 2 is two rows, a row of weight 0 only receives labels; weights that sum to less than
    one per row are scaled up to that. Beyond `max_rows` rows every (sum / max_rows)-th unit of
    weight is kept for the pairs. Raises ValueError when no row has weight.
    """
    (found,) = micro_clusters_of([X], [weight], [rng], max_rows)
    return found


def micro_clusters_of(
    X: Sequence[Float[np.ndarray, "n d"]],
    weight: Sequence[Float[np.ndarray, " n"]],
    rngs: Sequence[np.random.Generator],
    max_rows: int = MAX_ROWS,
) -> list[Micro]:
    """`micro_clusters` of several tables; those of one shape are seeded side by side."""
    drafts = [
        _Draft.of(np.asarray(x, dtype=np.float64), w, rng, max_rows)
        for x, w, rng in zip(X, weight, rngs, strict=True)
    ]
    alike: dict[tuple[int, ...], list[int]] = {}
    for i, draft in enumerate(drafts):
        alike.setdefault((*draft.rows.shape, draft.uniforms.shape[1]), []).append(i)
    found: dict[int, Micro] = {}
    for (*_, c), members in alike.items():
        held = [drafts[i] for i in members]
        tables = Tables(np.stack([d.rows for d in held]), np.stack([d.held for d in held]))
        uniforms = np.concatenate([d.uniforms for d in held])
        start = kmeans_plus_plus(tables, np.full(len(held), c), uniforms)
        hot = lloyd(tables, start, np.ones((len(held), c), dtype=bool), _LLOYD_STEPS)
        for i, labels in zip(members, hot.argmax(axis=2), strict=True):
            found[i] = drafts[i].finished(labels)
    return [found[i] for i in range(len(drafts))]


@dataclass(frozen=True)
class _Draft:
    """A table before its micro-clusters.

    X         "n d"    every row
    rows      "m d"    those whose pairs are looked at
    held      "m"      their mass
    uniforms  "1 c t"  what seeding draws from
    """

    X: Float[np.ndarray, "n d"]
    rows: Float[np.ndarray, "m d"]
    held: Float[np.ndarray, " m"]
    uniforms: Float[np.ndarray, "1 c t"]

    @classmethod
    def of(
        cls,
        X: Float[np.ndarray, "n d"],
        weight: Float[np.ndarray, " n"],
        rng: np.random.Generator,
        max_rows: int,
    ) -> _Draft:
        mass = np.asarray(weight, dtype=np.float64)
        there = np.flatnonzero(mass > 0)
        if len(there) == 0:
            raise ValueError("weight is 0 for every row; give at least one row a weight above 0")
        mass = mass * max(1.0, len(there) / float(mass.sum()))
        used, held = _thinned(there, mass[there], max_rows, rng)
        c = micro_count(float(held.sum()), len(used))
        return cls(X, X[used], held, rng.random((1, c, _TRIALS)))

    def finished(self, labels: Int[np.ndarray, " m"]) -> Micro:
        """The micro-clusters that Lloyd's labels of the rows lead to."""
        X, rows, held = self.X, self.rows, self.held
        means = _means(rows, held, labels)
        # Lloyd may stop short of rest: the nearest mean decides, and means that lost all rows go
        while True:
            squared = pairwise_squared(rows, means)
            labels = squared.argmin(axis=1)
            kept = np.unique(labels)
            if len(kept) == len(means):
                break
            means = means[kept]
        within = held @ np.take_along_axis(squared, labels[:, None], axis=1)[:, 0]
        connections = connect(rows, held, labels)
        variance = within / (held.sum() * X.shape[1])
        readout = MicroReadout(
            connections.mass / held.sum(), means, max(variance, _least_variance(means))
        )
        if len(rows) < len(X):
            labels = pairwise_squared(X, means).argmin(axis=1)
        return Micro(readout, labels, readout.shares(X), connections)


def merge_owners(
    micro: Micro, counts: Sequence[int], habits: Collection[str] = tuple(HABITS)
) -> dict[str, Int[np.ndarray, "k c"]]:
    """For each habit the cluster of every micro-cluster, at each number of clusters in `counts`.

    A number above the number of micro-clusters is answered with as many clusters as there are.
    Raises ValueError for a number below 1.
    """
    wrong = [count for count in counts if count < 1]
    if wrong:
        raise ValueError(f"counts has {wrong[0]}; numbers of clusters are 1 or more")
    return {
        name: habit(micro.connections, counts) for name, habit in HABITS.items() if name in habits
    }


def merge_labels(micro: Micro, counts: Sequence[int]) -> dict[str, Int[np.ndarray, "k n"]]:
    """Labels of the rows that `micro_clusters` saw, by the one rule; see `merge_owners`."""
    return {
        name: owned_labels(micro, owners) for name, owners in merge_owners(micro, counts).items()
    }


def owned_labels(micro: Micro, owners: Int[np.ndarray, "k c"]) -> Int[np.ndarray, "k n"]:
    """Labels under several owner maps, in one product."""
    if len(owners) == 0:
        return np.zeros((0, len(micro.labels)), dtype=np.int64)
    clusters = owners.max(axis=1) + 1
    edges = np.concatenate([[0], np.cumsum(clusters)])
    hot = np.zeros((owners.shape[1], edges[-1]))
    hot[np.arange(owners.shape[1])[None, :], owners + edges[:-1, None]] = 1.0
    summed = (micro.shares @ hot).T
    return np.stack([summed[a:b].argmax(axis=0) for a, b in pairwise(edges)])


def micro_readout(micro: Micro) -> MicroReadout:
    """What a fitted model keeps to label new rows."""
    return micro.readout


def micro_count(mass: float, n_rows: int) -> int:
    """Micro-clusters for so much mass in so many rows."""
    low, high = MICRO_RANGE
    return max(1, min(n_rows, high, max(low, round(MICRO_PER_ROOT * np.sqrt(mass)))))


def _thinned(
    rows: Int[np.ndarray, " n"],
    mass: Float[np.ndarray, " n"],
    max_rows: int,
    rng: np.random.Generator,
) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """At most `max_rows` rows and their mass: systematic draws along the cumulative mass."""
    if len(rows) <= max_rows:
        return rows, mass
    reached = np.cumsum(mass)
    goals = (np.arange(max_rows) + rng.random()) * (reached[-1] / max_rows)
    drawn = np.minimum(np.searchsorted(reached, goals, side="right"), len(rows) - 1)
    index, times = np.unique(drawn, return_counts=True)
    return rows[index], times.astype(np.float64)


def _means(
    X: Float[np.ndarray, "n d"], mass: Float[np.ndarray, " n"], labels: Int[np.ndarray, " n"]
) -> Float[np.ndarray, "c d"]:
    """Weighted means of the labels that occur."""
    found, labels = np.unique(labels, return_inverse=True)
    hot = (labels[:, None] == np.arange(len(found))) * mass[:, None]
    return (hot.T @ X) / hot.sum(axis=0)[:, None]


def _least_variance(means: Float[np.ndarray, "c d"]) -> float:
    """A floor for tables whose rows are all micro-clusters of their own."""
    if len(means) < 2:
        return 1e-12
    squared = pairwise_squared(means, means)
    np.fill_diagonal(squared, np.inf)
    return max(1e-12, 1e-2 * float(np.median(squared.min(axis=1))) / means.shape[1])
