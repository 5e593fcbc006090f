"""From the proposal that was chosen to a mixture that reads every row.

Where the proposal was made on all rows of the context, as they are, its centres are the answer.
Where it was made on a draw of them, or with gaps filled, its labels of all rows start one more run
of the same kind. Lloyd is answered by equal spherical Gaussians, whose largest responsibility is
the nearest mean; merged clusters by their components and who owns which.

Axes: n rows, p features, c components, k clusters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from statformer.batch import Centres, Readout, Tables
from statformer.constructions.em_network import stack_habits
from statformer.estimators.base import Checkpoint
from statformer.estimators.cells import run_layers as run_cell_layers
from statformer.estimators.devices import Backend
from statformer.estimators.layer_runs import Batch, run_layers
from statformer.estimators.problems import Habit, Problem, Solution
from statformer.estimators.proposers import HABITS, TEXTBOOK_LOOPS, Proposal
from statformer.nn.em_network import EMNetwork, respond
from statformer.proposals.kinds import LLOYD, MERGED

_LEAST_VARIANCE = 1e-6


@dataclass(frozen=True)
class Answer:
    """A chosen proposal, ready to read rows.

    owner is None where every component is a cluster.
    """

    centres: Centres
    readout: Readout
    start: Int[np.ndarray, " n"]
    n_components: int
    habit: Habit | None
    n_layers: int
    owner: Int[np.ndarray, " c"] | None
    kind: str
    expected_ari: float
    doubt: float

    def solution(self, log_proba: Float[np.ndarray, " j"]) -> Solution:
        """Without the components that own nothing."""
        kept = np.flatnonzero(self.centres.is_component[0] & (self.centres.weights[0] > 0))
        c, r = self.centres, self.readout
        return Solution(
            Centres(
                c.weights[:, kept] / c.weights[:, kept].sum(),
                c.means[:, kept],
                c.covariances[:, kept],
                c.is_component[:, kept],
                None if c.categories is None else c.categories[:, kept],
            ),
            Readout(r.temperature, r.strength, r.rho[:, kept], r.nu[:, kept]),
            log_proba,
            self.start,
            self.n_components,
            kept,
            self.habit,
            n_layers=self.n_layers,
            owner=None if self.owner is None else self.owner[kept],
            kind=self.kind,
            expected_ari=self.expected_ari,
            doubt=self.doubt,
        )


def is_usable(proposal: Proposal, problem: Problem) -> bool:
    """Whether the proposal can be answered: cells that are missing or categorical need layers."""
    return problem.cells is None or proposal.kind not in (*MERGED, LLOYD)


def answered(
    proposal: Proposal,
    problem: Problem,
    short: Problem,
    checkpoint: Checkpoint,
    expected_ari: float,
    doubt: float,
    on: Backend,
) -> Answer:
    """The proposal, made on `short`, as an answer about `problem`."""
    run, K = proposal.run, proposal.n_components
    judged = (proposal.kind, expected_ari, doubt)
    if run.micro is not None:
        micro = run.micro.readout
        c = len(micro.means)
        centres = _spherical(micro.weights, micro.means, micro.variance)
        return Answer(
            centres, _plain(c), _nearest(problem.X, micro.means), K, None, 0, run.owner, *judged
        )
    if run.kind == LLOYD:
        means, share, variance = _means(short, proposal.labels, K)
        centres = _spherical(share, means, variance)
        start = _nearest(problem.X, means)
        return Answer(centres, _plain(len(means), 0.0), start, K, None, 0, None, *judged)
    habit = HABITS.get(run.kind)
    if habit is None:
        n_layers = len(checkpoint.em["b_cov"]) if run.n_layers is None else run.n_layers
    else:
        n_layers = TEXTBOOK_LOOPS
    assert run.centres is not None
    assert run.readout is not None
    is_whole = len(short.X) == len(problem.X)
    n_columns = problem.n_columns
    if is_whole and (problem.cells is None or run.is_native):
        centres = _cut(run.centres, n_columns)
        return Answer(centres, run.readout, run.start, K, habit, n_layers, None, *judged)
    start = proposal.labels if is_whole else _all_labels(proposal, problem)
    again = _again(problem, start, K, habit, n_layers, checkpoint, on)
    centres = _cut(again.centres, n_columns)
    return Answer(centres, again.readout, start, K, habit, n_layers, None, *judged)


def network_of(habit: Habit | None, n_layers: int, em: dict[str, np.ndarray]) -> EMNetwork:
    """The network that a proposal of this habit ran; None is learned layers."""
    if habit is None:
        return EMNetwork({name: value[:n_layers] for name, value in em.items()})
    weights = stack_habits([(habit.covariance_type, habit.ridge)], 1, 1).weights
    return EMNetwork(weights, n_loops=n_layers)


def _again(
    problem: Problem,
    start: Int[np.ndarray, " n"],
    K: int,
    habit: Habit | None,
    n_layers: int,
    checkpoint: Checkpoint,
    on: Backend,
) -> Batch:
    network = network_of(habit, n_layers, dict(checkpoint.em))
    if problem.cells is not None:
        (found,) = run_cell_layers(network, problem, start[None], K, (-1,), on)
        return Batch(*found)
    tables = Tables(problem.X[None], problem.weight[None])
    (batch,) = run_layers(
        lambda *_: network, tables, start[None, None], K, [n_layers], on, is_single=False
    )
    return batch


def _all_labels(proposal: Proposal, problem: Problem) -> Int[np.ndarray, " n"]:
    """Labels of every row of the context under the run's centres."""
    run = proposal.run
    assert run.centres is not None
    assert run.readout is not None
    if run.is_native:
        r = respond(problem.table(), run.centres, run.readout)[0]
    else:
        plain = Tables(problem.X[None], problem.weight[None])
        r = respond(plain, _cut(run.centres, problem.X.shape[1]), run.readout)[0]
    found: Int[np.ndarray, " n"] = r.argmax(axis=-1)
    return found


