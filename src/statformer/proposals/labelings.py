"""Invariant features of a labeling: how well it suits the table, whoever made it (ours).

Many labelings of one table are described at once: their clusters stand side by side, t clusters in
all, so that one matrix product gives the moments of every cluster of every labeling.

Nothing here changes with the order of rows, columns or clusters or with the units of the table.

Axes: m labelings, n rows, t clusters of all labelings, p directions, q pairs, f features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

from statformer.proposals.view import N_NEAR, RIDGE, TableView

LABELING_FEATURES = (
    "log K",
    "balance",
    "smallest share",
    "largest share",
    "rows per column of the smallest",
    "noise share",
    "gain full",
    "gain diagonal",
    "gain spherical",
    "gain tied",
    "criterion full",
    "criterion diagonal",
    "criterion spherical",
    "criterion tied",
    "gain soft",
    "criterion soft",
    "posterior of own",
    "doubt",
    "kept by a refit",
    "kurtosis",
    "worst kurtosis",
    "bimodality",
    "worst bimodality",
    "skewness",
    "nearest centres",
    "typical centres",
    "volume spread",
    "elongation",
    "silhouette",
    "worst silhouette",
    "between to within",
    "Davies-Bouldin",
    "same among 5 neighbours",
    "same among 10 neighbours",
    "worst same among 10",
    "pieces",
    "rows off the main piece",
    "sparsity at borders",
    "cut tree edges",
    "length of cut edges",
    "longest kept edge",
    "shortest cut edge",
)
N_LABELING_FEATURES = len(LABELING_FEATURES)
_TINY = 1e-12


@dataclass(frozen=True)
class Clusters:
    """The clusters of m labelings side by side.

    codes   "m n"  place of each row's cluster among the t
    first   "m"    place of each labeling's first cluster
    counts  "m"    clusters of each labeling
    member  "n t"  1 where a row belongs to a cluster
    share   "t"    share of the table's weight
    """

    codes: Int[np.ndarray, "m n"]
    first: Int[np.ndarray, " m"]
    counts: Int[np.ndarray, " m"]
    member: Float[np.ndarray, "n t"]
    share: Float[np.ndarray, " t"]

    def total(self, per_cluster: Float[np.ndarray, " t"]) -> Float[np.ndarray, " m"]:
        """Sums over the clusters of each labeling."""
        found: Float[np.ndarray, " m"] = np.add.reduceat(per_cluster, self.first, axis=0)
        return found

    def sum_rows(self, per_row: Float[np.ndarray, "m n"]) -> Float[np.ndarray, " t"]:
        """Sums over the rows of each cluster."""
        return np.bincount(self.codes.ravel(), per_row.ravel(), minlength=len(self.share))

    def mean(self, per_cluster: Float[np.ndarray, " t"]) -> Float[np.ndarray, " m"]:
        """Means over clusters, each as heavy as its share."""
        return self.total(self.share * per_cluster)

    def side_by_side(
        self, per_cluster: Float[np.ndarray, "t p"]
    ) -> tuple[Float[np.ndarray, "m c p"], Bool[np.ndarray, "m c"]]:
        """The clusters of each labeling in a row of their own, and which places are clusters."""
        places = np.arange(int(self.counts.max(initial=1)))
        there = places < self.counts[:, None]
        index = np.where(there, self.first[:, None] + places, self.first[:, None])
        return per_cluster[index], there

    def smallest(self, per_cluster: Float[np.ndarray, " t"]) -> Float[np.ndarray, " m"]:
        """The least value among the clusters of each labeling."""
        found: Float[np.ndarray, " m"] = np.minimum.reduceat(per_cluster, self.first)
        return found

    def largest(self, per_cluster: Float[np.ndarray, " t"]) -> Float[np.ndarray, " m"]:
        """The largest value among the clusters of each labeling."""
        found: Float[np.ndarray, " m"] = np.maximum.reduceat(per_cluster, self.first)
        return found


def side_by_side(view: TableView, labels: Int[np.ndarray, "m n"]) -> Clusters:
    """Number the clusters of all labelings; rows labelled -1 are one cluster of their own."""
    m, n = labels.shape
    width = int(labels.max(initial=0)) + 2
    # noise comes last; one layout, so that sums are rounded alike however the labels came
    labels = np.ascontiguousarray(np.where(labels < 0, width - 1, labels))
    seen = np.zeros((m, width), dtype=np.int64)
    np.put_along_axis(seen, labels, 1, axis=1)
    number = np.cumsum(seen, axis=1)
    counts = number[:, -1].copy()
    first = np.cumsum(counts) - counts
    codes = np.take_along_axis(number, labels, axis=1) + (first - 1)[:, None]
    member = np.zeros((n, int(counts.sum())))
    member[np.arange(n)[None, :], codes] = 1.0
    return Clusters(codes, first, counts, member, view.share @ member)


def agreement(
    view: TableView, clusters: Clusters, others: Clusters | None = None
) -> Float[np.ndarray, "m k"]:
    """Adjusted Rand index of each labeling with each other one, rows counted by weight.

    others: the labelings to compare with; None for the same.
    """
    others = clusters if others is None else others
    weighted, member = others.member * view.weight[:, None], clusters.member
    if view.size < 2**24 and (view.weight == np.rint(view.weight)).all():
        # whole numbers of this size are exact in single precision
        weighted, member = weighted.astype(np.float32), member.astype(np.float32)
    both = (member.T @ weighted).astype(np.float64)

    def pairs(x: np.ndarray) -> np.ndarray:
        return np.maximum(x * (x - 1.0) / 2.0, 0.0)

    together = np.add.reduceat(
        np.add.reduceat(pairs(both), clusters.first, axis=0), others.first, axis=1
    )
    alone = clusters.total(pairs(view.weight @ clusters.member))[:, None]
    theirs = others.total(pairs(view.weight @ others.member))[None, :]
    total = max(float(pairs(np.array(view.size))), _TINY)
    expected = alone * theirs / total
    most = 0.5 * (alone + theirs)
    gap = most - expected
    same = np.abs(gap) <= _TINY * max(total, 1.0)
    return np.where(same, 1.0, (together - expected) / np.where(same, 1.0, gap))


def describe(view: TableView, labels: Int[np.ndarray, "m n"]) -> Float[np.ndarray, "m f"]:
    """Features of labelings of the view's rows, in the order of `LABELING_FEATURES`."""
    return describe_clusters(view, side_by_side(view, labels), labels)


