"""Cluster with textbook EM as a network (B'): nothing learned, nothing to tune.

Lloyd-converged starts, every covariance type and three ridges, all in one batch (habits along the
batch axis). Within a ridge the type and the start are chosen by BIC; among the ridges the
clustering that agrees most with the other two. K unknown: P(K | X) from BIC weights, exp(-BIC / 2)
of the best type, at the middle ridge.

Axes: b tables, h habits, s starts, k candidate numbers of components, n points, p features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int

from statformer.batch import Tables
from statformer.constructions.em_network import COVARIANCE_TYPES, stack_habits
from statformer.estimators.cells import run_cells
from statformer.estimators.devices import Backend
from statformer.estimators.problems import (
    Habit,
    Problem,
    Solution,
    adjusted_rand,
    buckets,
    certain,
    log_softmax,
    n_parameters,
    places,
    solution,
    sweep_context,
)
from statformer.estimators.starts import (
    Candidates,
    NetworkOf,
    assign,
    draw_uniforms,
    pad_tables,
    pad_uniforms,
    run,
    seed,
)
from statformer.nn.em_network import EMNetwork, respond

RIDGES = (1e-4, 1e-2, 5e-2)
SWEEP_STARTS = 2
LLOYD_STEPS = 50
# The rivals get a fixed number of iterations, so that no run depends on its company in the batch;
# the winner then runs alone until an iteration gains less than TOLERANCE nats per row.
RIVAL_LOOPS = 30
SWEEP_LOOPS = 20
N_LOOPS = 200
TOLERANCE = 1e-6


def solve(
    problems: Sequence[Problem],
    n_init: int,
    max_components: int,
    on: Backend,
    ridges: Sequence[float] = RIDGES,
) -> list[Solution]:
    """Answer all problems; each draws from its own generator, so batching changes nothing."""
    log_proba = [
        certain(p.n_components, max_components) if p.n_components else np.empty(0) for p in problems
    ]
    unknown = [i for i, p in enumerate(problems) if p.n_components is None]
    if unknown:
        found = count_components([problems[i] for i in unknown], max_components, on)
        for i, row in zip(unknown, found, strict=True):
            log_proba[i] = row
    counts = [int(row.argmax()) + 1 for row in log_proba]
    uniforms = [draw_uniforms(p.rng, n_init, k) for p, k in zip(problems, counts, strict=True)]
    habits = [Habit(kind, ridge) for ridge in ridges for kind in COVARIANCE_TYPES]
    answers: dict[int, Solution] = {}
    for i, problem in enumerate(problems):
        if problem.cells is not None:
            answers[i] = _solve_cells(problem, counts[i], log_proba[i], uniforms[i], habits, on)
    for group in buckets([k for k, p in zip(counts, problems, strict=True) if p.cells is None]):
        members = [i for i in places(counts, group) if problems[i].cells is None]
        chosen = [problems[i] for i in members]
        tables = pad_tables([p.X for p in chosen], [p.weight for p in chosen])
        draws = pad_uniforms([uniforms[i] for i in members])
        K = np.repeat(np.array([[counts[i]] for i in members]), n_init, axis=1)
        labels = assign(tables, seed(tables, draws, on), K, LLOYD_STEPS, on)
        candidates = _run_habits(habits, tables, labels, max(group), RIVAL_LOOPS, on)
        score = _bic(candidates, habits, chosen)  # b h s
        for row, i in enumerate(members):
            h, s = _choose(score[row], candidates, row, habits, problems[i])
            answers[i] = _converge(
                problems[i], counts[i], log_proba[i], labels[row, s], habits[h], on
            )
    return [answers[i] for i in range(len(problems))]


def count_components(
    problems: Sequence[Problem], max_components: int, on: Backend
) -> Float[np.ndarray, "b j"]:
    """log P(K = j + 1) of each table from BIC weights."""
    contexts = [sweep_context(p, max_components, SWEEP_STARTS) for p in problems]
    problems = [replace(p, X=X, weight=w) for p, (X, w) in zip(problems, contexts, strict=True)]
    largest = np.array([p.largest(max_components) for p in problems])
    draws = [
        draw_uniforms(p.rng, SWEEP_STARTS, int(k)) for p, k in zip(problems, largest, strict=True)
    ]
    tables = pad_tables([p.X for p in problems], [p.weight for p in problems])
    means = seed(tables, pad_uniforms(draws), on)
    habits = [Habit(kind, RIDGES[1]) for kind in COVARIANCE_TYPES]
    b, s = means.shape[:2]
    log_proba = np.full((b, max_components), -np.inf)
    for group in buckets(range(1, int(largest.max()) + 1)):
        K = np.minimum(np.array(group), largest[:, None])
        K = np.broadcast_to(K[:, None, :], (b, s, len(group))).reshape(b, -1)
        starts = np.repeat(means[:, :, : group[-1]], len(group), axis=1)
        labels = assign(tables, starts, K, LLOYD_STEPS, on)
        candidates = _run_habits(habits, tables, labels, group[-1], SWEEP_LOOPS, on)
        score = _bic(candidates, habits, problems).reshape(b, len(habits), s, len(group))
        log_proba[:, np.array(group) - 1] = -0.5 * score.min(axis=(1, 2))
    log_proba[np.arange(max_components) >= largest[:, None]] = -np.inf
    return log_softmax(log_proba)


def network_of_habit(habit: Habit) -> EMNetwork:
    """The EM that a solution was found with, for its trace."""
    return stack_habits([(habit.covariance_type, habit.ridge)], 1, 1, n_loops=N_LOOPS)


def _converge(
    problem: Problem,
    n_components: int,
    log_proba: Float[np.ndarray, " j"],
    start: Int[np.ndarray, " n"],
    habit: Habit,
    on: Backend,
) -> Solution:
    """The winning start again, alone and to the end."""
    start = start[: len(problem.X)]

    network = network_of_habit(habit)
    if problem.cells is not None:
        candidates = run_cells(network, problem, start[None], n_components, on, tol=TOLERANCE)
        return solution(candidates, 0, problem, n_components, log_proba, start, habit)
    tables = pad_tables([problem.X], [problem.weight])
    candidates = run(lambda *_: network, tables, start[None, None], n_components, on, tol=TOLERANCE)
    return solution(candidates, 0, problem, n_components, log_proba, start, habit)


def _solve_cells(
    problem: Problem,
    n_components: int,
    log_proba: Float[np.ndarray, " j"],
    uniforms: Float[np.ndarray, "s c t"],
    habits: Sequence[Habit],
    on: Backend,
) -> Solution:
    """The same for a table with missing or categorical cells.

    The plain view names the best start of each habit; only those are run on the cells themselves,
    where the habit is then chosen.
    """
    tables = pad_tables([problem.X], [problem.weight])
    K = np.full((1, len(uniforms)), n_components)
    labels = assign(tables, seed(tables, uniforms[None], on), K, LLOYD_STEPS, on)
    plain = replace(problem, cells=None)
    score = _bic(
        _run_habits(habits, tables, labels, n_components, RIVAL_LOOPS, on), habits, [plain]
    )
    starts = labels[0, score[0].argmin(axis=1)]  # h n
    single = stack_habits([(h.covariance_type, h.ridge) for h in habits], 1, 1).weights

    def network_of(_: int, runs: slice) -> EMNetwork:
        own = {key: value[:, runs] for key, value in single.items()}
        return EMNetwork(own, n_loops=RIVAL_LOOPS)

    candidates = run_cells(network_of, problem, starts, n_components, on)
    candidates = replace(candidates, log_likelihood=candidates.log_likelihood.reshape(1, -1))
    h, _ = _choose(_bic(candidates, habits, [problem])[0], candidates, 0, habits, problem)
    return _converge(problem, n_components, log_proba, starts[h], habits[h], on)


def _run_habits(
    habits: Sequence[Habit],
    tables: Tables,
    labels: Int[np.ndarray, "b s n"],
    n_components: int,
    n_loops: int,
    on: Backend,
) -> Candidates:
    """Every start under every habit: runs are ordered (table, habit, start)."""
    b, s, n = labels.shape
    single = stack_habits([(h.covariance_type, h.ridge) for h in habits], 1, 1).weights
    habit_of = np.repeat(np.arange(len(habits)), s)
    repeated = np.broadcast_to(labels[:, None], (b, len(habits), s, n)).reshape(b, -1, n)

    def network_of(n_tables: int, runs: slice) -> EMNetwork:
        index = np.tile(habit_of[runs], n_tables)
        return EMNetwork({k: v[:, index] for k, v in single.items()}, n_loops=n_loops)

    network: NetworkOf = network_of
    return run(network, tables, repeated, n_components, on)


def _bic(
    candidates: Candidates, habits: Sequence[Habit], problems: Sequence[Problem]
) -> Float[np.ndarray, "b h s"]:
    """-2 log likelihood + (number of parameters of the type) log n, per table, habit and start."""
    b = len(problems)
    likelihood = candidates.log_likelihood.reshape(b, len(habits), -1)
    K = candidates.centres.is_component.sum(axis=-1).reshape(likelihood.shape)
    cost = np.empty(likelihood.shape)
    for row, problem in enumerate(problems):
        p, log_n = problem.n_columns, np.log(problem.weight.sum())
        n_shares = 0 if problem.cells is None else problem.cells.n_categories
        for h, habit in enumerate(habits):
            cost[row, h] = log_n * n_parameters(habit.covariance_type, K[row, h], p, n_shares)
    return cost - 2.0 * likelihood


def _choose(
    score: Float[np.ndarray, "h s"],
    candidates: Candidates,
    row: int,
    habits: Sequence[Habit],
    problem: Problem,
) -> tuple[int, int]:
    """The best habit and start of each ridge by BIC, then the ridge that agrees most."""
    n_habits, n_starts = score.shape
    finalists = []
    for ridge in sorted({habit.ridge for habit in habits}):
        mine = [h for h, habit in enumerate(habits) if habit.ridge == ridge]
        h, s = np.unravel_index(score[mine].argmin(), (len(mine), n_starts))
        finalists.append((mine[int(h)], int(s)))
    if len(finalists) == 1:
        return finalists[0]
    runs = [(row * n_habits + h) * n_starts + s for h, s in finalists]
    p, table = problem.n_columns, problem.table()
    labels = []
    for at in runs:
        c = candidates.centres[at : at + 1]
        own = replace(c, means=c.means[..., :p], covariances=c.covariances[..., :p, :p])
        labels.append(respond(table, own, candidates.readout[at : at + 1])[0].argmax(axis=-1))
    return finalists[most_agreeing(labels, problem.weight)]


def most_agreeing(labels: Sequence[Int[np.ndarray, " n"]], weight: Float[np.ndarray, " n"]) -> int:
    """The clustering with the highest mean adjusted Rand index to the others, rows weighted."""
    agreement = np.zeros(len(labels))
    for i, first in enumerate(labels):
        for j in range(i):
            both = adjusted_rand(first, labels[j], weight)
            agreement[i] += both
            agreement[j] += both
    return int(agreement.argmax())
