"""Refits agree: the numbers and names of clusters go from one table to the next."""

from __future__ import annotations

import copy
import dataclasses
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import statformer
from statformer import AttentionMixture
from statformer.estimators.alignment import MIN_OVERLAP, decoded, match, overlaps

CENTRES = 12.0 * np.array([[0, 0, 0], [1, 0, 1], [0, 1, -1], [2, 1, 0]])


def week(sizes: list[int], seed: int = 0) -> np.ndarray:
    """Rows of the clusters at `CENTRES`, so many of each."""
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(len(sizes)), sizes)
    return rng.permutation(CENTRES[y] + rng.normal(size=(len(y), 3)))


def nearest(means: np.ndarray) -> list[int]:
    """Which centre each cluster sits at."""
    distance = np.linalg.norm(means[:, None] - CENTRES[None], axis=2)
    assert (distance.min(axis=1) < 2.0).all()
    return distance.argmin(axis=1).tolist()


def fit(sizes: list[int], seed: int = 0, **options: object) -> AttentionMixture:
    like = options.pop("like", None)
    model = AttentionMixture(
        sum(size > 0 for size in sizes), weights="constructed", random_state=0, **options
    )
    return model.fit(week(sizes, seed), like=like)


def test_overlaps_are_jaccard_indices() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.dirichlet(np.ones(3), size=50), rng.dirichlet(np.ones(4), size=50)
    weight = rng.random(50)
    J = overlaps(first, second, weight)
    for a in range(3):
        for b in range(4):
            smaller = weight @ np.minimum(first[:, a], second[:, b])
            larger = weight @ np.maximum(first[:, a], second[:, b])
            assert J[a, b] == pytest.approx(smaller / larger, abs=1e-12)
    np.testing.assert_allclose(np.diag(overlaps(first, first, weight)), 1.0, atol=1e-12)
    assert overlaps(np.zeros((2, 1)), np.zeros((2, 1)), np.ones(2))[0, 0] == 0.0


def hard(labels: list[int], c: int) -> np.ndarray:
    return np.eye(c)[labels]


@pytest.mark.parametrize(
    ("new", "previous", "order", "matched"),
    [
        # the same clusters under other numbers
        ([0, 0, 1, 1, 2, 2], [2, 2, 0, 0, 1, 1], [1, 2, 0], [0, 1, 2]),
        # a cluster is new: the partners keep their numbers, it gets the next one
        ([0, 0, 0, 1, 1, 2], [1, 1, 1, 0, 0, 0], [1, 0, 2], [0, 1, -1]),
        # cluster 0 vanished: cluster 2 cannot stay 2 among two, and takes the free number
        ([0, 0, 0, 1, 1, 1], [2, 2, 2, 1, 1, 1], [0, 1], [2, 1]),
        # the larger part of a split keeps the number
        ([1, 1, 0, 0, 0, 2], [0, 0, 0, 0, 0, 1], [0, 2, 1], [0, 1, -1]),
    ],
)
def test_numbers(new: list, previous: list, order: list, matched: list) -> None:
    c, k = max(new) + 1, max(previous) + 1
    found = match(overlaps(hard(new, c), hard(previous, k), np.ones(len(new))))
    np.testing.assert_array_equal(found.order, order)
    np.testing.assert_array_equal(found.matched, matched)
    assert ((found.overlap >= MIN_OVERLAP) == (found.matched >= 0)).all()


def test_a_slight_overlap_is_no_match() -> None:
    found = match(np.array([[0.9, 0.1], [0.3, MIN_OVERLAP - 0.01]]))
    np.testing.assert_array_equal(found.matched, [0, -1])
    np.testing.assert_array_equal(found.overlap, [0.9, 0.0])


def test_the_largest_sum_wins_over_the_largest_pair() -> None:
    """Both new clusters are most like cluster 0; one to one, the pairs are crossed."""
    found = match(np.array([[0.6, 0.5], [0.55, 0.3]]))
    np.testing.assert_array_equal(found.order, [1, 0])


def test_fit_like_keeps_the_numbers_when_sizes_change(weights: str | Path) -> None:
    first = AttentionMixture(4, weights=weights, random_state=0).fit(week([80, 60, 40, 20]))
    table = week([20, 40, 60, 80], seed=1)
    plain = clone(first).fit(table)
    second = clone(first).fit(table, like=first)
    assert nearest(first.means_) == nearest(second.means_) == [0, 1, 2, 3]
    assert nearest(plain.means_) != [0, 1, 2, 3], "by size, the order is another"
    np.testing.assert_array_equal(second.matched_, [0, 1, 2, 3])
    np.testing.assert_array_equal(second.cluster_names_, [0, 1, 2, 3])
    assert (second.match_overlap_ > 0.95).all()
    assert not hasattr(plain, "matched_")
    # one clustering under two numberings, in every attribute
    again = plain.align_to(first)
    for model in (second, again):
        np.testing.assert_array_equal(model.labels_, model.predict(table))
        np.testing.assert_array_equal(model.labels_, model.predict_proba(table).argmax(axis=1))
        doubt = model._mixture.doubt  # spread after the trace
        spread = (1.0 - doubt) * model.trace_[-1] + doubt / 4
        np.testing.assert_allclose(spread, model.predict_proba(table[model.context_]), atol=1e-6)
        np.testing.assert_allclose(model.weights_, [0.1, 0.2, 0.3, 0.4], atol=0.01)
        for k in range(4):
            centre = table[model.labels_ == k].mean(axis=0)
            np.testing.assert_allclose(model.means_[k], centre, atol=0.05)
    np.testing.assert_array_equal(second.labels_, again.labels_)
    np.testing.assert_array_equal(second.means_, again.means_)


