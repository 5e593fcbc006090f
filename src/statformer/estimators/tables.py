"""Cluster many tables at once: the network's batch axis is the table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from statformer.estimators import fitting
from statformer.estimators.base import resolve_weights
from statformer.estimators.depth import fathom
from statformer.estimators.devices import backend
from statformer.estimators.effort import effort_of
from statformer.estimators.mixture import AttentionMixture

GROUP_TABLES = 64
GROUP_CELLS = 2**22  # rows x columns, padding included, of tables that are solved together
GROUP_PAIRS = 2**16  # columns squared: every run of every table keeps its covariances for a while


def cluster_tables(
    tables: Sequence[Any], n_components: int | None = None, **params: Any
) -> list[AttentionMixture]:
    """One fitted `AttentionMixture` per table, in order; tables share padded batches.

    The answer is that of `[AttentionMixture(n_components, **params).fit(X) for X in tables]`, a
    good deal faster. With an int as random_state every table starts from that same seed; with a
    generator the tables draw from it one after the other, first for their contexts.

    Parameters
    ----------
    tables : sequence of arrays or DataFrames
        They may differ in rows and columns.
    n_components : int or None
        K of every table; None finds it table by table.
    params
        Further arguments of `AttentionMixture`.

    Raises what `AttentionMixture.fit` raises.
    """
    models = [AttentionMixture(n_components, **params) for _ in tables]
    if not models:
        return models
    checkpoint, on = resolve_weights(models[0].weights), backend(models[0].device)
    prepared = [fitting.prepare(model, X, None) for model, X in zip(models, tables, strict=True)]
    chosen = []  # a loop: warnings count the frames up to the caller
    for model, one in zip(models, prepared, strict=True):
        chosen.append(fathom(model, one.problem, checkpoint))
    for group in _groups([one.problem.X.shape for one in prepared], [c.name for c in chosen]):
        found = fitting.solve(
            [prepared[i].problem for i in group],
            chosen[group[0]],
            effort_of(models[0]),
            models[0].max_components,
            on,
        )
        for i, answer in zip(group, found, strict=True):
            models[i].weights_sha256_ = chosen[i].sha256
            fitting.finish(models[i], prepared[i], answer, on)
    return models


def _groups(shapes: Sequence[tuple[int, ...]], weights: Sequence[str]) -> Iterator[list[int]]:
    """Tables of the same weights and of similar width and length, so that padding stays small."""
    order = sorted(range(len(shapes)), key=lambda i: (weights[i], shapes[i][1], shapes[i][0]))
    group: list[int] = []
    for i in order:
        n, p = np.max([shapes[j] for j in [*group, i]], axis=0)
        size = len(group) + 1
        wide = p > 1.5 * shapes[group[0]][1] if group else False
        other = bool(group) and weights[i] != weights[group[0]]
        full = size > GROUP_TABLES or size * n * p > GROUP_CELLS or size * p * p > GROUP_PAIRS
        if group and (wide or full or other):
            yield group
            group = []
        group.append(i)
    yield group
