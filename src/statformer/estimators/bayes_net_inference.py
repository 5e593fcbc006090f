"""Exact inference for many rows at once: variable elimination as a tensor contraction.

Rows are grouped by the unknown variables that hang together with what is asked for. What such a
group needs of a row is its values at the variables around it, so that rows which agree there are
answered once. A product over few unknown variables is written out and summed; over many it is a
contraction along a path that opt_einsum chooses.

Axes: v variables, n rows, d categories. Codes are "v n", -1 where unknown.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import opt_einsum
from jaxtyping import Bool, Float, Int

from statformer.estimators.bayes_net_groups import Group, all_groups, groups_of
from statformer.estimators.bayes_net_tables import Codes, Tables, chunks, configurations

Array = np.ndarray

MAX_NUMBERS = 2**24  # of one intermediate result
WRITTEN_OUT = 2**20  # up to so many numbers a product is written out; finding a path costs more
BATCH = -1  # the axis of the rows, beside the variables


def posterior(
    tables: Tables, codes: Codes, target: int
) -> tuple[Float[Array, "n d"], Bool[Array, " n"]]:
    """p(target | the other known cells), row by row; what a row says of the target is ignored.

    Cells that together have probability 0 say nothing: such rows, which the second answer marks,
    are answered from the target's ancestors alone, or, where these too are impossible, from none.

    Raises ValueError where a contraction needs more than `MAX_NUMBERS` numbers.
    """
    codes = codes.copy()
    codes[target] = -1
    p = np.zeros((codes.shape[1], tables.sizes[target]))
    above = tables.structure.ancestors([target])
    impossible = np.zeros(len(p), dtype=bool)
    left = np.arange(len(p))
    for kept in (range(len(codes)), above, ()):
        part = np.full((len(codes), len(left)), -1, dtype=codes.dtype)
        part[list(kept)] = codes[list(kept)][:, left]
        for group in groups_of(tables, part, target):
            p[left[group.rows]] = contract(tables, part, group, (target,))
        total = p[left].sum(axis=1)
        possible = total > 0
        p[left[possible]] /= total[possible, None]
        left = left[~possible]
        impossible[left] = True
        if not len(left):
            break
    return p, impossible


def log_likelihood(tables: Tables, codes: Codes) -> Float[Array, " n"]:
    """log p(known cells) in nats, row by row; -inf where they are impossible."""
    total = np.zeros(codes.shape[1])
    known = codes >= 0
    with np.errstate(divide="ignore"):
        for m, parents in enumerate(tables.structure.parents):
            family = [*parents, m]
            rows = np.flatnonzero(known[family].all(axis=0))
            at = configurations(family, tables.sizes, codes[:, rows])
            total[rows] += np.log(tables.probabilities[m].reshape(-1))[at]
        for group in all_groups(tables, codes, barren=False):
            total[group.rows] += np.log(contract(tables, codes, group, ()))
    return total


def most_probable(tables: Tables, codes: Codes) -> Codes:
    """The rows with each unknown cell at its most probable category, given the known cells."""
    filled = codes.copy()
    for group in all_groups(tables, codes, barren=True):
        for target in group.unknown:
            p = contract(tables, codes, group, (target,))
            lost = np.flatnonzero(p.sum(axis=1) <= 0)
            if len(lost):
                p[lost], _ = posterior(tables, codes[:, group.rows[lost]], target)
            filled[target, group.rows] = p.argmax(axis=1)
    return filled


# ---------------------------------------------------------------------------------------------
# Contraction


def contract(
    tables: Tables, codes: Codes, group: Group, answer: tuple[int, ...]
) -> Float[Array, "n *d"]:
    """Sum over the unknown variables, but for those of the `answer`, of the product of the factors.

    The answer lists unknown variables in ascending order. It has one axis of rows, in the order of
    `group.rows`, then one per variable of the answer.

    Raises ValueError where an intermediate result has more than `MAX_NUMBERS` numbers for a row.
    """
    sizes, part = tables.sizes, codes[:, group.rows]
    families = {u for m in group.factors for u in (*tables.structure.parents[m], m)}
    around = sorted(families - set(group.unknown))
    first, which = distinct(part, around, sizes)
    part = part[:, first]
    if len(answer) == 1 and group.factors == group.unknown == answer:
        return tables.lookup(answer[0], part)[which]
    n_cells = math.prod(sizes[u] for u in group.unknown)
    if n_cells * len(first) > WRITTEN_OUT:
        return _contracted(tables, part, group, answer)[which]
    others = tuple(1 + i for i, u in enumerate(group.unknown) if u not in answer)
    result = WrittenOut.of(tables, group, part).product(tables).sum(axis=others)
    return np.broadcast_to(result, (len(first), *result.shape[1:]))[which]


def _contracted(
    tables: Tables, codes: Codes, group: Group, answer: tuple[int, ...]
) -> Float[Array, "n *d"]:
    """The same along a path of opt_einsum, for the rows `codes`."""
    sizes, unknown = tables.sizes, set(group.unknown)
    operands = [
        sliced(tables.probabilities[m], (*tables.structure.parents[m], m), unknown, sizes, codes)
        for m in group.factors
    ]
    has_rows = any(BATCH in axes for _, axes in operands)
    output = (BATCH, *answer) if has_rows else answer
    path, per_row = _path(operands, output)
    result = np.empty((codes.shape[1], *(sizes[u] for u in answer)))
    for rows in chunks(len(result), max(1, MAX_NUMBERS // 4 // per_row)):
        pieces: list[Any] = []
        for array, axes in operands:
            pieces += [array[rows] if BATCH in axes else array, _labels(axes)]
        result[rows] = opt_einsum.contract(*pieces, _labels(output), optimize=path)
    return result


@dataclass(frozen=True)
class WrittenOut:
    """Which numbers of the tables make up the product over few unknown variables, row by row.

    factors  the tables
    cells    for each, positions in the table laid out flat, "k f": f assignments of the unknown
             variables that it mentions, and one row for all where it mentions no known one
    aligned  for each, how its f assignments lie along the axes of the unknown
    shape    numbers of categories of the unknown
    """

    factors: tuple[int, ...]
    cells: tuple[Int[Array, "_ _"], ...]
    aligned: tuple[tuple[int, ...], ...]
    shape: tuple[int, ...]

    @classmethod
    def of(cls, tables: Tables, group: Group, codes: Codes) -> WrittenOut:
        """The positions for rows `codes` that the group's unknown variables are missing in."""
        sizes = tables.sizes
        cells, aligned = [], []
        for m in group.factors:
            family = (*tables.structure.parents[m], m)
            steps = np.cumprod([1, *(sizes[u] for u in family[:0:-1])])[::-1].tolist()
            step = dict(zip(family, steps, strict=True))
            free = [u for u in group.unknown if u in step]
            fixed = [u for u in family if u not in free]
            at = np.zeros((codes.shape[1] if fixed else 1, 1), dtype=np.intp)
            for u in fixed:
                at[:, 0] += step[u] * codes[u].astype(np.intp)
            for u in free:
                along = step[u] * np.arange(sizes[u])
                at = (at[:, :, None] + along).reshape(len(at), -1)
            cells.append(at)
            aligned.append(tuple(sizes[u] if u in step else 1 for u in group.unknown))
        shape = tuple(sizes[u] for u in group.unknown)
        return cls(group.factors, tuple(cells), tuple(aligned), shape)

    def product(self, tables: Tables) -> Float[Array, "k *d"]:
        """The product of the factors: one axis of rows, then one per unknown variable."""
        k = max(len(at) for at in self.cells)
        result = np.ones((k, *self.shape))
        for m, at, aligned in zip(self.factors, self.cells, self.aligned, strict=True):
            result *= tables.probabilities[m].reshape(-1)[at].reshape(-1, *aligned)
        return result


