"""Tables of counts: what attention on a fixed structure collapses to.

Axes: v variables, n rows, d categories. Codes are "v n", variable by variable, -1 where missing;
the table of a variable has one axis per parent and its own last. A configuration of the parents is
one number, the last parent running fastest, as in the table laid out flat.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float, Int

from statformer.reference.bayes_net import Structure

Array = np.ndarray
Table = Float[Array, "..."]
Codes = Int[Array, "v n"]

MAX_CELLS = 2**22
CHUNK = 2**16  # rows at a time: what a step works on stays in the processor's cache


@dataclass(frozen=True)
class Tables:
    """p(variable | parents) for every configuration, and which of these were seen in the rows.

    probabilities  one table per variable; its rows sum to 1
    seen           one per variable, without the last axis; all True where there is smoothing
    """

    structure: Structure
    probabilities: tuple[Table, ...]
    seen: tuple[Bool[Array, "..."], ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Numbers of categories."""
        return tuple(table.shape[-1] for table in self.probabilities)

    @cached_property
    def n_unseen(self) -> tuple[int, ...]:
        """How many configurations of the parents of each variable were never seen."""
        return tuple(int((~seen).sum()) for seen in self.seen)

    def lookup(self, target: int, codes: Codes) -> Float[Array, "n d"]:
        """p(target | parents), row by row; the parents must be there."""
        table = self.probabilities[target]
        flat = table.reshape(-1, table.shape[-1])
        return flat[configurations(self.structure.parents[target], self.sizes, codes)]

    def sample(self, n: int, rng: np.random.Generator) -> tuple[Codes, int]:
        """n rows, parents first, and how many drew from a configuration that was never seen."""
        largest = max(self.sizes)
        X = np.empty((len(self.sizes), n), dtype=np.int8 if largest <= 127 else np.int16)
        below = [p.reshape(-1, p.shape[-1]).cumsum(axis=1)[:, :-1].T.copy() for p in self._flat]
        unseen = np.zeros(n, dtype=bool)
        for rows in chunks(n):
            for m in self.structure.order:
                at = configurations(self.structure.parents[m], self.sizes, X[:, rows])
                u = rng.random(rows.stop - rows.start)
                drawn = np.zeros(len(u), dtype=X.dtype)
                for edge in below[m]:
                    drawn += u >= edge[at]
                X[m, rows] = drawn
                if self.n_unseen[m]:
                    unseen[rows] |= ~self.seen[m].ravel()[at]
        return X, int(unseen.sum())

    def meets_unseen(self, variables: Sequence[int], codes: Codes) -> Bool[Array, " n"]:
        """Rows in which one of the variables has parents that are all known and were never seen."""
        found = np.zeros(codes.shape[1], dtype=bool)
        for m in variables:
            parents = self.structure.parents[m]
            if self.n_unseen[m]:
                known = np.flatnonzero((codes[list(parents)] >= 0).all(axis=0))
                at = configurations(parents, self.sizes, codes[:, known])
                found[known] |= ~self.seen[m].ravel()[at]
        return found

    @property
    def _flat(self) -> list[Float[Array, "c d"]]:
        return [p.reshape(-1, p.shape[-1]) for p in self.probabilities]


def chunks(n: int, size: int = CHUNK) -> Iterator[slice]:
    """Slices of at most `size` rows."""
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))


def configurations(
    variables: Sequence[int], sizes: Sequence[int], codes: Codes
) -> Int[Array, " n"]:
    """The values of some variables as one number per row, the last running fastest."""
    if not len(variables):
        return np.zeros(codes.shape[1], dtype=np.intp)
    at = codes[variables[0]].astype(np.intp)
    for m in variables[1:]:
        at *= sizes[m]
        at += codes[m]
    return at


def check_sizes(structure: Structure, sizes: Sequence[int], names: Sequence[object]) -> None:
    """Raises ValueError for a table of more than `MAX_CELLS` numbers, and names its variable."""
    for m, parents in enumerate(structure.parents):
        cells = math.prod(sizes[p] for p in (*parents, m))
        if cells > MAX_CELLS:
            raise ValueError(
                f"the table of {names[m]!r} given its {len(parents)} parents has {cells:,} cells; "
                f"at most {MAX_CELLS:,} are possible: leave out parents or join categories"
            )


def count(
    structure: Structure,
    sizes: Sequence[int],
    codes: Codes,
    weight: Float[Array, " n"] | None,
) -> list[Table]:
    """Weights of the rows per configuration and category; rows that lack one of them are left out.

    Float64 tables, one axis per parent and the variable's own last.
    """
    families = [(*parents, m) for m, parents in enumerate(structure.parents)]
    shapes = [tuple(sizes[m] for m in family) for family in families]
    tables = [np.zeros(math.prod(shape)) for shape in shapes]
    has_gaps = np.asarray((codes < 0).any(axis=1))
    for rows in chunks(codes.shape[1], max(CHUNK, *(len(table) for table in tables))):
        part = codes[:, rows]
        w = None if weight is None else weight[rows]
        for m, family in enumerate(families):
            if not has_gaps[list(family)].any():
                at = configurations(family, sizes, part)
                tables[m] += np.bincount(at, w, len(tables[m]))
                continue
            whole = np.flatnonzero((part[list(family)] >= 0).all(axis=0))
            at = configurations(family, sizes, part[:, whole])
            tables[m] += np.bincount(at, None if w is None else w[whole], len(tables[m]))
    return [table.reshape(shape) for table, shape in zip(tables, shapes, strict=True)]


def estimate(structure: Structure, counts: Sequence[Table], smoothing: float) -> Tables:
    """(count + smoothing) / (sum over the categories + d smoothing).

    Without smoothing, an unseen configuration takes the frequencies of the rows that agree with it
    on the largest number of parents: the limit of sharp attention. A variable without any row has
    uniform frequencies.
    """
    probabilities, seen = [], []
    for table in counts:
        raised = table + smoothing
        total = raised.sum(axis=-1, keepdims=True)
        is_seen = total[..., 0] > 0
        if not is_seen.all():
            raised = _backed_off(raised, is_seen)
            total = raised.sum(axis=-1, keepdims=True)
        probabilities.append(raised / total)
        seen.append(is_seen)
    return Tables(structure, tuple(probabilities), tuple(seen))


def _backed_off(counts: Table, is_seen: Bool[Array, "..."]) -> Table:
    """Counts in which an unseen configuration holds those of the closest rows.

    The rows that agree with a configuration on exactly k parents, where none agrees on more, are
    the sum over all sets of k parents of the rows that agree on the set.
    """
    filled, left = counts.copy(), ~is_seen
    n_parents = counts.ndim - 1
    for k in range(n_parents - 1, -1, -1):
        total = np.zeros_like(counts)
        for agreeing in combinations(range(n_parents), k):
            others = tuple(axis for axis in range(n_parents) if axis not in agreeing)
            total += counts.sum(axis=others, keepdims=True)
        found = left & (total.sum(axis=-1) > 0)
        filled[found] = total[found]
        left &= ~found
        if not left.any():
            return filled
    filled[left] = 1.0
    return filled
