"""Candidate parent sets of one variable, side by side: where the table of each begins.

Axes: s candidate sets, u variables of any of them, c configurations of one candidate, C those of
all candidates in a row. A configuration is one number, the last variable running fastest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float, Int

Array = np.ndarray

MAX_CELLS = 2**24


@dataclass(frozen=True)
class CandidateSets:
    """Sets of variables that may be the parents of `target`.

    candidates      the sets, each a tuple of variables; its order is that of its table's axes
    sizes           number of categories of every variable
    n_predecessors  how many variables could be parents; those of any candidate if None

    Raises ValueError for no candidates, one that is listed twice, has a variable twice, the target
    or an unknown variable, for a target that is none, and for tables too large in all.
    """

    candidates: tuple[tuple[int, ...], ...]
    sizes: tuple[int, ...]
    target: int
    n_predecessors: int | None = None

    def __post_init__(self) -> None:
        v = len(self.sizes)
        if not 0 <= self.target < v:
            raise ValueError(f"target={self.target}: there are {v} variables, numbered from 0")
        if not self.candidates:
            raise ValueError("candidates is empty; pass at least one set, such as ()")
        for one in self.candidates:
            if len(set(one)) < len(one) or not all(0 <= u < v and u != self.target for u in one):
                raise ValueError(
                    f"candidates: {one} must hold variables from 0 to {v - 1}, each once, and not "
                    f"the target {self.target}"
                )
        if len({frozenset(one) for one in self.candidates}) < len(self.candidates):
            raise ValueError("candidates: a set is listed twice; pass each once")
        if self.n_predecessors is not None and self.n_predecessors < len(self.variables):
            raise ValueError(
                f"n_predecessors={self.n_predecessors}: the candidates hold {len(self.variables)} "
                "variables; pass as many or more"
            )
        cells = sum(self._n_configurations) * self.sizes[self.target]
        if cells > MAX_CELLS:
            raise ValueError(
                f"candidates: their tables have {cells:,} cells, at most {MAX_CELLS:,} are "
                "possible; pass smaller sets, or fewer"
            )

    def __len__(self) -> int:
        return len(self.candidates)

    @property
    def n_categories(self) -> int:
        """Categories of the target."""
        return self.sizes[self.target]

    @property
    def n_possible(self) -> int:
        """How many variables could be parents."""
        return len(self.variables) if self.n_predecessors is None else self.n_predecessors

    @cached_property
    def variables(self) -> tuple[int, ...]:
        """Those of any candidate."""
        return tuple(sorted({u for one in self.candidates for u in one}))

    @cached_property
    def n_variables(self) -> Int[Array, " s"]:
        """Size of every set."""
        return np.array([len(one) for one in self.candidates])

    @cached_property
    def n_configurations(self) -> Int[Array, " s"]:
        """Configurations of every set."""
        return np.array(self._n_configurations)

    @cached_property
    def starts(self) -> Int[Array, " s"]:
        """Where the table of every set begins on the axis C."""
        ends: Int[Array, " s"] = np.cumsum(self.n_configurations)
        return ends - self.n_configurations

    @cached_property
    def owner(self) -> Int[Array, " C"]:
        """To which set a configuration belongs."""
        return np.repeat(np.arange(len(self)), self.n_configurations)

    @cached_property
    def log_prior(self) -> Float[Array, " s"]:
        """-log((m + 1) choose(m, |S|)): m predecessors, every edge with probability p ~ U(0, 1)."""
        m = self.n_possible
        by_size = [-math.log((m + 1) * math.comb(m, k)) for k in range(m + 1)]
        return np.array(by_size)[self.n_variables]

    @cached_property
    def is_subset(self) -> Bool[Array, "s t"]:
        """Whether t holds fewer variables than s, all of them in s."""
        member = np.array([[u in one for u in self.variables] for one in self.candidates])
        member = member.reshape(len(self), -1).astype(np.float64)
        common, k = member @ member.T, self.n_variables
        return (common == k) & (k < k[:, None])

    @cached_property
    def is_one_smaller(self) -> Bool[Array, "s t"]:
        """Whether t is s without one variable."""
        k = self.n_variables
        return self.is_subset & (k == k[:, None] - 1)

    @cached_property
    def _n_configurations(self) -> list[int]:
        return [math.prod(self.sizes[u] for u in one) for one in self.candidates]

    @cached_property
    def _places(self) -> Float[Array, "u s"]:
        column = {u: i for i, u in enumerate(self.variables)}
        places = np.zeros((len(column), len(self)))
        for s, one in enumerate(self.candidates):
            place = 1
            for u in reversed(one):
                places[column[u], s] = place
                place *= self.sizes[u]
        return places

    def index(self, codes: Int[Array, "n v"]) -> Int[Array, "n s"]:
        """Where the configuration of every row is found on the axis C, set by set."""
        places = codes[:, self.variables].astype(np.float64) @ self._places
        found: Int[Array, "n s"] = places.astype(np.intp) + self.starts
        return found

    def total(self, values: Float[Array, "... C"]) -> Float[Array, "... s"]:
        """Sums over the configurations of every set."""
        sums: Float[Array, "... s"] = np.add.reduceat(values, self.starts, axis=-1)
        return sums


def all_subsets(variables: Sequence[int], max_size: int) -> tuple[tuple[int, ...], ...]:
    """Every set of at most `max_size` of the variables, the small ones first."""
    largest = min(max_size, len(variables))
    return tuple(s for k in range(largest + 1) for s in combinations(variables, k))
