"""Networks that no table of rows tells apart: what they share, and how far two of them differ.

Two networks hold the same independences, and reach the same likelihoods, exactly where they have
the same neighbours and the same colliders u -> v <- w with u and w not joined (Verma and Pearl
1990). What they share is a graph of directed and undirected edges: an edge is directed where all
of them turn it so.

Axes: v variables, as numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

from statformer.reference.bayes_net import Structure

Edge = tuple[int, int]


@dataclass(frozen=True)
class EquivalenceClass:
    """Edges of all networks that are equivalent to one.

    directed    (parent, child), in all of them
    undirected  (u, v) with u < v, in some of them one way and in some the other
    """

    directed: frozenset[Edge]
    undirected: frozenset[Edge]


def equivalence_class(structure: Structure) -> EquivalenceClass:
    """The completed graph of a structure: colliders first, then what they force upon the rest.

    An edge is forced where its other direction would make a new collider or a cycle (the first
    three rules of Meek 1995, which suffice where nothing but the colliders is known).
    """
    joined = {frozenset((p, m)) for m, parents in enumerate(structure.parents) for p in parents}
    directed = {
        (u, m)
        for m, parents in enumerate(structure.parents)
        for pair in combinations(parents, 2)
        if frozenset(pair) not in joined
        for u in pair
    }
    free = {edge for edge in joined if not any(frozenset(one) == edge for one in directed)}
    while True:
        forced = {
            (u, m)
            for edge in free
            for u, m in (tuple(edge), tuple(edge)[::-1])
            if _is_forced(u, m, directed, free, joined, len(structure))
        }
        if not forced:
            undirected = {(min(edge), max(edge)) for edge in free}
            return EquivalenceClass(frozenset(directed), frozenset(undirected))
        directed |= forced
        free -= {frozenset(edge) for edge in forced}


def _is_forced(
    u: int,
    m: int,
    directed: set[Edge],
    free: set[frozenset[int]],
    joined: set[frozenset[int]],
    n_variables: int,
) -> bool:
    """Whether u - m must be u -> m, given the edges that are directed so far."""
    others = [w for w in range(n_variables) if w not in (u, m)]
    if any((w, u) in directed and frozenset((w, m)) not in joined for w in others):
        return True  # m -> u would make the collider w -> u <- m
    if any((u, w) in directed and (w, m) in directed for w in others):
        return True  # m -> u would close the cycle u -> w -> m
    between = [w for w in others if frozenset((u, w)) in free and (w, m) in directed]
    # whichever way u - w and u - x turn, m -> u would close a cycle or make a collider at u
    return any(frozenset(pair) not in joined for pair in combinations(between, 2))


def hamming_distance(first: Structure, second: Structure) -> int:
    """Structural Hamming distance up to equivalence (Tsamardinos, Brown and Aliferis 2006).

    The number of pairs of variables between which the two completed graphs hold something else:
    no edge, an undirected one, one this way or that way. From 0 to v (v - 1) / 2.

    Raises ValueError where the numbers of variables differ.
    """
    if len(first) != len(second):
        raise ValueError(
            f"second has {len(second)} variables and first {len(first)}; only networks of the same "
            "variables can be compared"
        )
    one, other = (equivalence_class(structure) for structure in (first, second))
    differing = (one.directed ^ other.directed) | (one.undirected ^ other.undirected)
    return len({frozenset(edge) for edge in differing})
