"""Every classical method on one table with K given, and how the best of them may be chosen.

The methods read z-scores. What they share (four Gaussian mixtures) is fitted once. A method that
raises gives None. Axes: n points, d features, j + 1 methods.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
from jaxtyping import Float, Int
from sklearn.metrics import silhouette_score

from statformer.benchmarks import linkage, rivals
from statformer.benchmarks.rivals import COVARIANCE_TYPES, Rival

Matrix = Float[np.ndarray, "n d"]
Labels = Int[np.ndarray, " n"]
Found = dict[str, Labels | None]

K_MEANS, WARD = "k-means (10)", "Ward"
EM_OF_TYPE = {kind: f"EM {kind} (5)" for kind in COVARIANCE_TYPES}
SINGLE: dict[str, Rival] = {
    K_MEANS: rivals.k_means,
    WARD: rivals.ward,
    "Spectral": linkage.spectral,
    "Genie 0.1": partial(linkage.genie, gini=0.1),
    "Genie 0.3": linkage.genie,
    "Genie 0.5": partial(linkage.genie, gini=0.5),
    "HDBSCAN": linkage.hdbscan,
}
POOL = (*SINGLE, *EM_OF_TYPE.values())  # what the boosted trees choose from
BIC_EM, BY_SILHOUETTE = "EM by BIC (4 x 5)", "best by silhouette"
SILHOUETTE_POOL = (K_MEANS, *EM_OF_TYPE.values(), WARD)
ALONE: dict[str, Rival] = {
    "EM full (10)": rivals.em_full,
    "Bayesian mixture": rivals.bayesian_mixture,
}
FAILURES = (ValueError, ArithmeticError, np.linalg.LinAlgError, RuntimeError, TypeError)


def labelings(Z: Matrix, n_components: int, seed: int) -> Found:
    """Labels by each method of the pool, and by the Gaussian mixture with the lowest BIC."""
    found = {name: attempt(rival, Z, n_components, seed) for name, rival in SINGLE.items()}
    models = rivals.gaussian_mixtures(Z, n_components, seed)
    lowest = np.inf
    found[BIC_EM] = None
    for kind, model in models.items():
        found[EM_OF_TYPE[kind]] = None if model is None else model.predict(Z)
        if model is not None and (bic := model.bic(Z)) < lowest:
            lowest, found[BIC_EM] = bic, found[EM_OF_TYPE[kind]]
    return found


def attempt(rival: Rival, Z: Matrix, n_components: int, seed: int) -> Labels | None:
    """Labels; None where the method raised."""
    try:
        return rival(Z, n_components, seed)
    except FAILURES:
        return None


def by_silhouette(Z: Matrix, found: Mapping[str, Labels | None]) -> Labels | None:
    """Of k-means, the four Gaussian mixtures and Ward, the one with the best mean silhouette."""
    best, highest = None, -np.inf
    for name in SILHOUETTE_POOL:
        labels = found.get(name)
        if labels is not None and (width := silhouette(Z, labels)) > highest:
            best, highest = labels, width
    return best


def silhouette(Z: Matrix, labels: Labels) -> float:
    """Mean silhouette; -1 where it is not defined (one cluster, or as many as points)."""
    count = len(np.unique(labels))
    if not 2 <= count < len(Z):
        return -1.0
    return float(silhouette_score(Z, labels))
