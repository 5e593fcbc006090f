"""The best structure by local scores: free choice in a known order, exact search in none.

The score of a structure is the sum over its variables of a score of the variable's parents. In a
known order every variable takes its best parents by itself. Without one, the best structure over
all orders is found exactly, by dynamic programming over the subsets of the variables (Silander and
Myllymaki 2006): the best last variable of a subset, and before it the best of what is left.

Axes: v variables, s candidate sets of parents of a variable, the small ones first. A
subset of the variables is a whole number, with bit u set for variable u.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from statformer.reference.bayes_net import Structure

Array = np.ndarray
ParentSet = tuple[int, ...]


def best_in_order(
    candidates: Sequence[Sequence[ParentSet]], scores: Sequence[Float[Array, " _"]]
) -> Structure:
    """The best set of every variable; the first, and so the smallest, of equally good ones.

    The candidates of a variable must lie before it in one order of all of them.
    """
    return Structure(
        tuple(sets[int(np.argmax(of))] for sets, of in zip(candidates, scores, strict=True))
    )


def best_in_any_order(
    candidates: Sequence[Sequence[ParentSet]], scores: Sequence[Float[Array, " _"]]
) -> Structure:
    """A structure of the greatest score among all acyclic ones.

    Needs 2^v (8 v + 9) bytes, and about v^2 2^v additions.
    """
    v = len(candidates)
    choices = [_best_within(v, sets, of) for sets, of in zip(candidates, scores, strict=True)]
    total = np.zeros(1 << v)
    last = np.zeros(1 << v, dtype=np.int8)
    subsets = np.arange(1 << v)
    size = np.bitwise_count(subsets)
    for k in range(1, v + 1):
        of_size = subsets[size == k]
        best = np.full(len(of_size), -np.inf)
        for m in range(v):
            holds = np.flatnonzero(of_size >> m & 1)
            left = of_size[holds] ^ (1 << m)
            found = total[left] + scores[m][choices[m][left]]
            better = found > best[holds]
            best[holds[better]] = found[better]
            last[of_size[holds[better]]] = m
        total[of_size] = best
    parents: list[ParentSet] = [()] * v
    left_over = (1 << v) - 1
    while left_over:
        m = int(last[left_over])
        left_over ^= 1 << m
        parents[m] = candidates[m][choices[m][left_over]]
    return Structure(tuple(parents))


def _best_within(v: int, sets: Sequence[ParentSet], scores: Float[Array, " s"]) -> Int[Array, " p"]:
    """Of every subset of the variables, which candidate set within it scores highest.

    A set is passed on to the subsets with one variable more, one variable at a time.
    """
    chosen = np.full(1 << v, -1, dtype=np.int32)
    for i, parents in enumerate(sets):
        chosen[sum(1 << p for p in parents)] = i
    of_chosen = np.where(chosen >= 0, scores[chosen], -np.inf)
    for m in range(v):
        shape = (-1, 2, 1 << m)
        score, choice = of_chosen.reshape(shape), chosen.reshape(shape)
        better = score[:, 0] > score[:, 1]
        # of equally good sets the smaller one, which is a candidate before the larger
        better |= (score[:, 0] == score[:, 1]) & (choice[:, 0] < choice[:, 1])
        score[:, 1][better] = score[:, 0][better]
        choice[:, 1][better] = choice[:, 0][better]
    return chosen
