"""Cluster with learned layers and a judge: propose many labelings, answer with the best judged.

K unknown: a sweep proposes labelings for K = 1 to 10, and further where the judge believes that K
lies beyond; the judge reads P(K | X) off the sweep. The K whose best labeling has the highest
expected ARI is answered (one cluster: P(K = 1), for it is right or wrong as a whole). There all
kinds propose, and the judge, looking at everything together, names the labeling it expects most of.

A checkpoint without a judge answers with the densest of the learned runs, K given.

Axes: b tables, m labelings, j + 1 numbers of clusters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int

from statformer.estimators.answers import Answer, answered, is_usable
from statformer.estimators.base import Checkpoint
from statformer.estimators.devices import Backend
from statformer.estimators.effort import Effort
from statformer.estimators.problems import (
    Problem,
    Solution,
    certain,
    log_softmax,
    shortened,
)
from statformer.estimators.proposers import Plan, Proposal, propose
from statformer.nn.judge import Judge, Judgement, of_the_best
from statformer.proposals.evidence import Labelings, evidence, tokens_of, view_of
from statformer.proposals.kinds import KINDS, LEARNED, NOBODY, RUN_FEATURES
from statformer.proposals.labelings import agreement, side_by_side
from statformer.proposals.view import TableView

TOPS = (10, 20, 30)  # how far the sweeps of the training went
JUDGED_COMPONENTS = TOPS[-1]
EXTEND = 0.05  # probability beyond the sweep above which the sweep goes on


def solve(
    problems: Sequence[Problem],
    checkpoint: Checkpoint,
    effort: Effort,
    max_components: int,
    on: Backend,
) -> list[Solution]:
    """Answer all problems; each draws from its own generator, so batching changes nothing.

    Raises ValueError where K is unknown and the checkpoint has no judge.
    """
    if not checkpoint.judge:
        return _densest(problems, checkpoint, effort, max_components, on)
    tables = [_Table(problem, max_components) for problem in problems]
    unknown = [table for table in tables if table.problem.n_components is None]
    _count(unknown, checkpoint, effort.sweep, on)
    # one cluster has one labeling, which the sweep has proposed
    several = [t for t in tables if t.n_components > 1 or t.problem.n_components is not None]
    if several:
        counts = np.array([[t.n_components] for t in several])
        short = [t.short for t in several]
        found = propose(short, counts, effort.given, dict(checkpoint.em), on, is_single=True)
        for table, more in zip(several, found, strict=True):
            table.add(more)
    said = _judged(tables, checkpoint)
    return [
        table.answer(said, row, checkpoint, on).solution(table.log_proba)
        for row, table in enumerate(tables)
    ]


def judge_labelings(
    problem: Problem,
    labels: Int[np.ndarray, "m n"],
    checkpoint: Checkpoint,
    sweep: Plan,
    on: Backend,
) -> Float[np.ndarray, " m"]:
    """Expected ARI of labelings of the problem's rows that come from elsewhere.

    The judge looks at them beside the labelings of a sweep over K.
    """
    table = _Table(problem, JUDGED_COMPONENTS)
    _count([table], checkpoint, sweep, on)
    first = len(table.proposals)
    table.add_strangers(labels)
    said = _judged([table], checkpoint)
    found: Float[np.ndarray, " m"] = said.expected_ari[0, first:]
    return found


class _Table:
    """A problem on its way: the rows that proposals read, what was proposed and told."""

    def __init__(self, problem: Problem, max_components: int) -> None:
        self.problem = problem
        self.max_components = max_components
        self.short, self.drawn = shortened(problem)
        self.view: TableView
        self.view, self.rows = view_of(self.short.X, self.short.weight, problem.rng)
        self.proposals: list[Proposal] = []
        self.seen: np.ndarray
        self.told: Labelings | None = None
        self.n_components = problem.n_components or 1  # the K that is answered
        self.log_proba = (
            np.empty(0)
            if problem.n_components is None
            else certain(problem.n_components, max_components)
        )

    @property
    def largest(self) -> int:
        """The largest K that can be answered."""
        return min(self.max_components, len(self.short.X), JUDGED_COMPONENTS)

    def add(self, proposals: Sequence[Proposal]) -> None:
        """Take in proposals and describe them."""
        self.proposals += proposals
        self._tell(
            np.stack([p.labels for p in proposals]).astype(np.int64),
            np.array([KINDS.index(p.kind) for p in proposals]),
            np.stack([p.features for p in proposals]),
            np.array([p.n_components for p in proposals]),
        )

    def add_strangers(self, strangers: Int[np.ndarray, "m n"]) -> None:
        """Describe labelings from elsewhere beside the proposals."""
        theirs = strangers.astype(np.int64)
        theirs = theirs if self.drawn is None else theirs[:, self.drawn]
        m = len(theirs)
        K = np.array([len(np.unique(row)) for row in theirs])
        self._tell(theirs, np.full(m, NOBODY), np.zeros((m, len(RUN_FEATURES))), K)

    def _tell(
        self, labels: np.ndarray, kinds: np.ndarray, features: np.ndarray, K: np.ndarray
    ) -> None:
        seen = labels[:, self.rows]
        tokens = tokens_of(self.view, seen, kinds, features)
        clusters = side_by_side(self.view, seen)
        own = agreement(self.view, clusters)
        if self.told is None:
            self.seen, self.told = seen, Labelings(tokens, own, K, self.short.features)
            return
        across = agreement(self.view, clusters, side_by_side(self.view, self.seen))
        self.seen = np.concatenate([self.seen, seen])
        self.told = Labelings(
            np.concatenate([self.told.tokens, tokens]),
            np.block([[self.told.agreement, across.T], [across, own]]),
            np.concatenate([self.told.K, K]),
            self.told.table,
        )

    def answer(self, said: Judgement, row: int, checkpoint: Checkpoint, on: Backend) -> Answer:
        """The proposal of the answered K with the highest expected ARI."""
        m = len(self.proposals)
        mine = np.array([p.n_components == self.n_components for p in self.proposals])
        usable = np.array([is_usable(p, self.problem) for p in self.proposals])
        score = np.where(mine & usable, said.logit[row, :m], -np.inf)
        if self.n_components == 1:  # all agree: what counts is the density
            score = np.where([p.kind == LEARNED for p in self.proposals] & mine, 0.0, -np.inf)
        best = int(score.argmax())
        expected = float(of_the_best(said.logit[row, best : best + 1], checkpoint.judge)[0])
        if self.n_components == 1:  # right or wrong as a whole
            expected = float(np.exp(self.log_proba[0]))
        return answered(
            self.proposals[best],
            self.problem,
            self.short,
            checkpoint,
            expected,
            float(said.doubt[row, best]),
            on,
        )


def _count(tables: Sequence[_Table], checkpoint: Checkpoint, plan: Plan, on: Backend) -> None:
    """Sweep and set log P(K) of each table; further where K may lie beyond the sweep."""
    tried = dict.fromkeys(range(len(tables)), 0)
    left = list(tried)
    for top in TOPS:
        for reach in sorted({min(top, len(tables[i].short.X)) for i in left}):
            for done in sorted({tried[i] for i in left}):
                members = [
                    i
                    for i in left
                    if tried[i] == done and min(top, len(tables[i].short.X)) == reach
                ]
                if not members or reach <= done:
                    continue
                counts = np.tile(np.arange(done + 1, reach + 1), (len(members), 1))
                short = [tables[i].short for i in members]
                found = propose(short, counts, plan, dict(checkpoint.em), on, is_single=True)
                for i, proposals in zip(members, found, strict=True):
                    tables[i].add(proposals)
                    tried[i] = reach
        if not left:
            break
        said = _judged([tables[i] for i in left], checkpoint)
        still = []
        for row, i in enumerate(left):
            table = tables[i]
            table.log_proba = _of_possible(said.log_p[row], table)
            table.n_components = _most_promising(said.logit[row], table, checkpoint)
            if np.exp(said.log_p[row, -1]) > EXTEND and tried[i] < table.largest:
                still.append(i)
        left = still


def _most_promising(logit: Float[np.ndarray, " m"], table: _Table, checkpoint: Checkpoint) -> int:
    """The K whose best labeling has the highest expected ARI; that of one cluster is P(K = 1)."""
    K = np.array([p.n_components for p in table.proposals])
    expected = np.array(of_the_best(logit[: len(K)], checkpoint.judge))
    expected[table.largest < K] = -1.0
    expected[K == 1] = np.exp(table.log_proba[0])
    return int(K[expected.argmax()])


def _of_possible(log_p: Float[np.ndarray, " j"], table: _Table) -> Float[np.ndarray, " j"]:
    """log P(K) for K = 1..max_components, given that K is one of those that can be answered."""
    found = np.full(table.max_components, -np.inf)
    found[: table.largest] = log_p[: table.largest]
    return log_softmax(found[None])[0]


def _judged(tables: Sequence[_Table], checkpoint: Checkpoint) -> Judgement:
    given = [table.problem.n_components is not None for table in tables]
    told = [table.told for table in tables if table.told is not None]
    return Judge(checkpoint.judge)(evidence(told, given), JUDGED_COMPONENTS)


def _densest(
    problems: Sequence[Problem],
    checkpoint: Checkpoint,
    effort: Effort,
    max_components: int,
    on: Backend,
) -> list[Solution]:
    """Layers alone: the densest of the starts."""
    if any(problem.n_components is None for problem in problems):
        raise ValueError(
            f"weights={checkpoint.name!r} hold no judge; give n_components, or use "
            "weights='pretrained'"
        )
    found = []
    for problem in problems:
        table = _Table(problem, max_components)
        plan = replace(effort.given, kinds=(LEARNED,), n_kept=1)
        counts = np.array([[table.n_components]])
        ((proposal,),) = propose([table.short], counts, plan, dict(checkpoint.em), on)
        answer = answered(proposal, problem, table.short, checkpoint, np.nan, 0.0, on)
        found.append(answer.solution(table.log_proba))
    return found
