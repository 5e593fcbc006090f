"""A structure that a network of candidate parent sets reads from the rows.

For every variable the network gives each candidate set s of parents a logit, and with them

    p(s | rows) = softmax over s of the logits

in a known order. Without one, the logits are the local scores of an exact search over all
structures (`bayes_net_search`), for which they must add up to log p(structure, rows). Which sets
are candidates is said here.

Axes: v variables, n rows, s candidate sets. Codes are "v n".
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from statformer.estimators.bayes_net_inference import distinct
from statformer.estimators.bayes_net_search import (
    ParentSet,
    best_in_any_order,
    best_in_order,
)
from statformer.estimators.bayes_net_tables import Codes
from statformer.nn.parent_set_candidates import all_subsets
from statformer.nn.parent_sets import ParentSetNetwork
from statformer.reference.bayes_net import Structure

Array = np.ndarray

MAX_SETS = 2**11  # candidate sets of a variable
MAX_CELLS = 2**19  # cells of their tables, for a variable
MAX_UNORDERED = 16  # variables without an order: the search visits all their subsets


@dataclass(frozen=True)
class Reading:
    """What was read: the best structure, and the logits of the candidate sets of every variable.

    candidates     sets of variables, ascending
    logits         one array "s" per variable
    probabilities  p(s | rows), one array "s" per variable; they tell of edges in a known order only
    """

    structure: Structure
    is_ordered: bool
    candidates: tuple[Sequence[ParentSet], ...]
    logits: tuple[Float[Array, " _"], ...]
    probabilities: tuple[Float[Array, " _"], ...]

    def edge_probabilities(self) -> Float[Array, "v v"]:
        """p(u is a parent of v | rows) at [u, v]: the sum over the candidate sets that hold u."""
        found = np.zeros((len(self.candidates),) * 2)
        for m, (sets, p) in enumerate(zip(self.candidates, self.probabilities, strict=True)):
            for parents, of in zip(sets, p, strict=True):
                found[list(parents), m] += of
        return found

    def strengths(self) -> dict[tuple[int, int], float]:
        """Nats that each edge (parent, child) is worth: logit of the parents, minus without it."""
        found = {}
        for m, parents in enumerate(self.structure.parents):
            place = {s: i for i, s in enumerate(self.candidates[m])}
            for u in parents:
                without = tuple(p for p in parents if p != u)
                logits = self.logits[m]
                found[u, m] = float(logits[place[parents]] - logits[place[without]])
        return found


def read_rows(
    network: ParentSetNetwork,
    codes: Codes,
    sizes: Sequence[int],
    weight: Float[Array, " n"] | None,
    order: Sequence[int] | None,
    most: int,
) -> Reading:
    """The best structure of at most `most` parents, in a known order or over all of them.

    Rows that are equal are read once, with their weights added.
    """
    v = len(sizes)
    first, which = distinct(codes, range(v), sizes)
    X = np.ascontiguousarray(codes[:, first].T)
    joined = np.bincount(which, weight, len(first)).astype(np.float64)
    place = range(v) if order is None else np.argsort(order).tolist()
    candidates, logits, probabilities = [], [], []
    for m in range(v):
        others = [u for u in range(v) if u != m and (order is None or place[u] < place[m])]
        candidates.append(all_subsets(others, most))
        answer = network(X, sizes, m, candidates[m], joined, n_predecessors=len(others))
        logits.append(answer.logits)
        probabilities.append(answer.probabilities)
    search = best_in_any_order if order is None else best_in_order
    structure = search(candidates, logits)
    every = (tuple(candidates), tuple(logits), tuple(probabilities))
    return Reading(structure, order is not None, *every)


def most_parents(
    sizes: Sequence[int], names: Sequence[Hashable], asked: int | None, *, ordered: bool
) -> int:
    """The number of parents to seek: `asked`, or as many as the limits of this module allow.

    Raises ValueError where there are too many variables without an order, where two columns have
    too many categories for any edge, or where `asked` is beyond a limit.
    """
    v = len(sizes)
    if not ordered and v > MAX_UNORDERED:
        raise ValueError(
            f"structure=None seeks the best of all orders of at most {MAX_UNORDERED} columns, and "
            f"df has {v}; pass order= with the columns, parents before children, or fewer columns"
        )
    possible = min(_possible(sizes, m) for m in range(v))
    if v > 1 and possible == 0:
        two = sorted(range(v), key=lambda m: -sizes[m])[:2]
        raise ValueError(
            f"columns {names[two[0]]!r} and {names[two[1]]!r} have {sizes[two[0]]:,} and "
            f"{sizes[two[1]]:,} categories; structure=None compares tables of at most "
            f"{MAX_CELLS:,} cells in all: join categories, or pass a structure"
        )
    if asked is not None and asked > possible and asked < v:
        raise ValueError(
            f"max_parents={asked}: for {v} columns of up to {max(sizes)} categories at most "
            f"{possible} are possible (at most {MAX_SETS:,} sets of parents, with {MAX_CELLS:,} "
            f"cells in their tables); pass {possible} or less, fewer columns or join categories"
        )
    return possible if asked is None else min(asked, possible)


def _possible(sizes: Sequence[int], target: int) -> int:
    """The largest number of parents for which all candidate sets of the target are in the limits.

    The tables of all sets of k variables have e_k(sizes) configurations, with e_k the elementary
    symmetric polynomial.
    """
    others = [size for m, size in enumerate(sizes) if m != target]
    polynomial = [1]  # e_0, e_1, ... as Python integers, which do not overflow
    for size in others:
        polynomial = [a + size * b for a, b in zip([*polynomial, 0], [0, *polynomial], strict=True)]
    n_sets = n_cells = 0
    for k, configurations in enumerate(polynomial):
        n_sets += math.comb(len(others), k)
        n_cells += configurations * sizes[target]
        if n_sets > MAX_SETS or n_cells > MAX_CELLS:
            return max(0, k - 1)
    return len(others)
