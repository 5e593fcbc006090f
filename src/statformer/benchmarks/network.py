"""The network under test: `AttentionMixture` over many tables, in batches where they share K.

A table is a matrix or a DataFrame, as a user would pass it.

Axes: n points of a table, j + 1 numbers of components.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from statformer.estimators import AttentionMixture, cluster_tables

Labels = Int[np.ndarray, " n"]


def cluster_with_k(
    tables: Sequence[Any],
    counts: Sequence[int],
    weights: str,
    seed: int,
    **params: Any,
) -> list[Labels | None]:
    """Labels of each table with its number of components given; None where the fit raised."""
    found: list[Labels | None] = [None] * len(tables)
    for K in sorted(set(counts)):
        members = [i for i, count in enumerate(counts) if count == K]
        models = fit([tables[i] for i in members], K, weights, seed, **params)
        for i, model in zip(members, models, strict=True):
            found[i] = None if model is None else model.labels_
    return found


def fit(
    tables: Sequence[Any],
    n_components: int | None,
    weights: str,
    seed: int,
    **params: Any,
) -> list[AttentionMixture | None]:
    """One model per table; None where a fit raised. Missing weights are no reason for that."""
    options = {"weights": weights, "random_state": seed, **params}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return list(cluster_tables(tables, n_components, **options))
        except (ValueError, ArithmeticError, np.linalg.LinAlgError):
            if len(tables) == 1:
                return [None]
        return [fit([table], n_components, weights, seed, **params)[0] for table in tables]