def describe_clusters(
    view: TableView, clusters: Clusters, labels: Int[np.ndarray, "m n"]
) -> Float[np.ndarray, "m f"]:
    """`describe` where the clusters stand side by side already."""
    K = clusters.counts.astype(np.float64)
    share = clusters.share
    log_share = np.log(share + _TINY)
    sizes = [
        np.log(K),
        -clusters.mean(log_share) / np.log(K + 1.0),
        np.log(clusters.smallest(share) * K + 1e-4),
        clusters.largest(share),
        np.log(clusters.smallest(share) * view.size / (view.p + 1.0) + 1e-3),
        (labels < 0) @ view.share,
    ]
    columns = [*sizes, *_gaussian(view, clusters), *_distances(view, clusters)]
    columns += [*_neighbours(view, clusters), *_tree(view, clusters)]
    found = np.stack(columns, axis=1)
    return np.clip(np.nan_to_num(found, nan=0.0, posinf=20.0, neginf=-20.0), -20.0, 20.0)


def _gaussian(view: TableView, clusters: Clusters) -> list[np.ndarray]:
    """How Gaussian mixtures of four covariance types like the labels, hard and soft."""
    p, n = view.p, view.size
    share, K = clusters.share, clusters.counts.astype(np.float64)
    first, second = view.pairs
    weighted = clusters.member * view.share[:, None]
    sums = weighted.T @ view.products / (share + _TINY)[:, None]
    means, raw = sums[:, 1 : p + 1], sums[:, p + 1 :]
    pairs = raw - means[:, first] * means[:, second]
    scatter = np.zeros((len(share), p, p))
    scatter[:, first, second] = pairs
    scatter[:, second, first] = pairs
    centred = view.Z - view.share @ view.Z
    whole = centred.T @ (centred * view.share[:, None])
    unit = RIDGE * max(float(np.trace(whole)) / p, _TINY)
    eye = np.eye(p)
    tied = np.add.reduceat(share[:, None, None] * scatter, clusters.first, axis=0)
    own_tied = np.repeat(tied, clusters.counts, axis=0)
    # a cluster of few rows leans on the others, as under an inverse Wishart prior of p rows
    lean = (p / (share * n + p))[:, None, None]
    full = (1.0 - lean) * scatter + lean * own_tied + unit * eye
    factor = np.linalg.cholesky(full)
    log_full = 2.0 * np.log(np.diagonal(factor, axis1=1, axis2=2)).sum(axis=1)
    variance = np.clip(np.diagonal(scatter, axis1=1, axis2=2), 0.0, None) + unit
    log_diagonal = np.log(variance).sum(axis=1)
    log_spherical = p * np.log(variance.mean(axis=1))
    log_tied = np.linalg.slogdet(tied + unit * eye)[1]
    base_full = np.linalg.slogdet(whole + unit * eye)[1]
    base_variance = np.diagonal(whole) + unit
    log_share = np.log(share + _TINY)
    sorting = clusters.mean(log_share)
    gains = [
        sorting - 0.5 * clusters.mean(log_full) + 0.5 * base_full,
        sorting - 0.5 * clusters.mean(log_diagonal) + 0.5 * np.log(base_variance).sum(),
        sorting - 0.5 * clusters.mean(log_spherical) + 0.5 * p * np.log(base_variance.mean()),
        sorting - 0.5 * log_tied + 0.5 * base_full,
    ]
    numbers = [p * (p + 1.0) / 2.0, float(p), 1.0, 0.0]
    log_n = np.log(max(n, 2.0))
    penalties = [0.5 * (K - 1.0) * (1.0 + p + own) * log_n for own in numbers]
    criteria = [_squash(n * g - c) for g, c in zip(gains, penalties, strict=True)]
    inverse = np.linalg.inv(factor)
    precision = np.swapaxes(inverse, 1, 2) @ inverse
    wide = (precision @ means[:, :, None])[:, :, 0]
    theta = np.concatenate(
        [
            (means * wide).sum(axis=1, keepdims=True),
            -2.0 * wide,
            precision[:, first, second] * np.where(first == second, 1.0, 2.0),
        ],
        axis=1,
    )
    maha = np.clip(theta @ view.products.T, 0.0, None)  # t n
    score = log_share[:, None] - 0.5 * log_full[:, None] - 0.5 * maha
    top = np.maximum.reduceat(score, clusters.first, axis=0)
    e = np.exp(score - np.repeat(top, clusters.counts, axis=0))
    total = np.add.reduceat(e, clusters.first, axis=0)
    evidence = top + np.log(total)  # m n
    rows = np.arange(view.n)[None, :]
    own_score = score[clusters.codes, rows]
    own = np.exp(own_score - evidence)
    kept = (own_score >= top - 1e-9).astype(np.float64)
    # the entropy of the refit's posterior: evidence minus the mean score
    r = e / np.repeat(total, clusters.counts, axis=0)
    doubt = (evidence - np.add.reduceat(r * score, clusters.first, axis=0)) @ view.share
    base = np.linalg.solve(whole + unit * eye, centred.T).T
    alone = -0.5 * base_full - 0.5 * float(view.share @ (centred * base).sum(axis=1))
    soft = evidence @ view.share - alone
    own_maha = maha[clusters.codes, rows]
    fourth = clusters.sum_rows(view.share * own_maha**2) / (share + _TINY)
    kurtosis = np.log(fourth / (p * (p + 2.0)) + 1e-3)
    values, vectors = np.linalg.eigh(full)
    axis = vectors[:, :, -1]  # t p
    along = axis @ view.Z.T  # t n
    along = along[clusters.codes, rows] - (means * axis).sum(axis=1)[clusters.codes]  # m n
    square = along**2
    second_moment = clusters.sum_rows(view.share * square) / (share + _TINY) + _TINY
    skew = clusters.sum_rows(view.share * square * along) / (share + _TINY) / second_moment**1.5
    tail = clusters.sum_rows(view.share * square**2) / (share + _TINY) / second_moment**2
    bimodality = (skew**2 + 1.0) / np.maximum(tail, 1.0)
    tied_inverse = np.linalg.inv(np.linalg.cholesky(tied + unit * eye))
    z = (np.repeat(tied_inverse, clusters.counts, axis=0) @ means[:, :, None])[:, :, 0]
    nearest = _nearest(z, clusters)
    volume = log_full / p
    spread = np.sqrt(np.maximum(clusters.mean(volume**2) - clusters.mean(volume) ** 2, 0.0))
    elongation = np.log(values[:, -1]) - volume
    return [
        *(np.asarray(g) / np.sqrt(p) for g in gains),
        *criteria,
        soft / np.sqrt(p),
        _squash(n * soft - penalties[0]),
        own @ view.share,
        doubt / np.log(K + 1.0),
        kept @ view.share,
        clusters.mean(kurtosis),
        clusters.largest(kurtosis),
        clusters.mean(bimodality),
        clusters.largest(bimodality),
        clusters.mean(np.log1p(np.abs(skew))),
        np.log(clusters.smallest(nearest) + 1e-2),
        np.log(clusters.mean(nearest) + 1e-2),
        spread,
        clusters.mean(elongation),
    ]


