"""Habits of merging micro-clusters down to K clusters, for every K at once.

Each habit takes `Connections` and the numbers of clusters wanted, and returns an owner map for
each: the cluster 0, 1, ... of every micro-cluster. They err differently on purpose; a judge
chooses. A number above c is answered with c clusters.

Axes: c micro-clusters, e = c - 1 edges of a spanning tree, k numbers of clusters.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Int
from scipy.linalg import qr

from statformer.proposals.connections import Connections, pairwise_squared

MAX_GINI = 0.2  # above it the linkages that chain take the smallest cluster first
LOCAL_GINI = 0.3
SIZE_POWER = 0.7
_KMEANS_STEPS = 10

Owners = Int[np.ndarray, "k c"]
Habit = Callable[[Connections, Sequence[int]], Owners]


def gap_linkage(connections: Connections, counts: Sequence[int]) -> Owners:
    """Single linkage by `gap` that takes the smallest cluster first while sizes are unequal.

    Genie (Gagolewski, Bartoszuk, Cena 2016) on micro-clusters, inequality in terms of mass.
    """
    return _guarded(connections.gap, connections.mass, counts, MAX_GINI)


def local_linkage(connections: Connections, counts: Sequence[int]) -> Owners:
    """The same by `stride`: a gap counts relative to the spacing of the rows around it."""
    return _guarded(connections.stride, connections.mass, counts, LOCAL_GINI)


def valley_linkage(connections: Connections, counts: Sequence[int]) -> Owners:
    """Merge the pair with the shallowest valley between the two peaks of density (ours).

    depth = (log reach - log spacing at the less dense peak) (smaller mass)^0.7 over the edges of
    the minimum spanning tree of `reach`; the merged cluster keeps the higher peak. A stray row
    has no peak of its own and is merged early. Near ToMATo (Chazal et al. 2013), with sizes.
    """
    c = len(connections.mass)
    a, b, length = _spanning_tree(connections.reach)
    rise, peak = np.log(length), np.log(connections.peak)
    mass = connections.mass.copy()
    weight = mass**SIZE_POWER
    owner = np.arange(c)
    merges = []
    for _ in range(c - 1):
        depth = (rise - np.maximum(peak[a], peak[b])) * np.minimum(weight[a], weight[b])
        e = int(depth.argmin())
        keep, gone = int(a[e]), int(b[e])
        merges.append((keep, gone))
        peak[keep] = min(peak[keep], peak[gone])
        mass[keep] += mass[gone]
        weight[keep] = mass[keep] ** SIZE_POWER
        owner[owner == gone] = keep
        left = np.arange(len(a)) != e
        a, b, rise = a[left], b[left], rise[left]
        a, b = np.where(a == gone, keep, a), np.where(b == gone, keep, b)
    return _cut(merges, c, counts)


def cut_linkage(connections: Connections, counts: Sequence[int]) -> Owners:
    """Average linkage: merge the pair with the greatest affinity per pair of rows."""
    affinity, mass = connections.affinity.copy(), connections.mass.copy()
    c = len(mass)
    per_pair = affinity / mass[:, None] / mass[None, :]
    np.fill_diagonal(per_pair, -1.0)
    merges = []
    for _ in range(c - 1):
        keep, gone = divmod(int(per_pair.argmax()), c)
        merges.append((keep, gone))
        affinity[keep] += affinity[gone]
        affinity[:, keep] = affinity[keep]
        mass[keep] += mass[gone]
        row = np.where(per_pair[keep] < 0.0, -1.0, affinity[keep] / (mass[keep] * mass))
        row[keep] = row[gone] = -1.0
        per_pair[keep] = per_pair[:, keep] = row
        per_pair[gone] = per_pair[:, gone] = -1.0
    return _cut(merges, c, counts)


def spectral_cut(connections: Connections, counts: Sequence[int]) -> Owners:
    """Normalised cut of `affinity`: leading eigenvectors, pivots of QR, then k-means on directions.

    Starts from the pivots of Damle, Minden, Ying (2018), so that nothing is random.
    """
    affinity = connections.affinity
    degree = affinity.sum(axis=1)
    root = np.sqrt(degree)
    _, vectors = np.linalg.eigh(affinity / root[:, None] / root[None, :])
    owners = np.zeros((len(counts), len(degree)), dtype=np.int64)
    for row, count in enumerate(counts):
        K = min(count, len(degree))
        top = vectors[:, : -K - 1 : -1]
        length = np.sqrt((top**2).sum(axis=1, keepdims=True))
        directions = top / np.where(length > 1e-12, length, 1.0)
        pivots = qr(top.T, mode="r", pivoting=True)[1][:K]
        owners[row] = _refine(directions, degree, directions[pivots])
    return owners


HABITS: dict[str, Habit] = {
    "gap": gap_linkage,
    "local": local_linkage,
    "valley": valley_linkage,
    "cut": cut_linkage,
    "spectral": spectral_cut,
}


def _guarded(
    length: Float[np.ndarray, "c c"],
    mass: Float[np.ndarray, " c"],
    counts: Sequence[int],
    max_gini: float,
) -> Owners:
    """Genie along the minimum spanning tree of `length`.

    The nearest neighbour of any cluster lies across an edge of the tree, so its edges suffice.
    """
    c = len(mass)
    a, b, lengths = _spanning_tree(length)
    order = np.argsort(lengths, kind="stable")
    edges = list(zip(a[order].tolist(), b[order].tolist(), strict=True))
    size = mass.tolist()
    alive = sorted(size)
    merges = []
    for _ in range(c - 1):
        chosen = 0
        if _gini(alive) > max_gini:
            small = alive[0] * (1.0 + 1e-9)
            chosen = next(
                i for i, (x, y) in enumerate(edges) if size[x] <= small or size[y] <= small
            )
        keep, gone = edges.pop(chosen)
        merges.append((keep, gone))
        alive.remove(size[keep])
        alive.remove(size[gone])
        size[keep] += size[gone]
        insort(alive, size[keep])
        edges = [(keep if x == gone else x, keep if y == gone else y) for x, y in edges]
    return _cut(merges, c, counts)


def _gini(ascending: list[float]) -> float:
    """Gini index of sizes: 0 when equal, 1 when one has all."""
    n = len(ascending)
    if n < 2:
        return 0.0
    signed = sum((2 * i + 1 - n) * x for i, x in enumerate(ascending))
    return signed / ((n - 1) * sum(ascending))


def _spanning_tree(
    length: Float[np.ndarray, "c c"],
) -> tuple[Int[np.ndarray, " e"], Int[np.ndarray, " e"], Float[np.ndarray, " e"]]:
    """Minimum spanning tree (Prim): both ends of each edge and its length."""
    c = len(length)
    a, b, lengths = np.zeros(c - 1, dtype=np.int64), np.zeros(c - 1, dtype=np.int64), []
    nearest, parent = length[0].copy(), np.zeros(c, dtype=np.int64)
    inside = np.zeros(c, dtype=bool)
    j = 0
    for e in range(c - 1):
        inside[j] = True
        nearest[j] = np.inf
        j = int(nearest.argmin())
        a[e], b[e] = parent[j], j
        lengths.append(nearest[j])
        closer = (length[j] < nearest) & ~inside
        nearest = np.where(closer, length[j], nearest)
        parent[closer] = j
    return a, b, np.asarray(lengths, dtype=np.float64)


def _cut(merges: Sequence[tuple[int, int]], c: int, counts: Sequence[int]) -> Owners:
    """Owner maps after c - K merges, clusters numbered by their first micro-cluster."""
    wanted: dict[int, list[int]] = {}
    for row, count in enumerate(counts):
        wanted.setdefault(min(count, c), []).append(row)
    owners = np.zeros((len(counts), c), dtype=np.int64)
    owner = np.arange(c)
    for K in range(c, 0, -1):
        for row in wanted.get(K, []):
            owners[row] = _renumbered(owner)
        if K > 1:
            keep, gone = merges[c - K]
            owner[owner == gone] = keep
    return owners


def _renumbered(owner: Int[np.ndarray, " c"]) -> Int[np.ndarray, " c"]:
    _, first, inverse = np.unique(owner, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse]


def _refine(
    points: Float[np.ndarray, "c q"],
    mass: Float[np.ndarray, " c"],
    centres: Float[np.ndarray, "k q"],
) -> Int[np.ndarray, " c"]:
    """Weighted k-means from `centres`; a centre without points stays where it is."""
    position = np.arange(len(centres))
    labels = pairwise_squared(points, centres).argmin(axis=1)
    for _ in range(_KMEANS_STEPS):
        hot = (labels[:, None] == position) * mass[:, None]
        held = hot.sum(axis=0)
        moved = (hot.T @ points) / np.where(held > 0, held, 1.0)[:, None]
        centres = np.where(held[:, None] > 0, moved, centres)
        before, labels = labels, pairwise_squared(points, centres).argmin(axis=1)
        if np.array_equal(before, labels):
            break
    return _renumbered(labels)
