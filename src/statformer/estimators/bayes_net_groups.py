"""Rows by the unknown variables that hang together, so that they can be answered at once.

Axes: v variables, n rows. Codes are "v n", -1 where unknown.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from statformer.estimators.bayes_net_tables import Codes, Tables

Array = np.ndarray


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


def groups_of(tables: Tables, codes: Codes, target: int) -> list[Group]:
    """Rows by the part of the unknown that the target is in; descendants nobody knows are left out.

    Patterns that differ elsewhere fall into one group.
    """
    found: dict[tuple[Any, ...], list[Int[Array, " n"]]] = {}
    for rows, known in patterns(codes):
        relevant = tables.structure.ancestors([*np.flatnonzero(known).tolist(), target])
        part = next(one for one in components(tables, known, relevant) if target in one[0])
        found.setdefault(part, []).append(rows)
    return [Group(np.concatenate(rows), *part) for part, rows in found.items()]


def all_groups(tables: Tables, codes: Codes, *, barren: bool) -> list[Group]:
    """Rows by every part of the unknown; a row is in as many groups as it has parts.

    Without `barren`, variables that nobody knows and that have no known descendant are left out.
    """
    found: dict[tuple[Any, ...], list[Int[Array, " n"]]] = {}
    for rows, known in patterns(codes):
        relevant = set(range(len(codes)))
        if not barren:
            relevant = tables.structure.ancestors(np.flatnonzero(known).tolist())
        for part in components(tables, known, relevant):
            found.setdefault(part, []).append(rows)
    return [Group(np.concatenate(rows), *part) for part, rows in found.items()]