def _nearest(z: Float[np.ndarray, "t p"], clusters: Clusters) -> Float[np.ndarray, " t"]:
    """Distance of each centre to the nearest of the same labeling; 30 where it is alone."""
    own, there = clusters.side_by_side(z)
    between = _between(own)
    c = there.shape[1]
    between[~there[:, None, :].repeat(c, axis=1) | np.eye(c, dtype=bool)] = np.inf
    return np.sqrt(np.clip(between.min(axis=2), 0.0, 900.0))[there]


def _between(points: Float[np.ndarray, "m c p"]) -> Float[np.ndarray, "m c c"]:
    """Squared distances between the points of each row of points."""
    norm = (points**2).sum(axis=2)
    inner = points @ points.transpose(0, 2, 1)
    found: Float[np.ndarray, "m c c"] = norm[:, :, None] + norm[:, None, :] - 2.0 * inner
    return found


def _distances(view: TableView, clusters: Clusters) -> list[np.ndarray]:
    """Silhouette (Rousseeuw 1987), variance ratio and Davies-Bouldin in the table's own space."""
    K = clusters.counts.astype(np.float64)
    share = clusters.share
    mass = clusters.member * view.weight[:, None]
    sums = view.distances @ mass  # n t
    total = view.weight @ clusters.member
    rows = np.arange(view.n)[None, :]
    own_rest = np.maximum(total[clusters.codes] - view.weight[None, :], 0.0)
    inside = sums[rows, clusters.codes] / np.maximum(own_rest, _TINY)  # m n
    alone = own_rest <= _TINY
    mean_to = sums / np.maximum(total, _TINY)[None, :]
    mean_to[rows, clusters.codes] = np.inf
    other = np.minimum.reduceat(mean_to, clusters.first, axis=1).T  # m n
    usable = np.isfinite(other) & ~alone
    other = np.where(usable, other, 0.0)
    width = np.maximum(np.maximum(inside, other), _TINY)
    silhouette = np.where(usable, (other - inside) / width, 0.0)
    per_cluster = clusters.sum_rows(view.share * silhouette) / (share + _TINY)
    means = mass.T @ view.X / np.maximum(total, _TINY)[:, None]
    between = clusters.mean((means**2).sum(axis=1))
    everything = float(view.share @ (view.X**2).sum(axis=1))
    ratio = np.log(between + 1e-6) - np.log(np.maximum(everything - between, 0.0) + 1e-6)
    squares = mass.T @ (view.X**2).sum(axis=1) / np.maximum(total, _TINY)
    spread = np.sqrt(np.maximum(squares - (means**2).sum(axis=1), 0.0))
    own, there = clusters.side_by_side(np.concatenate([means, spread[:, None]], axis=1))
    apart = np.sqrt(np.clip(_between(own[:, :, :-1]), _TINY, None))
    both = (own[:, :, None, -1] + own[:, None, :, -1]) / apart
    c = there.shape[1]
    both[~there[:, None, :].repeat(c, axis=1) | np.eye(c, dtype=bool)] = 0.0
    bouldin = np.where(there, both.max(axis=2), 0.0).sum(axis=1) / K
    return [
        silhouette @ view.share,
        clusters.smallest(per_cluster),
        ratio,
        np.log(bouldin + 1e-2),
    ]


