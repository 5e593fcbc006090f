"""Discrete Bayesian networks by counting, one row at a time, written to be read.

Axes: n rows, m variables, d categories of a variable. A cell is the number of its category. The
tables of a variable have one axis per parent, in the order in which its parents are listed, and
its own axis last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

Array = np.ndarray
Table = Float[Array, "..."]


class CycleError(ValueError):
    """Variables that are their own ancestors; `cycle` lists them, the first again at the end."""

    def __init__(self, cycle: Sequence[int]) -> None:
        self.cycle = tuple(cycle)
        super().__init__(
            f"variables {' -> '.join(map(str, cycle))} form a cycle; leave one of the edges out"
        )


@dataclass(frozen=True)
class Structure:
    """A directed acyclic graph: `parents[m]` lists the parents of variable m, as numbers.

    Raises ValueError for a parent that is no variable or is listed twice, CycleError for a cycle.
    """

    parents: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        for child, parents in enumerate(self.parents):
            unknown = [p for p in parents if not 0 <= p < len(self.parents)]
            if unknown:
                raise ValueError(
                    f"parents of variable {child}: {unknown[0]} is no variable; there are "
                    f"{len(self.parents)}, numbered from 0"
                )
            if len(set(parents)) < len(parents):
                raise ValueError(f"parents of variable {child}: {parents} lists one twice")
        _ = self.order

    def __len__(self) -> int:
        return len(self.parents)

    @cached_property
    def order(self) -> tuple[int, ...]:
        """All variables, parents before children: by generations, the lowest number first.

        Raises CycleError.
        """
        order: list[int] = []
        waiting = set(range(len(self)))
        while waiting:
            ready = [m for m in sorted(waiting) if waiting.isdisjoint(self.parents[m])]
            if not ready:
                raise CycleError(self._cycle(waiting))
            order += ready
            waiting -= set(ready)
        return tuple(order)

    @property
    def in_degree(self) -> int:
        """The largest number of parents."""
        return max((len(parents) for parents in self.parents), default=0)

    def ancestors(self, variables: Sequence[int]) -> set[int]:
        """The variables and all that lie above them."""
        found: set[int] = set()
        waiting = list(variables)
        while waiting:
            m = waiting.pop()
            if m not in found:
                found.add(m)
                waiting += self.parents[m]
        return found

    def _cycle(self, waiting: set[int]) -> list[int]:
        """Walk up among variables that all have a parent left; the walk must return."""
        walk = [min(waiting)]
        while walk[-1] not in walk[:-1]:
            walk.append(next(p for p in self.parents[walk[-1]] if p in waiting))
        return walk[walk.index(walk[-1]) :][::-1]


def count(
    structure: Structure,
    sizes: Sequence[int],
    X: Int[Array, "n m"],
    weight: Float[Array, "n"] | None = None,
) -> list[Table]:
    """How often each category was seen with each configuration of the parents.

    `sizes` are the numbers of categories; a row of `weight` w counts w times.
    """
    tables = [
        np.zeros([*(sizes[p] for p in parents), sizes[m]])
        for m, parents in enumerate(structure.parents)
    ]
    for i, x in enumerate(X):
        for m, parents in enumerate(structure.parents):
            tables[m][(*x[list(parents)], x[m])] += 1.0 if weight is None else weight[i]
    return tables


def conditional_frequencies(counts: Sequence[Table], smoothing: float = 0.0) -> list[Table]:
    """(count + smoothing) / (their sum over the categories): maximum likelihood for smoothing 0.

    A configuration that was never seen has no frequencies: NaN, unless there is smoothing.
    """
    tables = []
    for table in counts:
        raised = table + smoothing
        total = raised.sum(axis=-1, keepdims=True)
        tables.append(np.divide(raised, total, out=np.full_like(raised, np.nan), where=total > 0))
    return tables


def closest_rows(
    X: Int[Array, "n m"], parents: Sequence[int], values: Sequence[int]
) -> tuple[Int[Array, "k"], int]:
    """The rows that agree with `values` on the largest number of parents, and that number.

    They are the matching rows wherever there are any.
    """
    agreement = (X[:, list(parents)] == np.asarray(values, dtype=X.dtype)).sum(axis=1)
    most = int(agreement.max())
    return np.flatnonzero(agreement == most), most


def backed_off(
    structure: Structure,
    sizes: Sequence[int],
    X: Int[Array, "n m"],
    variable: int,
    values: Sequence[int],
) -> Float[Array, "d"]:
    """Frequencies of the categories of `variable` among the rows closest to `values` of parents.

    This is maximum likelihood where the configuration was seen, and defined where it was not.
    """
    rows, _ = closest_rows(X, structure.parents[variable], values)
    return np.bincount(X[rows, variable], minlength=sizes[variable]) / len(rows)


def joint(structure: Structure, tables: Sequence[Table]) -> Table:
    """p(x) of every assignment, one axis per variable: the product of the tables.

    Its size is the product of all numbers of categories.
    """
    sizes = [table.shape[-1] for table in tables]
    p = np.ones(sizes)
    for x in np.ndindex(*sizes):
        for m, parents in enumerate(structure.parents):
            p[x] *= tables[m][(*(x[parent] for parent in parents), x[m])]
    return p


def ancestral_sample(
    structure: Structure, tables: Sequence[Table], n: int, rng: np.random.Generator
) -> Int[Array, "n m"]:
    """n rows, each drawn variable by variable, parents first."""
    X = np.zeros((n, len(structure)), dtype=np.int64)
    for x in X:
        for m in structure.order:
            p = tables[m][tuple(x[list(structure.parents[m])])]
            x[m] = rng.choice(len(p), p=p)
    return X