def test_the_clusters_are_those_of_a_fit_without_like() -> None:
    first, table = fit([80, 60, 40]), week([30, 50, 70], seed=1)
    plain = AttentionMixture(3, weights="constructed", random_state=0).fit(table)
    like = AttentionMixture(3, weights="constructed", random_state=0).fit(table, like=first)
    order = [int(np.flatnonzero(nearest(plain.means_) == np.array(k))[0]) for k in range(3)]
    np.testing.assert_array_equal(plain.means_[order], like.means_)
    np.testing.assert_array_equal(plain.predict_proba(table)[:, order], like.predict_proba(table))
    np.testing.assert_array_equal(plain.n_components_proba_, like.n_components_proba_)


def test_names_outlive_a_week_without_their_cluster() -> None:
    first = fit([80, 60, 40])
    assert nearest(first.means_) == [0, 1, 2]
    second = fit([0, 60, 40], seed=1, like=first)  # cluster 0 vanishes
    assert nearest(second.means_) == [2, 1]
    np.testing.assert_array_equal(np.unique(second.labels_), [0, 1])
    np.testing.assert_array_equal(second.matched_, [2, 1])
    np.testing.assert_array_equal(second.cluster_names_, [2, 1])
    third = fit([0, 50, 45, 70], seed=2, like=second)  # a new one comes: name 0 is not used again
    assert nearest(third.means_) == [2, 1, 3]
    np.testing.assert_array_equal(third.matched_, [0, 1, -1])
    np.testing.assert_array_equal(third.cluster_names_, [2, 1, 3])
    assert third.match_overlap_[2] == 0.0


def test_a_new_cluster_is_not_taken_for_the_nearest_old_one() -> None:
    """A large new cluster that the previous model counts to cluster 1, while 0 vanishes."""
    second = fit([0, 30, 40, 90], seed=1, like=fit([80, 60, 40]))
    assert nearest(second.means_) == [3, 1, 2]
    np.testing.assert_array_equal(second.matched_, [-1, 1, 2])
    np.testing.assert_array_equal(second.cluster_names_, [3, 1, 2])


def test_a_cluster_that_drifts_is_still_the_same() -> None:
    first, table = fit([80, 60, 40]), week([20, 40, 60], seed=1)
    second = AttentionMixture(3, weights="constructed", random_state=0)
    drift = np.array([4.0, -3.0, 0.0])
    second.fit(table + drift, like=first)
    np.testing.assert_array_equal(second.matched_, [0, 1, 2])
    assert nearest(second.means_ - drift) == [0, 1, 2]


def test_rows_of_a_mixture_become_a_table_again() -> None:
    table = frame(week([30, 20]), "xyz").assign(two=np.resize(["u", "v", "v"], 50))
    encoder = AttentionMixture(2, weights="constructed").fit(table)._encoder
    back = decoded(encoder, encoder.encode(table)[0])
    pd.testing.assert_frame_equal(back, table, check_dtype=False)


def test_doubt_is_no_difference() -> None:
    first, second = fit([80, 60, 40]), fit([20, 40, 60], seed=1)
    plain = copy.copy(second).align_to(first).match_overlap_
    for model in (first, second):
        model._mixture = dataclasses.replace(model._mixture, doubt=0.9)
    np.testing.assert_array_equal(second.align_to(first).match_overlap_, plain)


def test_clusters_of_several_components_are_numbered_as_wholes() -> None:
    """Four components, of which two make one cluster."""
    first = fit([80, 60, 40])
    second = fit([20, 40, 30, 35], seed=1)  # by size: centres 1, 3, 2, 0
    assert nearest(second.means_) == [1, 3, 2, 0]
    owner = np.array([0, 1, 2, 1])  # the clouds at 3 and 0 are one
    second._mixture = dataclasses.replace(second._mixture, owner=owner)
    second.labels_ = owner[second.labels_]
    second.n_components_ = 3
    second._origin = dataclasses.replace(second._origin, order=np.arange(3), n_layers=0)
    table = week([20, 40, 30, 35], seed=1)
    second.align_to(first)
    assert nearest(second.means_[1:]) == [1, 2]
    np.testing.assert_array_equal(second.labels_, second.predict(table))
    np.testing.assert_allclose(second.trace_[-1], second.predict_proba(table), atol=1e-12)
    np.testing.assert_array_equal(np.bincount(second.labels_), [55, 40, 30])


