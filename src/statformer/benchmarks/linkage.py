"""Rivals that follow neighbours: Genie, HDBSCAN and spectral clustering, on z-scores.

Axes: n points, d features.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import cKDTree
from sklearn.cluster import HDBSCAN, SpectralClustering

from statformer._extras import require

LEAST_SIZES = (5, 10, 20, 40)
N_NEIGHBOURS = 10

Matrix = Float[np.ndarray, "n d"]
Labels = Int[np.ndarray, " n"]


def genie(Z: Matrix, n_components: int, seed: int, gini: float = 0.3) -> Labels:  # noqa: ARG001
    """Genie (Gagolewski, Bartoszuk and Cena 2016): single linkage that keeps sizes even.

    `gini` is the inequality above which the smallest cluster must merge; .3 is the default of its
    authors. It draws nothing.
    """
    method = require("genieclust", "bench").Genie(n_clusters=n_components, gini_threshold=gini)
    # single precision is what it computes in; a constant column gives it nothing to do
    labels: Labels = np.asarray(method.fit_predict(np.ascontiguousarray(Z)), dtype=np.int64)
    return labels


def hdbscan(Z: Matrix, n_components: int, seed: int) -> Labels:  # noqa: ARG001
    """HDBSCAN at the least cluster size of 5, 10, 20, 40 whose count is nearest to K.

    Noise points join the cluster of the nearest point that has one; without any cluster all points
    are one. It draws nothing.
    """
    best: Labels = np.zeros(len(Z), dtype=np.int64)
    distance = abs(n_components - 1)
    for size in LEAST_SIZES:
        if size >= len(Z):
            break
        labels = HDBSCAN(min_cluster_size=size, copy=True).fit(Z).labels_
        count = int(labels.max()) + 1
        if count and abs(n_components - count) < distance:
            best, distance = labels, abs(n_components - count)
    return with_noise_assigned(Z, best)


def with_noise_assigned(Z: Matrix, labels: Labels) -> Labels:
    """Labels in which every -1 became the label of the nearest point that has one."""
    noise = labels < 0
    if not noise.any() or noise.all():
        return np.maximum(labels, 0)
    _, nearest = cKDTree(Z[~noise]).query(Z[noise])
    found = labels.copy()
    found[noise] = labels[~noise][nearest]
    return found


def spectral(Z: Matrix, n_components: int, seed: int) -> Labels:
    """Normalised cuts of the graph of 10 nearest neighbours, 10 starts in the embedding."""
    method = SpectralClustering(
        n_components,
        affinity="nearest_neighbors",
        n_neighbors=min(N_NEIGHBOURS, len(Z) - 1),
        n_init=10,
        random_state=seed,
    )
    labels: Labels = method.fit(Z).labels_
    return labels
