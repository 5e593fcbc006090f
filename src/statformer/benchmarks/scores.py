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


def agreement(first: Labels, second: Labels) -> float:
    """Adjusted Rand index of two labelings with labels 0, 1, ...; scikit-learn's, without its
    checks. 1 where both have a single cluster."""
    width = int(second.max()) + 1
    both = np.bincount(first * width + second, minlength=(int(first.max()) + 1) * width)
    table = both.reshape(-1, width).astype(np.float64)

    def pairs(counts: np.ndarray) -> float:
        return float((counts * (counts - 1.0)).sum()) / 2.0

    together, rows, columns = pairs(table), pairs(table.sum(axis=1)), pairs(table.sum(axis=0))
    n = float(len(first))
    expected = rows * columns / max(n * (n - 1.0) / 2.0, 1.0)
    most = (rows + columns) / 2.0
    return 1.0 if most == expected else (together - expected) / (most - expected)


def n_errors(y: Labels, labels: Labels) -> int:
    """Points outside the best one-to-one matching of clusters and components."""
    counts = y >= 0
    table = np.zeros((int(y.max()) + 1, int(labels.max()) + 1), dtype=np.int64)
    np.add.at(table, (y[counts], labels[counts]), 1)
    rows, columns = linear_sum_assignment(-table)
    return int(counts.sum() - table[rows, columns].sum())
