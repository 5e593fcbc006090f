"""Proposals: many labelings of a table, by learned layers, textbook EM, Lloyd and merging.

All starts of all habits of several tables run in padded batches. Of the starts of one habit the
densest is proposed; who proposes is a *kind*. The judge chooses among kinds and numbers of
clusters, so nothing here decides what is right.

Axes: b tables, q numbers of clusters asked of a table, s starts, r = q s runs of a habit, n points,
p features, c components, e features of a run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from statformer.batch import Centres, Readout, Tables
from statformer.constructions.em_network import stack_habits
from statformer.estimators.cells import run_layers as run_cell_layers
from statformer.estimators.devices import Backend
from statformer.estimators.layer_runs import Batch, run_layers
from statformer.estimators.problems import Habit, Problem, buckets
from statformer.estimators.starts import (
    NetworkOf,
    assign,
    draw_uniforms,
    pad_tables,
    pad_uniforms,
    rows_of,
    seed,
)
from statformer.nn.em_network import EMNetwork
from statformer.proposals.kinds import KINDS, LEARNED, LLOYD, MERGED, MIDDLE, RUN_FEATURES
from statformer.proposals.merging import Micro, merge_owners, micro_clusters_of, owned_labels

HABITS = {
    "full": Habit("full", 1e-2),
    "full, small ridge": Habit("full", 1e-4),
    "full, large ridge": Habit("full", 5e-2),
    "diagonal": Habit("diag", 1e-2),
    "tied": Habit("tied", 1e-2),
    "spherical": Habit("spherical", 1e-2),
}
MIDDLE_LAYER = 8  # of twelve: later layers may drift on tables unlike those of the training
LLOYD_STEPS = 10
TEXTBOOK_LOOPS = 20
SINGLE_PRECISION_LIMIT = 30.0
CELL_WORK = 2**23
FULL_TABLES = 8  # tables that fill a batch with one number of clusters


@dataclass(frozen=True)
class Plan:
    """Who proposes, from how many starts.

    n_starts   starts of learned layers, Lloyd and textbook EM
    kinds      names out of `proposals.kinds.KINDS`
    n_kept     how many of the starts of the learned layers are proposed, densest first
    """

    n_starts: int
    kinds: tuple[str, ...]
    n_kept: int = 1


# What every K is tried with, and what the K that is answered gets.
SWEEP = Plan(1, (LEARNED, "full", "tied", LLOYD, "gap", "cut"))
GIVEN = Plan(8, KINDS, 2)


@dataclass(frozen=True)
class Run:
    """How a labeling was made, enough to make it again.

    centres, readout  leading axis 1; None for merged components and for Lloyd
    start             "n"  labels the run began with
    n_layers          layers that were applied; None for all
    micro, owner      what was merged, and into which clusters
    is_native         the run read missing and categorical cells as they are
    """

    kind: str
    centres: Centres | None
    readout: Readout | None
    start: Int[np.ndarray, " n"]
    n_layers: int | None = None
    micro: Micro | None = None
    owner: Int[np.ndarray, " c"] | None = None
    is_native: bool = False


@dataclass(frozen=True)
class Proposal:
    """A labeling of the rows of a problem.

    labels    "n"  clusters 0..K - 1, some of which may own no row
    features  "e"  what the run says of itself, in the order of `RUN_FEATURES`
    top       "n"  the largest responsibility of each row; 1 where the labeling is a hard one
    """

    kind: str
    n_components: int
    labels: Int[np.ndarray, " n"]
    features: Float[np.ndarray, " e"]
    top: Float[np.ndarray, " n"]
    run: Run


def propose(
    problems: Sequence[Problem],
    counts: Int[np.ndarray, "b q"],
    plan: Plan,
    em: dict[str, Float[np.ndarray, "..."]],
    on: Backend,
    *,
    is_single: bool = False,
) -> list[list[Proposal]]:
    """Proposals of each table at each of its `counts`.

    Each table draws from its own generator, so the company in a batch changes nothing. is_single:
    run in float32 where no value is beyond `SINGLE_PRECISION_LIMIT`, and again in float64 where
    that fails.
    """
    problems = [_affordable(p, k, plan) for p, k in zip(problems, counts, strict=True)]
    largest = counts.max(axis=1)
    uniforms = [
        draw_uniforms(p.rng, plan.n_starts, int(k)) for p, k in zip(problems, largest, strict=True)
    ]
    found: list[list[Proposal]] = [[] for _ in problems]
    for members in _companies(problems):
        chosen = [problems[i] for i in members]
        tables = pad_tables([p.X for p in chosen], [p.weight for p in chosen])
        means = seed(tables, pad_uniforms([uniforms[i] for i in members]), on)
        for rows, columns in _blocks(counts[members]):
            part = [chosen[i] for i in rows]
            K = counts[members][np.ix_(rows, columns)]
            c = int(K.max())
            wide = np.repeat(K, plan.n_starts, axis=1)
            starts = np.tile(means[rows][:, :, :c], (1, len(columns), 1, 1))
            sub = rows_of(tables, np.array(rows))
            labels = assign(sub, starts, wide, LLOYD_STEPS, on)
            made = _Block(part, sub, labels, K, plan, on, is_single).proposals(em)
            for row, proposals in zip(rows, made, strict=True):
                found[members[row]] += proposals
    if any(kind in MERGED for kind in plan.kinds):
        micros = micro_clusters_of(
            [p.X for p in problems], [p.weight for p in problems], [p.rng for p in problems]
        )
        for i, micro in enumerate(micros):
            found[i] += _merged(micro, [int(k) for k in counts[i]], plan)
    return found


def _affordable(problem: Problem, counts: Int[np.ndarray, " q"], plan: Plan) -> Problem:
    """The problem, with missing cells filled where one layer of all runs would exceed `CELL_WORK`.

    A layer conditions every centre on every pattern of missing cells, p^3 numbers each.
    """
    cells = problem.cells
    if cells is None or cells.observed is None:
        return problem
    n_patterns = len(np.unique(np.packbits(cells.observed, axis=1), axis=0))
    work = n_patterns * cells.observed.shape[1] ** 3 * int(counts.sum()) * plan.n_starts
    return replace(problem, cells=None) if work > CELL_WORK else problem


def _companies(problems: Sequence[Problem]) -> list[list[int]]:
    """Tables with missing or categorical cells run alone, the others side by side."""
    alone = [[i] for i, p in enumerate(problems) if p.cells is not None]
    rest = [i for i, p in enumerate(problems) if p.cells is None]
    return [*([rest] if rest else []), *alone]


def _blocks(counts: Int[np.ndarray, "b q"]) -> list[tuple[list[int], list[int]]]:
    """Tables and columns whose numbers of clusters are similar, to pad little."""
    b, q = counts.shape
    if (counts == counts[:1]).all():
        # a batch that is full without company needs no padding
        distinct = sorted({int(k) for k in counts[0]})
        groups = buckets(distinct) if b < FULL_TABLES else [[k] for k in distinct]
        return [
            (list(range(b)), [j for j in range(q) if counts[0, j] in group]) for group in groups
        ]
    found = []
    for j in range(q):
        for group in buckets(int(k) for k in counts[:, j]):
            members = [i for i in range(b) if counts[i, j] in group]
            found.append((members, [j]))
    return found


class _Block:
    """Tables and numbers of clusters that share a batch."""

    def __init__(
        self,
        problems: Sequence[Problem],
        tables: Tables,
        labels: Int[np.ndarray, "b r n"],
        K: Int[np.ndarray, "b q"],
        plan: Plan,
        on: Backend,
        is_single: bool,
    ) -> None:
        self.problems, self.tables, self.labels = problems, tables, labels
        self.K, self.plan, self.on = K, plan, on
        tame = is_single and float(np.abs(tables.X).max(initial=0.0)) <= SINGLE_PRECISION_LIMIT
        self.is_single = tame and problems[0].cells is None
        single = _alone(tables)
        self.base = np.array([single[i] for i in range(len(problems))])

    def proposals(self, em: dict[str, Float[np.ndarray, "..."]]) -> list[list[Proposal]]:
        """All kinds of the plan that run layers, and Lloyd."""
        kinds, c = self.plan.kinds, int(self.K.max())
        found: list[list[Proposal]] = [[] for _ in self.problems]
        layers = [k for k in (MIDDLE, LEARNED) if k in kinds]
        if layers:
            depth = len(em["b_cov"])
            at = [min(MIDDLE_LAYER, depth) if k == MIDDLE else depth for k in layers]
            runs = self._run(lambda *_: EMNetwork(em), c, at)
            for kind, n_layers, batch in zip(layers, at, runs, strict=True):
                n_kept = self.plan.n_kept if kind == LEARNED else 1
                self._keep(found, kind, batch, n_kept, None if kind == LEARNED else n_layers)
        textbook = [k for k in kinds if k in HABITS]
        if textbook:
            for kind, batch in zip(textbook, self._textbook(textbook, c), strict=True):
                self._keep(found, kind, batch, 1, None)
        if LLOYD in kinds:
            self._lloyd(found)
        return found

    def _textbook(self, kinds: Sequence[str], c: int) -> list[Batch]:
        """Every start under every habit, all in one batch: runs are ordered (habit, K, start)."""
        r = self.labels.shape[1]
        habits = [(HABITS[kind].covariance_type, HABITS[kind].ridge) for kind in kinds]
        single = stack_habits(habits, 1, 1).weights
        habit_of = np.repeat(np.arange(len(kinds)), r)

        def network_of(n_tables: int, runs: slice) -> EMNetwork:
            index = np.tile(habit_of[runs], n_tables)
            return EMNetwork({k: v[:, index] for k, v in single.items()}, n_loops=TEXTBOOK_LOOPS)

        labels = np.tile(self.labels, (1, len(kinds), 1))
        (batch,) = self._run(network_of, c, [TEXTBOOK_LOOPS], labels)
        return [batch.of_runs(h * r, r) for h in range(len(kinds))]

    def _run(
        self,
        network_of: NetworkOf,
        c: int,
        layers: Sequence[int],
        labels: Int[np.ndarray, "b r n"] | None = None,
    ) -> list[Batch]:
        labels = self.labels if labels is None else labels
        if self.problems[0].cells is not None:
            found = run_cell_layers(network_of, self.problems[0], labels[0], c, layers, self.on)
            return [Batch(*one) for one in found]
        return run_layers(network_of, self.tables, labels, c, layers, self.on, self.is_single)

    def _keep(
        self,
        found: list[list[Proposal]],
        kind: str,
        batch: Batch,
        n_kept: int,
        n_layers: int | None,
    ) -> None:
        """The densest starts of each table and number of clusters."""
        b, q = self.K.shape
        s = self.plan.n_starts
        density = batch.density.reshape(b, q, s)
        order = np.argsort(-density, axis=2, kind="stable")[:, :, :n_kept]
        for i, problem in enumerate(self.problems):
            n, p = problem.X.shape
            share = problem.weight / problem.weight.sum()
            for j in range(q):
                for start in order[i, j]:
                    place = j * s + int(start)
                    at = i * q * s + place
                    K = int(self.K[i, j])
                    labels = batch.labels[i, place, :n]
                    run = Run(
                        kind,
                        batch.centres[at : at + 1],
                        batch.readout[at : at + 1],
                        self.labels[i, place, :n],
                        n_layers,
                        is_native=problem.cells is not None,
                    )
                    features = np.array(
                        [
                            (density[i, j, start] - self.base[i]) / np.sqrt(p),
                            float(share @ batch.top[i, place, :n]),
                            np.log(K / len(np.unique(labels))),
                            batch.robustness[i, place],
                            np.log(batch.readout.temperature[at]),
                        ]
                    )
                    top = batch.top[i, place, :n]
                    found[i].append(Proposal(kind, K, labels, features, top, run))

    def _lloyd(self, found: list[list[Proposal]]) -> None:
        """The start with the least sum of squares."""
        q, s = self.K.shape[1], self.plan.n_starts
        for i, problem in enumerate(self.problems):
            n = len(problem.X)
            for j in range(q):
                own = self.labels[i, j * s : (j + 1) * s, :n]
                best = own[int(np.argmin([_within(problem, row) for row in own]))]
                K = int(self.K[i, j])
                features = np.zeros(len(RUN_FEATURES))
                features[2] = np.log(K / len(np.unique(best)))
                run = Run(LLOYD, None, None, best)
                found[i].append(Proposal(LLOYD, K, best, features, np.ones(n), run))


def _alone(tables: Tables) -> Float[np.ndarray, " b"]:
    """Mean log density of each table under one Gaussian with a small ridge."""
    share = tables.weight / tables.weight.sum(axis=1, keepdims=True)
    found = np.empty(len(tables.X))
    for i, w in enumerate(share):
        real = slice(None) if tables.is_feature is None else tables.is_feature[i]
        X = tables.X[i][:, real]
        centred = X - w @ X
        p = X.shape[1]
        cov = centred.T @ (centred * w[:, None]) + 1e-4 * np.eye(p)
        found[i] = -0.5 * (np.linalg.slogdet(cov)[1] + p * (1.0 + np.log(2.0 * np.pi)))
    return found


def _within(problem: Problem, labels: Int[np.ndarray, " n"]) -> float:
    """Sum of squares within the clusters, less that of the table (which is the same for all)."""
    member = np.eye(int(labels.max()) + 1)[labels] * problem.weight[:, None]
    total = np.maximum(member.sum(axis=0), 1e-300)
    means = member.T @ problem.X / total[:, None]
    return -float((total * (means**2).sum(axis=1)).sum())


def _merged(micro: Micro, counts: Sequence[int], plan: Plan) -> list[Proposal]:
    """Clusters of any shape: small components that belong together."""
    found = []
    for name, owners in merge_owners(micro, counts, plan.kinds).items():
        for K, labels, owner in zip(counts, owned_labels(micro, owners), owners, strict=True):
            features = np.zeros(len(RUN_FEATURES))
            features[2] = np.log(K / len(np.unique(labels)))
            run = Run(name, None, None, labels, micro=micro, owner=owner)
            found.append(Proposal(name, K, labels, features, np.ones(len(labels)), run))
    return found