def _cut(centres: Centres, p: int) -> Centres:
    """Without columns that were padding."""
    return Centres(
        centres.weights,
        centres.means[..., :p],
        centres.covariances[..., :p, :p],
        centres.is_component,
        centres.categories,
    )


def _spherical(
    weights: Float[np.ndarray, " c"], means: Float[np.ndarray, "c p"], variance: float
) -> Centres:
    c, p = means.shape
    covariances = np.broadcast_to(variance * np.eye(p), (1, c, p, p)).copy()
    return Centres(weights[None], means[None], covariances, np.ones((1, c), dtype=bool))


def _plain(c: int, strength: float = 1.0) -> Readout:
    return Readout(np.ones(1), np.full(1, strength), np.zeros((1, c)), np.full((1, c), 10.0))


def _means(
    problem: Problem, labels: Int[np.ndarray, " n"], K: int
) -> tuple[Float[np.ndarray, "c p"], Float[np.ndarray, " c"], float]:
    """Means and shares of the clusters that own rows, and their common variance."""
    member = np.eye(K)[labels] * problem.weight[:, None]
    total = member.sum(axis=0)
    kept = total > 0
    means = member.T[kept] @ problem.X / total[kept, None]
    numbered = np.cumsum(kept) - 1
    rest = problem.X - means[numbered[labels]]
    variance = float((problem.weight @ (rest**2)).sum() / (total.sum() * problem.X.shape[1]))
    return means, total[kept] / total.sum(), max(variance, _LEAST_VARIANCE)


def _nearest(X: Float[np.ndarray, "n p"], means: Float[np.ndarray, "c p"]) -> Int[np.ndarray, " n"]:
    squares = (means**2).sum(axis=1) - 2.0 * X @ means.T
    found: Int[np.ndarray, " n"] = squares.argmin(axis=1)
    return found