def _labels(axes: Sequence[int]) -> list[int]:
    return [axis + 1 for axis in axes]


def _path(
    operands: Sequence[tuple[Array, tuple[int, ...]]], output: Sequence[int]
) -> tuple[Any, int]:
    """A contraction path, and the numbers that its largest intermediate result has per row."""
    pieces: list[Any] = []
    for array, axes in operands:
        pieces += [array[:1] if BATCH in axes else array, _labels(axes)]
    largest = 0
    for effort in ("auto", "random-greedy"):
        path, info = opt_einsum.contract_path(*pieces, _labels(output), optimize=effort)
        largest = int(info.largest_intermediate)
        if largest <= MAX_NUMBERS:
            return path, largest
    raise ValueError(
        f"exact inference among {len(operands)} tables needs {largest:,} numbers at once, more "
        f"than {MAX_NUMBERS:,}; pass more of the variables, or a structure with fewer parents"
    )


def sliced(
    table: Array,
    family: tuple[int, ...],
    unknown: set[int],
    sizes: Sequence[int],
    codes: Codes,
) -> tuple[Array, tuple[int, ...]]:
    """The table at the known values of every row: axes of rows (if any is known) and unknown."""
    free = tuple(u for u in family if u in unknown)
    fixed = tuple(u for u in family if u not in unknown)
    if not fixed:
        return table, free
    turned = np.transpose(table, [family.index(u) for u in (*fixed, *free)])
    flat = turned.reshape(math.prod(sizes[u] for u in fixed), *turned.shape[len(fixed) :])
    return flat[configurations(fixed, sizes, codes)], (BATCH, *free)


def distinct(
    codes: Codes, variables: Sequence[int], sizes: Sequence[int]
) -> tuple[Int[Array, " k"], Int[Array, " n"]]:
    """One row for each combination of values of the variables, and which of them each row has."""
    n, size = codes.shape[1], math.prod(sizes[u] for u in variables)
    if size > 2**62:  # the combinations have no number of their own; answer every row
        return np.arange(n), np.arange(n)
    at = configurations(variables, sizes, codes)
    if size > 4 * n + 1024:
        _, first, which = np.unique(at, return_index=True, return_inverse=True)
        return first, which
    row_of = np.full(size, -1, dtype=np.intp)
    row_of[at] = np.arange(n)
    present = np.flatnonzero(row_of >= 0)
    place = np.empty(size, dtype=np.intp)
    place[present] = np.arange(len(present))
    return row_of[present], place[at]
