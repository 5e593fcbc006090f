"""Exact inference for many rows at once: variable elimination as a tensor contraction.

Rows are grouped by the unknown variables that hang together with what is asked for. What such a
group needs of a row is its values at the variables around it, so that rows which agree there are
answered once. Products and sums over the unknown are one contraction along a path that opt_einsum
chooses.

Axes: v variables, n rows, d categories. Codes are "v n", -1 where unknown.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import opt_einsum
from jaxtyping import Bool, Float, Int

from statformer.estimators.bayes_net_tables import Codes, Tables, chunks, configurations

Array = np.ndarray

MAX_NUMBERS = 2**24  # of one intermediate result
_BATCH = -1  # the axis of the rows, beside the variables


@dataclass(frozen=True)
class Group:
    """Rows with the same unknown variables around what is asked for.

    rows     which rows
    unknown  variables to sum out or to answer
    factors  variables whose tables mention an unknown one, and that matter
    """

    rows: Int[Array, " n"]
    unknown: tuple[int, ...]
    factors: tuple[int, ...]


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
        for group in _groups(tables, part, target):
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
    with np.errstate(divide="ignore"):
        logs = [np.log(p).reshape(-1) for p in tables.probabilities]
        for rows, known in patterns(codes):
            part = codes[:, rows]
            relevant = tables.structure.ancestors(np.flatnonzero(known).tolist())
            for m in relevant:
                family = (*tables.structure.parents[m], m)
                if known[list(family)].all():
                    total[rows] += logs[m][configurations(family, tables.sizes, part)]
            for unknown, factors in components(tables, known, relevant):
                group = Group(np.arange(len(rows)), unknown, factors)
                total[rows] += np.log(contract(tables, part, group, ()))
    return total


# ---------------------------------------------------------------------------------------------
# What hangs together


def patterns(codes: Codes) -> Iterator[tuple[Int[Array, " n"], Bool[Array, " v"]]]:
    """(rows, which variables they know), for each set of known variables."""
    known = codes >= 0
    if known.shape[1] and (known == known[:, :1]).all():
        yield np.arange(known.shape[1]), known[:, 0]
        return
    packed = np.ascontiguousarray(np.packbits(known, axis=0).T)
    keys = packed.view(np.dtype((np.void, packed.shape[1]))).ravel()
    _, first, which = np.unique(keys, return_index=True, return_inverse=True)
    order = np.argsort(which, kind="stable")
    ends = np.cumsum(np.bincount(which))
    for k, i in enumerate(first):
        yield order[ends[k - 1] if k else 0 : ends[k]], known[:, i]


def components(
    tables: Tables, known: Bool[Array, " v"], relevant: set[int]
) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """(unknown variables, factors) of each part that hangs together by the factors of `relevant`.

    Two unknown variables hang together where one table mentions both.
    """
    unknown_of = {
        m: [u for u in (*tables.structure.parents[m], m) if not known[u]] for m in relevant
    }
    root = {u: u for of_m in unknown_of.values() for u in of_m}

    def find(u: int) -> int:
        while root[u] != u:
            u = root[u]
        return u

    for of_m in unknown_of.values():
        for u in of_m[1:]:
            root[find(u)] = find(of_m[0])
    parts: dict[int, tuple[list[int], list[int]]] = {}
    for u in sorted(root):
        parts.setdefault(find(u), ([], []))[0].append(u)
    for m in sorted(relevant):
        if unknown_of[m]:
            parts[find(unknown_of[m][0])][1].append(m)
    return [(tuple(unknown), tuple(factors)) for unknown, factors in parts.values()]


def _groups(tables: Tables, codes: Codes, target: int) -> list[Group]:
    """Rows by the part of the unknown that the target is in; descendants nobody knows are left out.

    Patterns that differ elsewhere fall into one group.
    """
    found: dict[tuple[Any, ...], list[Int[Array, " n"]]] = {}
    for rows, known in patterns(codes):
        relevant = tables.structure.ancestors([*np.flatnonzero(known).tolist(), target])
        part = next(one for one in components(tables, known, relevant) if target in one[0])
        found.setdefault(part, []).append(rows)
    return [Group(np.concatenate(rows), *part) for part, rows in found.items()]


# ---------------------------------------------------------------------------------------------
# Contraction


def contract(
    tables: Tables, codes: Codes, group: Group, answer: tuple[int, ...]
) -> Float[Array, "n *d"]:
    """Sum over the unknown variables, but for those of the `answer`, of the product of the factors.

    One axis of rows, in the order of `group.rows`, then one per variable of the answer.

    Raises ValueError where an intermediate result has more than `MAX_NUMBERS` numbers for a row.
    """
    sizes, part = tables.sizes, codes[:, group.rows]
    unknown = set(group.unknown)
    families = [(*tables.structure.parents[m], m) for m in group.factors]
    around = sorted({u for family in families for u in family} - unknown)
    first, which = distinct(part, around, sizes)
    if len(answer) == 1 and group.factors == group.unknown == answer:
        return tables.lookup(answer[0], part[:, first])[which]
    operands = [
        _sliced(tables.probabilities[m], family, unknown, sizes, part[:, first])
        for m, family in zip(group.factors, families, strict=True)
    ]
    shape = (len(first), *(sizes[u] for u in answer))
    output = (_BATCH, *answer) if around else answer
    path, per_row = _path(operands, output)
    result = np.empty(shape)
    for rows in chunks(len(first), max(1, MAX_NUMBERS // 4 // per_row)):
        pieces: list[Any] = []
        for array, axes in operands:
            pieces += [array[rows] if _BATCH in axes else array, _labels(axes)]
        result[rows] = opt_einsum.contract(*pieces, _labels(output), optimize=path)
    return result[which]


def _labels(axes: Sequence[int]) -> list[int]:
    return [axis + 1 for axis in axes]


def _path(
    operands: Sequence[tuple[Array, tuple[int, ...]]], output: Sequence[int]
) -> tuple[Any, int]:
    """A contraction path, and the numbers that its largest intermediate result has per row."""
    pieces: list[Any] = []
    for array, axes in operands:
        pieces += [array[:1] if _BATCH in axes else array, _labels(axes)]
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


def _sliced(
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
    return flat[configurations(fixed, sizes, codes)], (_BATCH, *free)


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
