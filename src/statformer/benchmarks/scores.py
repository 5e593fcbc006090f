"""Scores of a clustering against the truth; points of no component do not count.

Axes: n points, k clusters, t true components.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Int
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_rand_score

Labels = Int[np.ndarray, " n"]


def ari(y: Labels, labels: Labels | None) -> float:
    """Adjusted Rand index over points with y >= 0; 0 for a method that crashed."""
    if labels is None:
        return 0.0
    counts = y >= 0
    return float(adjusted_rand_score(y[counts], labels[counts]))


def n_errors(y: Labels, labels: Labels) -> int:
    """Points outside the best one-to-one matching of clusters and components."""
    counts = y >= 0
    table = np.zeros((int(y.max()) + 1, int(labels.max()) + 1), dtype=np.int64)
    np.add.at(table, (y[counts], labels[counts]), 1)
    rows, columns = linear_sum_assignment(-table)
    return int(counts.sum() - table[rows, columns].sum())
