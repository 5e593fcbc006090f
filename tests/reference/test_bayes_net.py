"""Counting, sampling and the graph behind them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from statformer.reference.bayes_net import (
    CycleError,
    Structure,
    ancestral_sample,
    backed_off,
    closest_rows,
    conditional_frequencies,
    count,
    joint,
)

WET_GRASS = Structure(((), (0,), (0,), (1, 2)))  # cloudy, rain, sprinkler, grass
TABLES = [
    np.array([0.4, 0.6]),
    np.array([[0.9, 0.1], [0.2, 0.8]]),
    np.array([[0.5, 0.5], [0.9, 0.1]]),
    np.array([[[1.0, 0.0], [0.1, 0.9]], [[0.2, 0.8], [0.05, 0.95]]]),
]


def test_parents_come_first() -> None:
    assert Structure(((2,), (0,), ())).order == (2, 0, 1)
    assert WET_GRASS.order == (0, 1, 2, 3)
    assert WET_GRASS.in_degree == 2
    assert WET_GRASS.ancestors([2]) == {0, 2}


@pytest.mark.parametrize(
    ("parents", "cycle"),
    [
        (((0,),), {0}),
        (((1,), (0,)), {0, 1}),
        (((), (0, 3), (1,), (2,), (3,)), {1, 2, 3}),
    ],
)
def test_a_cycle_is_refused_and_named(
    parents: tuple[tuple[int, ...], ...], cycle: set[int]
) -> None:
    with pytest.raises(CycleError, match="form a cycle") as caught:
        Structure(parents)
    walk = caught.value.cycle
    assert walk[0] == walk[-1]
    assert set(walk) == cycle
    assert all(a in parents[b] for a, b in pairwise(walk))


@pytest.mark.parametrize("parents", [((1,),), ((-1,),), ((), (0, 0))])
def test_a_wrong_parent_is_refused(parents: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(ValueError, match="parents of variable"):
        Structure(parents)


def test_counts_and_frequencies_by_hand() -> None:
    X = np.array([[0, 1], [0, 1], [0, 0], [1, 2]])
    root, child = count(Structure(((), (0,))), (3, 3), X, np.array([1.0, 2.0, 1.0, 0.5]))
    np.testing.assert_array_equal(root, [4.0, 0.5, 0.0])
    np.testing.assert_array_equal(child, [[1, 3, 0], [0, 0, 0.5], [0, 0, 0]])
    frequencies = conditional_frequencies([root, child])
    np.testing.assert_allclose(frequencies[1][:2], [[0.25, 0.75, 0.0], [0.0, 0.0, 1.0]])
    assert np.isnan(frequencies[1][2]).all()
    np.testing.assert_allclose(conditional_frequencies([child], 1.0)[0][2], 1 / 3)


def test_unseen_configurations_take_the_closest_rows() -> None:
    X = np.array([[0, 0, 1], [0, 1, 0], [0, 1, 1], [1, 0, 1]])
    structure = Structure(((), (), (0, 1)))
    rows, most = closest_rows(X, (0, 1), (1, 1))
    np.testing.assert_array_equal(rows, [1, 2, 3])
    assert most == 1
    np.testing.assert_allclose(backed_off(structure, (2, 2, 2), X, 2, (1, 1)), [1 / 3, 2 / 3])
    np.testing.assert_allclose(backed_off(structure, (2, 2, 2), X, 2, (0, 1)), [0.5, 0.5])


def test_samples_follow_the_joint_law() -> None:
    p = joint(WET_GRASS, TABLES)
    assert p.sum() == pytest.approx(1.0)
    assert p[1, 1, 0, 1] == pytest.approx(0.6 * 0.8 * 0.9 * 0.8)
    X = ancestral_sample(WET_GRASS, TABLES, 4000, np.random.default_rng(0))
    seen = np.zeros_like(p)
    np.add.at(seen, tuple(X.T), 1 / len(X))
    assert 0.5 * np.abs(seen - p).sum() < 0.04
    tables = conditional_frequencies(count(WET_GRASS, (2, 2, 2, 2), X))
    for found, truth in zip(tables, TABLES, strict=True):
        np.testing.assert_allclose(found, truth, atol=0.08)
