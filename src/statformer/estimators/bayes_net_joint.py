"""The most probable combination of all unknown cells of a row: variable elimination by maximum.

    argmax over the unknown of the product of the tables, at the known cells

The sums of `bayes_net_inference` become maxima, of logarithms; which category attained a maximum
is remembered, and read backwards at the end (Dawid 1992).

Axes: v variables, n rows, d categories. Codes are "v n", -1 where unknown.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from statformer.estimators.bayes_net_groups import Group, all_groups
from statformer.estimators.bayes_net_inference import (
    BATCH,
    MAX_NUMBERS,
    distinct,
    most_probable,
    sliced,
)
from statformer.estimators.bayes_net_tables import Codes, Tables, chunks

Array = np.ndarray
Factor = tuple[Array, tuple[int, ...]]  # logarithms, and the variables of its axes


def most_probable_together(tables: Tables, codes: Codes) -> Codes:
    """The rows with all unknown cells at their most probable combination, given the known cells.

    Of equally probable combinations one is taken. A row whose known cells are impossible together
    has none; its cells are filled one by one (see `most_probable`).

    Raises ValueError where a maximum needs more than `MAX_NUMBERS` numbers for a row.
    """
    filled = codes.copy()
    for group in all_groups(tables, codes, barren=True):
        family = {u for m in group.factors for u in (*tables.structure.parents[m], m)}
        part = codes[:, group.rows]
        first, which = distinct(part, sorted(family - set(group.unknown)), tables.sizes)
        best, attained = _best(tables, part[:, first], group)
        unknown = np.array(group.unknown)
        filled[unknown[:, None], group.rows] = best[:, which]
        lost = group.rows[~np.isfinite(attained)[which]]
        if len(lost):
            alone = most_probable(tables, codes[:, lost])
            filled[unknown[:, None], lost] = alone[unknown]
    return filled


def _best(
    tables: Tables, codes: Codes, group: Group
) -> tuple[Int[Array, "u n"], Float[Array, " n"]]:
    """Categories of the group's unknown variables, and the logarithm that they attain, by row."""
    sizes = tables.sizes
    order, largest = _order(group, tables)
    if largest > MAX_NUMBERS:
        raise ValueError(
            f"the most probable combination of {len(order)} unknown cells needs {largest:,} "
            f"numbers at once, more than {MAX_NUMBERS:,}; pass joint=False, which needs no more "
            "than predict_proba"
        )
    found = np.empty((len(sizes), codes.shape[1]), dtype=codes.dtype)
    attained = np.empty(codes.shape[1])
    for rows in chunks(codes.shape[1], max(1, MAX_NUMBERS // 4 // largest)):
        with np.errstate(divide="ignore"):
            factors: list[Factor] = [
                (np.log(array), axes)
                for array, axes in (
                    sliced(
                        tables.probabilities[m],
                        (*tables.structure.parents[m], m),
                        set(group.unknown),
                        sizes,
                        codes[:, rows],
                    )
                    for m in group.factors
                )
            ]
        found[:, rows], attained[rows] = _eliminated(factors, order, sizes, rows.stop - rows.start)
    return found[list(group.unknown)], attained


def _eliminated(
    factors: list[Factor], order: Sequence[int], sizes: Sequence[int], n: int
) -> tuple[Int[Array, "v n"], Float[Array, " n"]]:
    """Maximise over one variable after the other, then read the categories backwards."""
    remembered: list[tuple[int, Factor]] = []
    for u in order:
        joined = [factor for factor in factors if u in factor[1]]
        axes = tuple(sorted({axis for _, of in joined for axis in of}))
        total: Array = sum(_spread(factor, axes) for factor in joined)  # type: ignore[assignment]
        rest = tuple(axis for axis in axes if axis != u)
        at = axes.index(u)
        remembered.append((u, (total.argmax(axis=at), rest)))
        factors = [factor for factor in factors if u not in factor[1]]
        factors.append((total.max(axis=at), rest))
    attained = np.zeros(n)
    for array, _ in factors:
        attained = attained + array
    found = np.zeros((len(sizes), n), dtype=np.intp)
    for u, (best, axes) in reversed(remembered):
        found[u] = best[tuple(np.arange(n) if axis == BATCH else found[axis] for axis in axes)]
    return found, attained


def _spread(factor: Factor, axes: tuple[int, ...]) -> Array:
    """The factor with an axis of length 1 for each of the `axes` that it lacks."""
    array, of = factor
    ordered = np.transpose(array, np.argsort(of, kind="stable"))
    return np.expand_dims(ordered, tuple(i for i, axis in enumerate(axes) if axis not in of))


def _order(group: Group, tables: Tables) -> tuple[list[int], int]:
    """Variables in the order of their elimination, the smallest table next; and the largest one."""
    unknown = set(group.unknown)
    scopes = [{u for u in (*tables.structure.parents[m], m) if u in unknown} for m in group.factors]
    order: list[int] = []
    largest = 1

    def joined(u: int) -> set[int]:
        return set().union(*(scope for scope in scopes if u in scope))

    while len(order) < len(unknown):
        costs = {
            u: math.prod(tables.sizes[w] for w in joined(u)) for u in sorted(unknown - set(order))
        }
        u = min(costs, key=lambda w: costs[w])
        largest = max(largest, costs[u])
        scope = joined(u) - {u}
        scopes = [*(s for s in scopes if u not in s), scope]
        order.append(u)
    return order, largest
