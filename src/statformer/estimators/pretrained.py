"""Cluster with learned layers: one network for all starts of all tables, and a judge for K.

K unknown: every K runs from a few starts, the densest start of each K is kept, and the counting
network reads P(K | X) off those. Then `n_init` starts at the most probable K; the densest wins.

Axes: b tables, n points, p features, c components, t trials, j + 1 candidate numbers of components.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.random import Generator

from statformer.batch import Tables
from statformer.estimators.base import Checkpoint
from statformer.estimators.devices import Backend
from statformer.estimators.problems import (
    Problem,
    Solution,
    buckets,
    certain,
    log_softmax,
    places,
    solution,
    sweep_context,
)
from statformer.estimators.starts import (
    assign,
    draw_uniforms,
    pad_tables,
    pad_uniforms,
    run,
    seed,
)
from statformer.nn.component_count import ComponentCount
from statformer.nn.em_network import EMNetwork
from statformer.nn.sweep import LLOYD_STEPS, sweep

SWEEP_STARTS = 2
BATCH_ELEMENTS = 2**22
# The counting network learned on sweeps up to this K; a smaller max_components conditions on less.
TRAINED_COMPONENTS = 20
# The sweep only feeds the counting network, which read single precision in training; beyond this
# many robust standard deviations the squares of a float32 would drown the ridge.
SINGLE_PRECISION_LIMIT = 30.0


def solve(
    problems: Sequence[Problem],
    checkpoint: Checkpoint,
    n_init: int,
    max_components: int,
    on: Backend,
) -> list[Solution]:
    """Answer all problems; each draws from its own generator, so batching changes nothing.

    Raises ValueError where K is unknown and the checkpoint has no counting network.
    """
    log_proba = [
        certain(p.n_components, max_components) if p.n_components else np.empty(0) for p in problems
    ]
    unknown = [i for i, p in enumerate(problems) if p.n_components is None]
    if unknown:
        found = count_components([problems[i] for i in unknown], checkpoint, max_components, on)
        for i, row in zip(unknown, found, strict=True):
            log_proba[i] = row
    counts = [int(row.argmax()) + 1 for row in log_proba]
    uniforms = [draw_uniforms(p.rng, n_init, k) for p, k in zip(problems, counts, strict=True)]
    answers: dict[int, Solution] = {}
    for group in buckets(counts):
        members = places(counts, group)
        tables = pad_tables([problems[i].X for i in members], [problems[i].weight for i in members])
        draws = pad_uniforms([uniforms[i] for i in members])
        K = np.repeat(np.array([[counts[i]] for i in members]), n_init, axis=1)
        labels = assign(tables, seed(tables, draws, on), K, LLOYD_STEPS, on)
        candidates = run(lambda *_: EMNetwork(checkpoint.em), tables, labels, max(group), on)
        best = candidates.log_likelihood.argmax(axis=1)
        for row, i in enumerate(members):
            s = int(best[row])
            answers[i] = solution(
                candidates, row * n_init + s, problems[i], counts[i], log_proba[i], labels[row, s]
            )
    return [answers[i] for i in range(len(problems))]


def count_components(
    problems: Sequence[Problem], checkpoint: Checkpoint, max_components: int, on: Backend
) -> Float[np.ndarray, "b j"]:
    """log P(K = j + 1) of each table, from the same sweep that the counting network learned on.

    The sweep goes to K = 20 at least; then K <= max_components is conditioned on.

    Raises ValueError where the checkpoint has no counting network.
    """
    if not checkpoint.count:
        raise ValueError(
            f"weights={checkpoint.name!r} hold no counting network; give n_components, or use "
            "weights='pretrained'"
        )
    widest = max(max_components, TRAINED_COMPONENTS)
    contexts = [sweep_context(problem, widest, SWEEP_STARTS) for problem in problems]
    n, p = np.max([X.shape for X, _ in contexts], axis=0)
    step = max(1, BATCH_ELEMENTS // (SWEEP_STARTS * widest**2 * int(n * p)))
    is_tame = np.array([np.abs(X).max() <= SINGLE_PRECISION_LIMIT for X, _ in contexts])
    log_proba = np.empty((len(problems), widest))
    for members in (np.flatnonzero(is_tame), np.flatnonzero(~is_tame)):
        for first in range(0, len(members), step):
            rows = members[first : first + step]
            tables = pad_tables([contexts[i][0] for i in rows], [contexts[i][1] for i in rows])
            draw = _Draws([problems[i].rng for i in rows])
            found = None
            if is_tame[rows[0]]:
                found = _swept(checkpoint, tables, widest, draw, np.float32, on)
            if found is None:
                found = _swept(checkpoint, tables, widest, draw, np.float64, on)
            assert found is not None
            log_proba[rows] = found
    return log_softmax(log_proba[:, :max_components])


class _Draws:
    """Uniform blocks from each table's own generator, repeated after `rewind`."""

    def __init__(self, generators: Sequence[Generator]) -> None:
        self.generators = generators
        self.blocks: list[Float[np.ndarray, "b r c t"]] = []
        self.place = 0

    def rewind(self) -> None:
        self.place = 0

    def __call__(self, runs: int, c: int, t: int) -> Float[np.ndarray, "b r c t"]:
        if self.place == len(self.blocks):
            self.blocks.append(np.stack([rng.random((runs, c, t)) for rng in self.generators]))
        self.place += 1
        return self.blocks[self.place - 1]


def _swept(
    checkpoint: Checkpoint,
    tables: Tables,
    max_components: int,
    draws: _Draws,
    dtype: type[np.floating[Any]],
    on: Backend,
) -> Float[np.ndarray, "b j"] | None:
    """log P(K) of a few tables; None where single precision was not enough."""
    draws.rewind()
    mask = tables.is_feature
    moved = on.put_record(Tables(tables.X.astype(dtype), tables.weight.astype(dtype), mask))
    em = on.put_all({key: value.astype(dtype) for key, value in checkpoint.em.items()})
    count = ComponentCount(on.put_all(checkpoint.count))
    is_single = dtype is np.float32
    quiet = np.errstate(all="ignore") if is_single else nullcontext()
    try:
        with on.inference(), quiet:
            swept = sweep(
                EMNetwork(em),
                moved,
                max_components,
                lambda runs, c, t: on.put(draws(runs, c, t)),
                SWEEP_STARTS,
            )
            tokens = on.put(on.get(swept.tokens).astype(np.float64))
            found: Float[np.ndarray, "b j"] = on.get(count(tokens, swept.is_possible))
    except (np.linalg.LinAlgError, RuntimeError):
        if is_single:
            return None
        raise
    return None if is_single and np.isnan(found).any() else found
