"""Long tables: what holds of sorted rows holds of hashed ones, exactly."""

from __future__ import annotations

import numpy as np
import pytest

from statformer.estimators import long_rows
from statformer.estimators.context import canonical_rows
from statformer.estimators.long_rows import draw_long_rows, hash_rows
from statformer.estimators.mixture import AttentionMixture


@pytest.fixture(autouse=True)
def _short_limit(monkeypatch):
    monkeypatch.setattr(long_rows, "LONG_ROWS", 200)


def _table(n=900, d=4, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)).round(1)
    X[rng.random((n, d)) < 0.05] = -0.0
    return X, rng.integers(0, 4, n).astype(float)


def _drawn(X, weight, seed=3, max_context=150):
    found = draw_long_rows(X, weight, max_context, np.random.default_rng(seed))
    assert found is not None
    return found


def test_equal_rows_have_equal_hashes_and_others_do_not():
    X, _ = _table(3000, 3)
    distinct = len(canonical_rows(X, np.ones(len(X))).X)
    assert len(np.unique(hash_rows(X))) == distinct
    assert np.array_equal(hash_rows(X), hash_rows(np.asfortranarray(X)))
    small = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0], [-0.0, 1.0]])
    assert len(set(hash_rows(small).tolist())) == 3


def test_neither_order_nor_copies_nor_absent_rows_count():
    X, weight = _table()
    plain = _drawn(X, weight)
    shuffled = np.random.default_rng(1).permutation(len(X))
    times = weight.astype(int)
    others = (
        (X[shuffled], weight[shuffled]),
        (X[weight > 0], weight[weight > 0]),
        (np.repeat(X, times, axis=0), np.ones(times.sum())),
    )
    for rows, w in others:
        other = _drawn(rows, w)
        assert np.array_equal(plain.X, other.X)
        assert np.array_equal(plain.weight, other.weight)


def test_rows_are_sorted_distinct_and_named():
    X, weight = _table()
    rows = _drawn(X, weight)
    assert np.array_equal(rows.X, canonical_rows(rows.X, rows.weight).X)
    assert np.array_equal(rows.X[rows.place], X[rows.indices])
    assert (np.diff(rows.indices) > 0).all()
    assert (weight[rows.indices] > 0).all()


def test_rows_are_drawn_in_proportion_to_their_weight():
    X = np.arange(1200.0).reshape(600, 2)
    weight = np.where(np.arange(600) < 300, 3.0, 1.0)
    heavy = [
        rows.weight[rows.X[:, 0] < 600.0].sum() / rows.weight.sum()
        for rows in (_drawn(X, weight, seed) for seed in range(60))
    ]
    assert abs(np.mean(heavy) - 0.75) < 0.02


def test_shorter_tables_gaps_and_collisions_are_left_to_the_sort(monkeypatch):
    X, _ = _table()
    one = np.ones(len(X))
    rng = np.random.default_rng(0)
    assert draw_long_rows(np.repeat(X[:90], 10, axis=0), one, 50, rng) is None
    assert draw_long_rows(X, one, 5000, rng) is None
    gaps = X.copy()
    gaps[0, 0] = np.nan
    assert draw_long_rows(gaps, one, 50, rng) is None
    monkeypatch.setattr(long_rows, "hash_rows", lambda X: np.arange(len(X), dtype=np.uint64) // 2)
    assert draw_long_rows(X, one, 50, rng) is None
    assert rng.random() == np.random.default_rng(0).random()  # nothing was drawn


def test_labels_are_those_of_predict_whatever_the_order():
    rng = np.random.default_rng(5)
    y = rng.integers(0, 3, 2500)
    X = rng.normal(size=(2500, 3)) + 4.0 * y[:, None]
    model = AttentionMixture(3, weights="constructed", max_context=300, random_state=0).fit(X)
    assert np.array_equal(model.labels_, model.predict(X))
    order = rng.permutation(len(X))
    other = AttentionMixture(3, weights="constructed", max_context=300, random_state=0)
    assert np.array_equal(other.fit(X[order]).labels_, model.labels_[order])
