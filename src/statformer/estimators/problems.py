"""What a clustering is asked (a context, how many components) and what is answered.

Axes: n rows of the context, p features, c components, b tables, s runs of a table.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from statformer.batch import Centres, Readout
from statformer.estimators.context import systematic_draw
from statformer.estimators.starts import Candidates

SWEEP_ROWS = 1000
SWEEP_ELEMENTS = 2**25
BUCKETS = (5, 10, 20, 40, 80)  # runs of similar K share a batch; the widest sets the padding


@dataclass(frozen=True)
class Problem:
    """One table as the network sees it.

    X, weight      "n p", "n"  standardised distinct rows and how often each counts
    rng            draws the starts
    n_components   K, or None when it is to be found
    """

    X: Float[np.ndarray, "n p"]
    weight: Float[np.ndarray, " n"]
    rng: np.random.Generator
    n_components: int | None

    def largest(self, max_components: int) -> int:
        """No more components than distinct rows."""
        return min(max_components, len(self.X))


@dataclass(frozen=True)
class Habit:
    """A way to regularise: a covariance type and what is added to the diagonal."""

    covariance_type: str
    ridge: float


@dataclass(frozen=True)
class Solution:
    """The winning run of one table, in standardised units, components without rows left out.

    centres, readout  leading axis 1
    log_proba         log P(K = j + 1)
    start             "n"  hard labels the run began with
    n_components      K of the run
    habit             None for learned layers
    """

    centres: Centres
    readout: Readout
    log_proba: Float[np.ndarray, " j"]
    start: Int[np.ndarray, " n"]
    n_components: int
    kept: Int[np.ndarray, " c"]
    habit: Habit | None = None


def solution(
    candidates: Candidates,
    run: int,
    problem: Problem,
    n_components: int,
    log_proba: Float[np.ndarray, " j"],
    start: Int[np.ndarray, " n"],
    habit: Habit | None = None,
) -> Solution:
    """Cut run `run` of a batch down to its own components, columns and rows."""
    n, p = problem.X.shape
    centres, readout = candidates.centres[run], candidates.readout[run]
    kept = np.flatnonzero(centres.is_component & (centres.weights > 0))
    return Solution(
        Centres(
            centres.weights[None, kept] / centres.weights[kept].sum(),
            centres.means[None, kept, :p],
            centres.covariances[None, kept, :p, :p],
            centres.is_component[None, kept],
        ),
        Readout(
            readout.temperature[None],
            readout.strength[None],
            readout.rho[None, kept],
            readout.nu[None, kept],
        ),
        log_proba,
        start[:n],
        n_components,
        kept,
        habit,
    )


def certain(n_components: int, max_components: int) -> Float[np.ndarray, " j"]:
    """log P(K) when K was given: all mass on it."""
    log_proba = np.full(max(max_components, n_components), -np.inf)
    log_proba[n_components - 1] = 0.0
    return log_proba


def buckets(counts: Iterable[int]) -> list[list[int]]:
    """Distinct values of K, ascending, grouped so that one batch pads little."""
    groups: dict[int, list[int]] = {}
    for k in sorted(set(counts)):
        limit = next((edge for edge in BUCKETS if k <= edge), k)
        groups.setdefault(limit, []).append(k)
    return list(groups.values())


def places(counts: Sequence[int], group: Sequence[int]) -> list[int]:
    """Tables whose K is in the group."""
    return [i for i, k in enumerate(counts) if k in group]


def sweep_context(
    problem: Problem, max_components: int, n_starts: int
) -> tuple[Float[np.ndarray, "n p"], Float[np.ndarray, " n"]]:
    """The rows that a sweep over K reads: all, or a draw of `SWEEP_ROWS`.

    The counting network has learned on tables of that length. A wide table is cut further, so
    that the widest K of all starts stays near `SWEEP_ELEMENTS` numbers.
    """
    n, p = problem.X.shape
    fits = SWEEP_ELEMENTS // (n_starts * max_components**2 * p)
    limit = max(min(SWEEP_ROWS, fits), 2 * max_components)
    if n <= limit:
        return problem.X, problem.weight
    drawn, weight = systematic_draw(problem.weight, limit, problem.rng)
    return problem.X[drawn], weight


def log_softmax(score: Float[np.ndarray, "b j"]) -> Float[np.ndarray, "b j"]:
    """log of score normalised along the last axis; -inf stays -inf."""
    top = score.max(axis=-1, keepdims=True)
    total = np.exp(score - top).sum(axis=-1, keepdims=True)
    shifted: Float[np.ndarray, "b j"] = score - top - np.log(total)
    return shifted


def n_parameters(covariance_type: str, n_components: int, p: int) -> int:
    """Free numbers of a Gaussian mixture: weights, means, covariances of this type."""
    of_covariances = {
        "full": n_components * p * (p + 1) // 2,
        "tied": p * (p + 1) // 2,
        "diag": n_components * p,
        "spherical": n_components,
    }
    return n_components - 1 + n_components * p + of_covariances[covariance_type]