def test_a_model_may_be_refitted_like_itself() -> None:
    model = fit([80, 60, 40])
    model.fit(week([20, 40, 60], seed=1), like=model)
    assert nearest(model.means_) == [0, 1, 2]
    model.fit(week([20, 40, 60], seed=1))
    assert nearest(model.means_) == [2, 1, 0]
    assert not hasattr(model, "matched_")


def test_a_saved_model_is_enough(tmp_path: Path) -> None:
    fit([80, 60, 40]).save(tmp_path / "first")
    second = fit([0, 40, 60, 70], seed=1, like=statformer.load(tmp_path / "first"))
    assert nearest(second.means_) == [3, 1, 2]
    second.save(tmp_path / "second")
    again = statformer.load(tmp_path / "second")
    for name in ("matched_", "match_overlap_", "cluster_names_"):
        np.testing.assert_array_equal(getattr(again, name), getattr(second, name))
    third = fit([30, 40, 50, 60], seed=2, like=again)
    np.testing.assert_array_equal(third.cluster_names_, [3, 1, 2, 4])
    # a loaded model may itself be aligned, given rows
    plain = AttentionMixture(3, weights="constructed", random_state=0).fit(week([20, 40, 60]))
    plain.save(tmp_path / "plain")
    loaded = statformer.load(tmp_path / "plain")
    with pytest.raises(ValueError, match="give align_to the table X"):
        loaded.align_to(fit([80, 60, 40]))
    loaded.align_to(fit([80, 60, 40]), week([20, 40, 60]))
    assert nearest(loaded.means_) == [0, 1, 2]


def test_weights_of_rows_count_in_the_comparison() -> None:
    """Repeated rows and weighted rows are compared alike."""
    first, table = fit([80, 60, 40]), week([20, 40, 60], seed=1)
    times = np.random.default_rng(0).integers(0, 3, size=len(table))
    model = AttentionMixture(3, weights="constructed", random_state=0)
    weighted = model.fit(table, sample_weight=times, like=first)
    repeated = clone(model).fit(np.repeat(table, times, axis=0), like=first)
    np.testing.assert_array_equal(weighted.means_, repeated.means_)
    np.testing.assert_allclose(weighted.match_overlap_, repeated.match_overlap_, atol=1e-12)


def test_a_context_is_compared_where_the_table_is_long() -> None:
    first = fit([80, 60, 40])
    second = fit([200, 400, 600], seed=1, like=first, max_context=100)
    assert nearest(second.means_) == [0, 1, 2]
    assert len(second._context_table[1]) == 100


def frame(values: np.ndarray, kinds: str = "xy") -> pd.DataFrame:
    table = pd.DataFrame(values, columns=["a", "b", "c"])
    return table.assign(kind=np.resize(list(kinds), len(table)))


def test_categories_and_missing_cells_are_read_by_each_model_in_its_own_way() -> None:
    model = AttentionMixture(3, weights="constructed", random_state=0)
    rng = np.random.default_rng(0)
    first = model.fit(
        frame(week([80, 60, 40])).assign(kind=rng.choice(["u", "v"], 180, p=[0.3, 0.7]))
    )
    table = frame(week([20, 40, 60], seed=1)).assign(kind=rng.choice(["u", "v"], 120, p=[0.6, 0.4]))
    table.loc[[3, 50], "b"] = np.nan
    second = clone(model)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        second.fit(table, like=first)
    assert len(caught) <= 1, "the comparison repeats no warning"
    names = [model.encoded_feature_names_[-1] for model in (first, second)]
    assert names == ["kind=u", "kind=v"], "the two read the column in their own ways"
    np.testing.assert_array_equal(second.matched_, [0, 1, 2])


OTHER_TABLES: dict[str, tuple[Callable, str]] = {
    "a column gone": (lambda t: t.drop(columns="b"), "previous model has 'b'"),
    "a new column": (lambda t: t.assign(e=t["a"] ** 2), "previous model lacks 'e'"),
    "another name": (lambda t: t.rename(columns={"a": "A"}), "has 'a'; the previous model lacks"),
    "another order": (lambda t: t[["b", "a", "c", "kind"]], "another order"),
    "another kind": (lambda t: t.assign(kind=t["a"] + 1.0), "categories in one .* 'kind'"),
}


@pytest.mark.parametrize("case", OTHER_TABLES)
def test_other_columns_are_named(case: str) -> None:
    first = AttentionMixture(2, weights="constructed", random_state=0)
    first.fit(frame(week([30, 20])))
    change, message = OTHER_TABLES[case]
    with pytest.raises(ValueError, match=message):
        clone(first).fit(change(frame(week([30, 20]))), like=first)


def test_what_is_no_fitted_model_is_refused() -> None:
    model = AttentionMixture(2, weights="constructed", random_state=0)
    table = week([30, 20])
    with pytest.raises(TypeError, match=r"like='m.statformer' .* statformer.load"):
        model.fit(table, like="m.statformer")
    with pytest.raises(NotFittedError, match="like=AttentionMixture"):
        model.fit(table, like=AttentionMixture())
    with pytest.raises(NotFittedError):
        AttentionMixture().align_to(model.fit(table))
    with pytest.raises(TypeError, match="previous=3"):
        model.align_to(3)