def _neighbours(view: TableView, clusters: Clusters) -> list[np.ndarray]:
    """How far neighbours share a label, and how dense the borders are."""
    m = len(clusters.codes)
    near = view.neighbours
    if near.shape[1] == 0:
        return [np.zeros(m) for _ in range(6)]
    same = clusters.codes[:, near] == clusters.codes[:, :, None]  # m n k
    five = same[:, :, : min(N_NEAR, near.shape[1])].mean(axis=2)
    ten = same.mean(axis=2)
    expected = clusters.total(clusters.share**2)
    room = np.maximum(1.0 - expected, 1e-3)
    share_five, share_ten = five @ view.share, ten @ view.share
    pieces, astray = _pieces(view, clusters, same)
    per_cluster = clusters.sum_rows(view.share * ten) / (clusters.share + _TINY)
    border = 1.0 - ten
    sparse = (border * view.share) @ view.sparsity / (border @ view.share + 1e-3)
    is_split = clusters.counts > 1
    return [
        np.where(is_split, (share_five - expected) / room, 1.0),
        np.where(is_split, (share_ten - expected) / room, 1.0),
        clusters.smallest(per_cluster),
        np.log(pieces / clusters.counts),
        astray,
        sparse,
    ]


def _pieces(
    view: TableView, clusters: Clusters, same: Bool[np.ndarray, "m n k"]
) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"]]:
    """Connected pieces of the neighbour graph within labels; weight outside the largest ones.

    One graph holds all labelings: row i of labeling l is node l n + i.
    """
    m, n = clusters.codes.shape
    inside = same[:, :, :N_NEAR]
    target = np.arange(m)[:, None, None] * n + view.neighbours[:, :N_NEAR]
    edges = np.concatenate([[0], np.cumsum(inside.sum(axis=2))])
    ones = np.ones(edges[-1], dtype=np.int8)
    graph = csr_matrix((ones, target[inside], edges), (m * n, m * n))
    n_pieces, piece = connected_components(graph, directed=False)
    held = np.bincount(piece, np.tile(view.share, m), minlength=n_pieces)
    owner = np.empty(n_pieces, dtype=np.int64)
    owner[piece] = clusters.codes.ravel()
    largest = np.zeros(len(clusters.share))
    np.maximum.at(largest, owner, held)
    return clusters.total(np.bincount(owner, minlength=len(largest))), 1.0 - clusters.total(largest)


def _tree(view: TableView, clusters: Clusters) -> list[np.ndarray]:
    """Edges of the spanning tree that the labels cut: how many, how long."""
    m = len(clusters.codes)
    ends, length = view.tree
    if len(length) == 0:
        return [np.zeros(m) for _ in range(4)]
    cut = clusters.codes[:, ends[:, 0]] != clusters.codes[:, ends[:, 1]]  # m e
    n_cut = cut.sum(axis=1)
    mean_cut = (cut @ length) / np.maximum(n_cut, 1)
    longest = np.where(cut, -5.0, length[None, :]).max(axis=1)
    shortest = np.where(cut, length[None, :], 10.0).min(axis=1)
    some = n_cut > 0
    return [
        np.log((n_cut + 1.0) / clusters.counts),
        np.where(some, mean_cut, 0.0),
        longest,
        np.where(some, shortest, 0.0),
    ]


def _squash(x: np.ndarray) -> np.ndarray:
    found: np.ndarray = np.sign(x) * np.log1p(np.abs(x))
    return found
