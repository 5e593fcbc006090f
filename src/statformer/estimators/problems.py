"""What a clustering is asked (a context, how many components) and what is answered.

Axes: n rows of the context, p features, q categories, c components, b tables, s runs of a table.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

from statformer.batch import Centres, Readout, Tables
from statformer.estimators.context import systematic_draw
from statformer.estimators.starts import Candidates
from statformer.proposals.table_features import table_features

SWEEP_ROWS = 1000
SWEEP_ELEMENTS = 2**25
BUCKETS = (5, 10, 20, 40, 80)  # runs of similar K share a batch; the widest sets the padding


@dataclass(frozen=True)
class Cells:
    """Rows as the layers read them; None stands for "every cell is there", "no such column".

    numbers     "n p"  standardised, 0 where unobserved
    observed    "n p"  None where every number is there
    onehot      "n q"  zeros where a category is missing or unknown; None without such columns
    same_block  "q q"  1 within one categorical column
    """

    numbers: Float[np.ndarray, "n p"]
    observed: Bool[np.ndarray, "n p"] | None
    onehot: Float[np.ndarray, "n q"] | None
    same_block: Float[np.ndarray, "q q"] | None

    @property
    def n_categories(self) -> int:
        """Free shares of one component: categories less categorical columns."""
        if self.onehot is None or self.same_block is None:
            return 0
        return round(float((1.0 - 1.0 / self.same_block.sum(axis=1)).sum()))

    def __getitem__(self, rows: Int[np.ndarray, " k"]) -> Cells:
        """Some of the rows."""
        return Cells(
            self.numbers[rows],
            None if self.observed is None else self.observed[rows],
            None if self.onehot is None else self.onehot[rows],
            self.same_block,
        )

    def tables(self, weight: Float[np.ndarray, " n"]) -> Tables:
        """The rows as one table (leading axis 1)."""
        return Tables(
            self.numbers[None],
            weight[None],
            None,
            None if self.observed is None else self.observed[None],
            None if self.onehot is None else self.onehot[None],
            None if self.same_block is None else self.same_block[None],
        )


@dataclass(frozen=True)
class Problem:
    """One table as the network sees it.

    X, weight      "n p", "n"  standardised distinct rows and how often each counts
    rng            draws the starts
    n_components   K, or None when it is to be found
    cells          the native view of missing and categorical cells; None where there are none
    """

    X: Float[np.ndarray, "n p"]
    weight: Float[np.ndarray, " n"]
    rng: np.random.Generator
    n_components: int | None
    cells: Cells | None = None

    @property
    def n_columns(self) -> int:
        """Columns that the centres have: the numbers of `cells`, or all of a plain table."""
        return int((self.X if self.cells is None else self.cells.numbers).shape[1])

    @cached_property
    def features(self) -> Float[np.ndarray, " f"]:
        """What `proposals.table_features` says of the rows."""
        return table_features(self.X, self.weight)

    def table(self) -> Tables:
        """The rows as the layers read them (leading axis 1)."""
        if self.cells is None:
            return Tables(self.X[None], self.weight[None])
        return self.cells.tables(self.weight)

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
    kept              which of the run's components are left
    habit             None for learned layers, Lloyd and merged components
    n_layers          layers that were applied, 0 where there were none; None: until convergence
    owner             "c"  cluster of each component; None where each is its own
    kind              who proposed it
    expected_ari      what the judge expects of it; NaN without a judge
    doubt             share of the responsibilities that is spread evenly
    """

    centres: Centres
    readout: Readout
    log_proba: Float[np.ndarray, " j"]
    start: Int[np.ndarray, " n"]
    n_components: int
    kept: Int[np.ndarray, " c"]
    habit: Habit | None = None
    n_layers: int | None = None
    owner: Int[np.ndarray, " c"] | None = None
    kind: str = ""
    expected_ari: float = np.nan
    doubt: float = 0.0


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
    n, p = len(problem.X), problem.n_columns
    centres, readout = candidates.centres[run], candidates.readout[run]
    kept = np.flatnonzero(centres.is_component & (centres.weights > 0))
    return Solution(
        Centres(
            centres.weights[None, kept] / centres.weights[kept].sum(),
            centres.means[None, kept, :p],
            centres.covariances[None, kept, :p, :p],
            centres.is_component[None, kept],
            None if centres.categories is None else centres.categories[None, kept],
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

    A wide table is cut further, so that the widest K of all starts stays near `SWEEP_ELEMENTS`
    numbers.
    """
    n, p = problem.X.shape
    fits = SWEEP_ELEMENTS // (n_starts * max_components**2 * p)
    limit = max(min(SWEEP_ROWS, fits), 2 * max_components)
    if n <= limit:
        return problem.X, problem.weight
    drawn, weight = systematic_draw(problem.weight, limit, problem.rng)
    return problem.X[drawn], weight


def shortened(problem: Problem) -> tuple[Problem, Int[np.ndarray, " k"] | None]:
    """The rows that proposals are made on, all or a draw of `SWEEP_ROWS`, and which they are."""
    if len(problem.X) <= SWEEP_ROWS:
        return problem, None
    drawn, weight = systematic_draw(problem.weight, SWEEP_ROWS, problem.rng)
    cells = None if problem.cells is None else problem.cells[drawn]
    return replace(problem, X=problem.X[drawn], weight=weight, cells=cells), drawn


def log_softmax(score: Float[np.ndarray, "b j"]) -> Float[np.ndarray, "b j"]:
    """log of score normalised along the last axis; -inf stays -inf."""
    top = score.max(axis=-1, keepdims=True)
    total = np.exp(score - top).sum(axis=-1, keepdims=True)
    shifted: Float[np.ndarray, "b j"] = score - top - np.log(total)
    return shifted


def n_parameters(covariance_type: str, n_components: int, p: int, n_shares: int = 0) -> int:
    """Free numbers of a mixture: weights, means, covariances of this type, shares of categories.

    n_shares counts those of one component, categories less categorical columns.
    """
    of_covariances = {
        "full": n_components * p * (p + 1) // 2,
        "tied": p * (p + 1) // 2,
        "diag": n_components * p,
        "spherical": n_components * min(p, 1),
    }
    of_means = n_components * (p + n_shares)
    return n_components - 1 + of_means + of_covariances[covariance_type]


def adjusted_rand(
    first: Int[np.ndarray, " n"], second: Int[np.ndarray, " n"], weight: Float[np.ndarray, " n"]
) -> float:
    """Adjusted Rand index (Hubert and Arabie 1985), each row counted `weight` times."""
    table = np.zeros((int(first.max()) + 1, int(second.max()) + 1))
    np.add.at(table, (first, second), weight)

    def pairs(counts: np.ndarray) -> float:
        return float((counts * (counts - 1.0)).sum() / 2.0)

    together, rows, columns = pairs(table), pairs(table.sum(axis=1)), pairs(table.sum(axis=0))
    total = pairs(table.sum())
    expected = rows * columns / total if total > 0 else 0.0
    most = 0.5 * (rows + columns)
    return 1.0 if most == expected else (together - expected) / (most - expected)
