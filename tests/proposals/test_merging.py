"""Micro-clusters and the habits of merging them: shapes, the one rule, weights, edges."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from statformer.proposals.connections import connect, spacings
from statformer.proposals.linkages import HABITS, valley_linkage
from statformer.proposals.merging import (
    Micro,
    merge_labels,
    merge_owners,
    micro_clusters,
    micro_readout,
    owned_labels,
)


def rings(rng: np.random.Generator, n: int = 300) -> tuple[np.ndarray, np.ndarray]:
    angle, y = rng.uniform(0, 2 * np.pi, n), np.arange(n) % 2
    radius = np.where(y == 0, 1.0, 3.0) + 0.08 * rng.normal(size=n)
    return np.c_[radius * np.cos(angle), radius * np.sin(angle)], y


def blobs(rng: np.random.Generator, n: int = 200, d: int = 3) -> tuple[np.ndarray, np.ndarray]:
    y = np.arange(n) % 4
    return rng.normal(size=(n, d)) + 9.0 * rng.permutation(np.eye(4, d) - 0.5)[y], y


def micro_of(X: np.ndarray, weight: np.ndarray | None = None, **kwargs: int) -> Micro:
    weight = np.ones(len(X)) if weight is None else weight
    return micro_clusters(X, weight, np.random.default_rng(0), **kwargs)


@pytest.mark.parametrize("habit", HABITS)
def test_every_habit_separates_rings(habit: str) -> None:
    X, y = rings(np.random.default_rng(1))
    labels = merge_labels(micro_of(X), [2])[habit][0]
    assert adjusted_rand_score(y, labels) > 0.95


@pytest.mark.parametrize("habit", HABITS)
def test_every_habit_separates_clear_blobs(habit: str) -> None:
    X, y = blobs(np.random.default_rng(2))
    assert adjusted_rand_score(y, merge_labels(micro_of(X), [4])[habit][0]) > 0.9


def test_without_connections_nothing_is_found() -> None:
    """The habits read the connections and nothing else: shuffled ones lose the rings."""
    X, y = rings(np.random.default_rng(1))
    micro = micro_of(X)
    shuffled = np.random.default_rng(3).permutation(len(micro.means))
    broken = connect(X, np.ones(len(X)), shuffled[micro.labels])
    owners = valley_linkage(broken, [2])
    assert adjusted_rand_score(y, owned_labels(micro, owners)[0]) < 0.5


def test_a_stray_row_is_no_cluster_of_its_own() -> None:
    rng = np.random.default_rng(4)
    X = np.r_[rng.normal(size=(100, 2)), rng.normal(size=(100, 2)) + 8.0, [[30.0, -30.0]]]
    y = np.repeat([0, 1], 100)
    labels = merge_labels(micro_of(X), [2])
    for habit in ("gap", "valley"):
        assert adjusted_rand_score(y, labels[habit][0][:200]) > 0.9, habit


def test_labels_follow_the_one_rule_row_by_row() -> None:
    X, _ = blobs(np.random.default_rng(5), d=2)
    micro = micro_of(X)
    readout = micro_readout(micro)
    labels = merge_labels(micro, [1, 3, 6])
    for habit, owners in merge_owners(micro, [1, 3, 6]).items():
        for owner, row in zip(owners, labels[habit], strict=True):
            for i in range(0, len(X), 17):
                squared = ((X[i] - readout.means) ** 2).sum(axis=1)
                p = readout.weights * np.exp(-squared / (2.0 * readout.variance))
                assert row[i] == np.bincount(owner, p).argmax()
            np.testing.assert_array_equal(readout.labels(X, owner), row)


def test_responsibilities_are_sums_of_shares() -> None:
    X, _ = rings(np.random.default_rng(6))
    micro = micro_of(X)
    owner = merge_owners(micro, [3])["gap"][0]
    r = micro_readout(micro).responsibilities(X[:50], owner)
    assert r.shape == (50, 3)
    np.testing.assert_allclose(r.sum(axis=1), 1.0, atol=1e-12)
    np.testing.assert_allclose(r[:, 1], micro.shares[:50][:, owner == 1].sum(axis=1), atol=1e-12)


def test_micro_clusters_are_nearest_means() -> None:
    X, _ = blobs(np.random.default_rng(7), n=700)
    for micro in (micro_of(X), micro_of(X, max_rows=200)):
        squared = ((X[:, None] - micro.means[None]) ** 2).sum(axis=-1)
        np.testing.assert_array_equal(micro.labels, squared.argmin(axis=1))
        assert micro.readout.weights.sum() == pytest.approx(1.0)


def test_owner_maps_nest_and_number_from_zero() -> None:
    X, _ = blobs(np.random.default_rng(8))
    counts = [1, 2, 3, 5, 8]
    for habit, owners in merge_owners(micro_of(X), counts).items():
        for owner, count in zip(owners, counts, strict=True):
            assert len(np.unique(owner)) <= count
            assert owner.max() + 1 == len(np.unique(owner))
        if habit != "spectral":
            for fine, coarse in zip(owners[1:], owners, strict=False):
                assert all(len(np.unique(coarse[fine == k])) == 1 for k in np.unique(fine))
                assert len(np.unique(fine)) == fine.max() + 1


def test_a_weight_of_two_is_two_rows() -> None:
    X, _ = rings(np.random.default_rng(9), 160)
    twice = np.arange(160) % 3 == 0
    weight = np.where(twice, 2.0, 1.0)
    repeated = np.repeat(X, weight.astype(int), axis=0)
    weighted, copied = micro_of(X, weight), micro_of(repeated)
    np.testing.assert_allclose(weighted.means, copied.means, atol=1e-12)
    ours, theirs = merge_labels(weighted, [2, 4]), merge_labels(copied, [2, 4])
    for habit in HABITS:
        np.testing.assert_array_equal(
            np.repeat(ours[habit], weight.astype(int), axis=1), theirs[habit], err_msg=habit
        )


def test_rows_of_weight_zero_only_receive_labels() -> None:
    X, _ = rings(np.random.default_rng(10))
    extra = np.r_[X, [[0.0, 0.0], [50.0, 50.0]]]
    weight = np.r_[np.ones(len(X)), 0.0, 0.0]
    with_extra, without = micro_of(extra, weight), micro_of(X)
    np.testing.assert_allclose(with_extra.means, without.means)
    labels = merge_labels(with_extra, [2])["valley"]
    np.testing.assert_array_equal(labels[:, :-2], merge_labels(without, [2])["valley"])
    assert labels.shape == (1, len(extra))


def test_small_weights_act_as_their_ratios() -> None:
    X, _ = rings(np.random.default_rng(11))
    plain, small = micro_of(X), micro_of(X, np.full(len(X), 1.0 / len(X)))
    np.testing.assert_allclose(plain.means, small.means, atol=1e-9)
    for habit in HABITS:
        np.testing.assert_array_equal(
            merge_labels(plain, [2])[habit], merge_labels(small, [2])[habit]
        )


def test_spacings_by_hand() -> None:
    X = np.array([0.0, 1.0, 3.0, 7.0] + [100.0 + i for i in range(8)])
    distance = np.abs(X[:, None] - X[None, :])
    (plain,) = spacings(distance, np.ones(12), (2,))
    np.testing.assert_allclose(plain[:4], [3.0, 2.0, 3.0, 6.0])
    (weighted,) = spacings(distance, np.r_[1.0, 2.0, np.ones(10)], (2,))
    np.testing.assert_allclose(weighted[:4], [1.0, 1.0, 2.0, 6.0])


@pytest.mark.parametrize("n", [1, 2, 3, 5, 61])
@pytest.mark.parametrize("d", [1, 3, 40])
@pytest.mark.parametrize("kind", ["normal", "constant", "duplicates", "constant columns", "huge"])
def test_any_table_gets_finite_answers(n: int, d: int, kind: str) -> None:
    rng = np.random.default_rng(12)
    X = rng.normal(size=(n, d))
    if kind == "constant":
        X[:] = 3.0
    elif kind == "duplicates":
        X = X[rng.integers(0, max(1, n // 3), n)]
    elif kind == "constant columns":
        X[:, ::2] = -1.0
    elif kind == "huge":
        X[0] = 1e8
    micro = micro_of(X)
    counts = [1, 2, 7, 200]
    distinct = len(np.unique(X, axis=0))
    assert len(micro.means) <= distinct
    assert np.isfinite(micro.shares).all()
    assert micro.readout.variance > 0
    for habit, labels in merge_labels(micro, counts).items():
        assert labels.shape == (4, n)
        assert labels.min() >= 0
        for row, count in zip(labels, counts, strict=True):
            assert row.max() < min(count, len(micro.means)), habit


def test_the_generator_decides_and_nothing_else() -> None:
    X, _ = blobs(np.random.default_rng(13), n=1500)
    once, again = micro_of(X, max_rows=300), micro_of(X, max_rows=300)
    np.testing.assert_array_equal(once.means, again.means)
    other = micro_clusters(X, np.ones(1500), np.random.default_rng(1), max_rows=300)
    assert not np.array_equal(once.means, other.means)


def test_errors_name_the_argument() -> None:
    X = np.zeros((3, 2))
    with pytest.raises(ValueError, match="weight is 0 for every row"):
        micro_of(X, np.zeros(3))
    with pytest.raises(ValueError, match="counts has 0"):
        merge_owners(micro_of(X), [2, 0])
