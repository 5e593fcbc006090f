"""Latent classes seen through numeric and categorical columns, from a generator of no training.

Ours. Axes: n rows, d numeric columns, q categorical columns, c classes.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from statformer.benchmarks.families import cluster_labels

_IRRELEVANT = 0.2  # share of the columns that know nothing of the class


def mixed_table(
    rng: np.random.Generator, n: int, n_columns: int, n_components: int
) -> tuple[Float[np.ndarray, "n d"], Int[np.ndarray, "n q"], Int[np.ndarray, " n"]]:
    """Numbers, codes and classes of a table with 30 to 70 % categorical columns.

    Given the class, columns are independent. A categorical column has 2 to 6 levels with class
    probabilities from Dirichlet(a), a log-uniform on .2 to 1; a numeric one is normal around
    class means of spread 1 to 2.5 with class standard deviations .6 to 1.6, and every third is
    then the exponential of half of that. One column in five has the same law in every class.

    Raises ValueError below two columns.
    """
    if n_columns < 2:
        raise ValueError(f"n_columns={n_columns} has no room for both kinds; use at least 2")
    y = cluster_labels(rng, n, n_components)
    q = int(np.clip(round(rng.uniform(0.3, 0.7) * n_columns), 1, n_columns - 1))
    numbers = np.empty((n, n_columns - q))
    for j in range(n_columns - q):
        means = rng.uniform(1.0, 2.5) * rng.standard_normal(n_components)
        spread = rng.uniform(0.6, 1.6, n_components)
        if rng.random() < _IRRELEVANT:
            means, spread = np.zeros(n_components), np.ones(n_components)
        x = means[y] + spread[y] * rng.standard_normal(n)
        numbers[:, j] = np.exp(0.5 * x) if j % 3 == 2 else x
    codes = np.empty((n, q), dtype=np.int64)
    for j in range(q):
        n_levels = int(rng.integers(2, 7))
        alpha = float(np.exp(rng.uniform(np.log(0.2), 0.0)))
        theta = rng.dirichlet(np.full(n_levels, alpha), size=n_components)
        if rng.random() < _IRRELEVANT:
            theta[:] = theta[:1]
        edges = theta.cumsum(axis=1)[y]
        level = (rng.random((n, 1)) * edges[:, -1:] >= edges).sum(axis=1)
        codes[:, j] = np.minimum(level, n_levels - 1)
    return numbers, codes, y
