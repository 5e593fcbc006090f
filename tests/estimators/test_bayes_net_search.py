"""The search finds the best of all structures; classes and distances follow their definitions."""

from __future__ import annotations

from collections import defaultdict
from functools import cache
from itertools import combinations, product

import numpy as np
import pytest

from statformer.estimators.bayes_net_classes import equivalence_class, hamming_distance
from statformer.estimators.bayes_net_search import best_in_any_order, best_in_order
from statformer.nn.parent_set_candidates import all_subsets
from statformer.reference.bayes_net import CycleError, Structure

CHAIN = Structure(((), (0,), (1,)))
FORK = Structure(((1,), (), (1,)))
COLLIDER = Structure(((), (0, 2), ()))


@cache
def every_structure(v: int) -> list[Structure]:
    found = []
    choices = [all_subsets([u for u in range(v) if u != m], v) for m in range(v)]
    for parents in product(*choices):
        try:
            found.append(Structure(parents))
        except CycleError:
            continue
    return found


def edges(structure: Structure) -> set[tuple[int, int]]:
    return {(p, m) for m, parents in enumerate(structure.parents) for p in parents}


def independences(structure: Structure) -> tuple[frozenset, frozenset]:
    """Neighbours and colliders, which say which networks are equivalent."""
    joined = frozenset(frozenset(edge) for edge in edges(structure))
    colliders = frozenset(
        (frozenset(pair), m)
        for m, parents in enumerate(structure.parents)
        for pair in combinations(parents, 2)
        if frozenset(pair) not in joined
    )
    return joined, colliders


def test_classes_are_what_their_members_share() -> None:
    members = defaultdict(list)
    for structure in every_structure(4):
        members[independences(structure)].append(structure)
    assert len(every_structure(4)) == 543  # Robinson 1973
    assert len(members) == 185  # Gillispie and Perlman 2002
    for of_class in members.values():
        common = set.intersection(*(edges(one) for one in of_class))
        pairs = {(min(e), max(e)) for e in edges(of_class[0]) - common}
        for one in of_class:
            found = equivalence_class(one)
            assert found.directed == common
            assert found.undirected == pairs


def test_every_rule_is_needed_somewhere() -> None:
    kept = Structure(((), (), (0, 1), (2,)))  # w -> u, so u -> m
    assert equivalence_class(kept).directed == {(0, 2), (1, 2), (2, 3)}
    kite = Structure(((), (0,), (0,), (0, 1, 2)))  # 0 - 1 -> 3 <- 2 - 0, so 0 -> 3
    assert equivalence_class(kite).directed == {(1, 3), (2, 3), (0, 3)}
    assert equivalence_class(kite).undirected == {(0, 1), (0, 2)}


def test_distances_count_pairs_of_variables() -> None:
    assert hamming_distance(CHAIN, FORK) == 0
    assert hamming_distance(CHAIN, COLLIDER) == 2  # both edges become directed
    assert hamming_distance(CHAIN, Structure(((), (), (1,)))) == 1
    assert hamming_distance(Structure(((), (), ())), Structure(((), (0,), (0, 1)))) == 3
    rng = np.random.default_rng(0)
    every = every_structure(4)
    for _ in range(50):
        a, b, c = (every[i] for i in rng.integers(len(every), size=3))
        assert hamming_distance(a, b) == hamming_distance(b, a)
        assert hamming_distance(a, c) <= hamming_distance(a, b) + hamming_distance(b, c)
        assert (hamming_distance(a, b) == 0) == (independences(a) == independences(b))
    with pytest.raises(ValueError, match="second has 2 variables and first 3"):
        hamming_distance(CHAIN, Structure(((), (0,))))


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("most", [1, 3])
def test_no_structure_scores_higher(seed: int, most: int) -> None:
    rng = np.random.default_rng(seed)
    candidates = [all_subsets([u for u in range(4) if u != m], most) for m in range(4)]
    scores = [rng.normal(size=len(sets)) for sets in candidates]

    def total(structure: Structure) -> float:
        places = [sets.index(tuple(sorted(parents))) for sets, parents in pairs(structure)]
        return float(sum(of[i] for of, i in zip(scores, places, strict=True)))

    def pairs(structure: Structure) -> list:
        return list(zip(candidates, structure.parents, strict=True))

    possible = [one for one in every_structure(4) if one.in_degree <= most]
    found = best_in_any_order(candidates, scores)
    assert total(found) == pytest.approx(max(total(one) for one in possible))
    scores[0] = np.zeros(len(scores[0]))
    scores[0][1:] = -1.0  # variable 0 takes none
    assert best_in_any_order(candidates, scores).parents[0] == ()


def test_a_known_order_leaves_every_variable_its_best_parents() -> None:
    candidates = [all_subsets(range(m), m) for m in range(4)]
    rng = np.random.default_rng(0)
    scores = [rng.normal(size=len(sets)) for sets in candidates]
    found = best_in_order(candidates, scores)
    for parents, sets, of in zip(found.parents, candidates, scores, strict=True):
        assert parents == sets[of.argmax()]


def test_equally_good_parents_are_the_fewest() -> None:
    candidates = [all_subsets([u for u in range(3) if u != m], 2) for m in range(3)]
    flat = [np.zeros(len(sets)) for sets in candidates]
    assert best_in_any_order(candidates, flat).parents == ((), (), ())
    assert best_in_order(candidates, flat).parents == ((), (), ())
