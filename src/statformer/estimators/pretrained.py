"""Cluster with learned layers: one network for all starts of all tables, and a judge for K.

K unknown: every K runs from a few starts, the densest start of each K is kept, and the counting
network reads P(K | X) off those. Then `n_init` starts at the most probable K; the densest wins.

Axes: b tables, n points, p features, c components, t trials, j + 1 candidate numbers of components.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy.random import Generator

from statformer.batch import Array
from statformer.estimators.base import Checkpoint
from statformer.estimators.context import systematic_draw
from statformer.estimators.devices import Backend
from statformer.estimators.problems import (
    Problem,
    Solution,
    buckets,
    certain,
    places,
    solution,
)
from statformer.estimators.starts import (
    ELEMENTS,
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
SWEEP_ROWS = 1000
SWEEP_ELEMENTS = 2**25


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

    Raises ValueError where the checkpoint has no counting network.
    """
    if not checkpoint.count:
        raise ValueError(
            f"weights={checkpoint.name!r} hold no counting network; give n_components, or use "
            "weights='pretrained'"
        )
    network = EMNetwork(on.put_all(checkpoint.em))
    count = ComponentCount(on.put_all(checkpoint.count))
    contexts = [_sweep_context(problem, max_components) for problem in problems]
    n, p = np.max([X.shape for X, _ in contexts], axis=0)
    step = max(1, ELEMENTS // (SWEEP_STARTS * max_components**2 * int(n * p)))
    found = []
    for first in range(0, len(problems), step):
        part = slice(first, first + step)
        generators = [problem.rng for problem in problems[part]]

        def draw(runs: int, c: int, t: int, generators: Sequence[Generator] = generators) -> Array:
            return on.put(np.stack([rng.random((runs, c, t)) for rng in generators]))

        tables = pad_tables(*zip(*contexts[part], strict=True))
        with on.inference():
            swept = sweep(network, on.put_record(tables), max_components, draw, SWEEP_STARTS)
            found.append(on.get(count(swept.tokens, swept.is_possible)))
    log_proba: Float[np.ndarray, "b j"] = np.concatenate(found)
    return log_proba


def _sweep_context(
    problem: Problem, max_components: int
) -> tuple[Float[np.ndarray, "n p"], Float[np.ndarray, " n"]]:
    """The rows the sweep reads: all, or a draw as large as the counting network has learned on.

    A single wide table is cut further, so that no batch outgrows `SWEEP_ELEMENTS`.
    """
    n, p = problem.X.shape
    fits = SWEEP_ELEMENTS // (SWEEP_STARTS * max_components**2 * p)
    limit = max(min(SWEEP_ROWS, fits), 2 * max_components)
    if n <= limit:
        return problem.X, problem.weight
    drawn, weight = systematic_draw(problem.weight, limit, problem.rng)
    return problem.X[drawn], weight
