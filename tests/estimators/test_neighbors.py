"""Attention neighbours beside scikit-learn's, and what their temperature means."""

from __future__ import annotations

import pickle
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits
from sklearn.metrics import log_loss
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from statformer.constructions.nearest_neighbor import nearest_neighbor_transformer
from statformer.estimators import neighbor_temperature
from statformer.estimators.neighbors import (
    AttentionNeighborsClassifier,
    AttentionNeighborsRegressor,
)
from statformer.reference.nearest_neighbor import nearest_labels

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "data"
SIZES = [(1, 1, 4), (30, 2, 50), (3000, 5, 300), (5000, 40, 150)]  # n, d, q


def drawn(n: int, d: int, q: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng([n, d])
    return rng.normal(size=(n, d)), rng.integers(0, 4, n), rng.normal(size=(q, d))


def noisy(n: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two overlapping classes in two columns."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n)
    return rng.normal(size=(n, 2)) + 1.2 * y[:, None], y


# ---------------------------------------------------------------------------------------------
# Temperature 0


@pytest.mark.parametrize(("n", "d", "q"), SIZES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_zero_is_one_nearest_neighbour(n: int, d: int, q: int, dtype: type) -> None:
    X, y, queries = drawn(n, d, q)
    X, queries = X.astype(dtype), queries.astype(dtype)
    ours, theirs = AttentionNeighborsClassifier(0).fit(X, y), KNeighborsClassifier(1).fit(X, y)
    np.testing.assert_array_equal(ours.predict(queries), theirs.predict(queries))
    np.testing.assert_array_equal(ours.predict_proba(queries), theirs.predict_proba(queries))
    target = np.column_stack([y, X[:, 0]])
    found = AttentionNeighborsRegressor(0).fit(X, target).predict(queries)
    expected = KNeighborsRegressor(1).fit(X, target).predict(queries)
    np.testing.assert_array_equal(found, expected)


def test_digits_at_zero_are_scikit_learns() -> None:
    X, y = load_digits(return_X_y=True)
    ours = AttentionNeighborsClassifier(0).fit(X[::2], y[::2])
    theirs = KNeighborsClassifier(1).fit(X[::2], y[::2])
    distance = np.sort(((X[1::2, None] - X[None, ::2]) ** 2).sum(axis=2), axis=1)
    clear = distance[:, 0] < distance[:, 1]
    assert clear.mean() > 0.99
    np.testing.assert_array_equal(ours.predict(X[1::2])[clear], theirs.predict(X[1::2])[clear])


def test_ties_are_averaged_and_the_first_class_wins() -> None:
    X, y = np.array([[1.0], [-1.0], [1.0], [5.0]]), np.array(["b", "a", "b", "c"])
    found = AttentionNeighborsClassifier(0).fit(X, y)
    np.testing.assert_allclose(found.predict_proba([[0.0]]), [[1 / 3, 2 / 3, 0.0]])
    assert found.predict([[0.0]])[0] == "b"
    assert AttentionNeighborsClassifier(0).fit(X[:2], y[:2]).predict([[0.0]])[0] == "a"
    assert AttentionNeighborsRegressor(0).fit(X, [3.0, 1.0, 5.0, 9.0]).predict([[0.0]]) == [3.0]


def test_a_small_temperature_tends_to_zero() -> None:
    X, y, queries = drawn(300, 3, 40)
    hard = AttentionNeighborsClassifier(0).fit(X, y).predict_proba(queries)
    gaps = [
        np.abs(AttentionNeighborsClassifier(T).fit(X, y).predict_proba(queries) - hard).max()
        for T in (1.0, 1e-2, 1e-7)
    ]
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[2] < 1e-6


# ---------------------------------------------------------------------------------------------
# A given temperature


def by_hand(X: np.ndarray, queries: np.ndarray, T: float) -> np.ndarray:
    weight = np.exp(-((queries[:, None] - X[None]) ** 2).sum(axis=2) / T)
    return weight / weight.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("far", [0.0, 1e5])
def test_attention_is_the_formula(far: float) -> None:
    X, y, queries = drawn(3000, 3, 200)
    found = AttentionNeighborsClassifier(2.0).fit(X + far, y)
    expected = by_hand(X, queries, 2.0)
    np.testing.assert_allclose(found.attention(queries + far), expected, atol=1e-9)
    np.testing.assert_allclose(
        found.predict_proba(queries + far), expected @ np.eye(4)[y], atol=1e-9
    )
    regressor = AttentionNeighborsRegressor(2.0).fit(X + far, X)
    np.testing.assert_allclose(regressor.predict(queries + far), expected @ X, atol=1e-9)


def test_on_the_sphere_it_is_the_constructed_layer() -> None:
    import torch

    rng = np.random.default_rng(0)
    X, queries = rng.normal(size=(12, 5)), rng.normal(size=(30, 5))
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    y = rng.normal(size=12)
    network = nearest_neighbor_transformer(5, 12, margin=0.5, error=1e-12)
    xi_1 = network.attention.W_QK[0, 0, 0].item()
    found = AttentionNeighborsRegressor(2.0 / xi_1).fit(X, y).predict(queries)
    prompts = [torch.from_numpy(np.repeat(part[None], 30, axis=0)) for part in (X, y[:, None])]
    with torch.no_grad():
        expected = network(*prompts, torch.from_numpy(queries))[:, 0].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_attention_at_zero_is_shared_by_ties() -> None:
    X = np.array([[1.0], [-1.0], [4.0]])
    found = AttentionNeighborsClassifier(0).fit(X, [0, 1, 1]).attention([[0.0], [3.0]])
    assert found.tolist() == [[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]


@pytest.mark.parametrize("temperature", [0, 0.7])
def test_copies_are_merged_and_nothing_changes(temperature: float) -> None:
    rng = np.random.default_rng(0)
    X = rng.integers(0, 3, size=(3000, 2)).astype(float)
    y = rng.integers(0, 3, 3000)
    queries = rng.normal(size=(40, 2)) + 1.0
    found = AttentionNeighborsClassifier(temperature).fit(X, y)
    assert len(found._context.X) == 27
    weight = (
        by_hand(X, queries, temperature)
        if temperature
        else nearest_labels(X, np.eye(len(X)), queries)
    )
    np.testing.assert_allclose(found.predict_proba(queries), weight @ np.eye(3)[y], atol=1e-9)
    np.testing.assert_allclose(found.attention(queries), weight, atol=1e-9)
    regressor = AttentionNeighborsRegressor(temperature).fit(X, y)
    assert len(regressor._context.X) == 9
    np.testing.assert_allclose(regressor.predict(queries), weight @ y, atol=1e-9)


@pytest.mark.parametrize("temperature", [0, 1.0])
def test_memory_does_not_grow_with_the_context(temperature: float) -> None:
    X, y, queries = drawn(100_000, 4, 300)
    found = AttentionNeighborsClassifier(temperature).fit(X, y)
    found.predict(queries[:5])
    tracemalloc.start()
    found.predict_proba(queries)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6  # the matrix of scores would take 240e6


# ---------------------------------------------------------------------------------------------
# The temperature that is found


def held_out(temperature: float | None, **options: object) -> float:
    X, y = noisy()
    test, truth = noisy(4000, seed=1)
    found = AttentionNeighborsClassifier(temperature, **options).fit(X, y)
    return log_loss(truth, found.predict_proba(test))


def test_the_temperature_found_predicts_well() -> None:
    given = [held_out(T) for T in (1e-1, 0.3, 1.0, 3.0, 10.0)]
    assert held_out(None) < min(given) + 0.01
    assert held_out(None) < max(given) - 0.05


@pytest.mark.parametrize("name", ["wheat_seeds", "new_thyroid", "digits"])
def test_better_calibrated_than_five_nearest_neighbours(name: str) -> None:
    if name == "digits":
        X, y = load_digits(return_X_y=True)
    else:
        table = pd.read_csv(EXAMPLES / f"{name}.csv")
        X, y = table.drop(columns="label"), table["label"]
    scores = {
        name: cross_val_score(
            make_pipeline(StandardScaler(), model), X, y, cv=3, scoring="neg_log_loss"
        ).mean()
        for name, model in {
            "found": AttentionNeighborsClassifier(random_state=0),
            "five": KNeighborsClassifier(5),
        }.items()
    }
    assert scores["found"] > scores["five"] + 0.02


def test_the_weight_of_the_prior_follows_the_surprises() -> None:
    X, y = noisy(600)
    noisy_rows = AttentionNeighborsClassifier().fit(X, y).prior_rows_
    clear_rows = AttentionNeighborsClassifier().fit(X + 20.0 * y[:, None], y).prior_rows_
    assert clear_rows == min(neighbor_temperature.PRIOR_ROWS) < noisy_rows
    assert AttentionNeighborsClassifier(1.0).fit(X, y).prior_rows_ == 0.0


def test_copies_do_not_drive_it_to_zero() -> None:
    X, y = noisy()
    once = AttentionNeighborsClassifier().fit(X, y).temperature_
    twice = AttentionNeighborsClassifier().fit(np.repeat(X, 2, axis=0), np.repeat(y, 2))
    assert twice.temperature_ == pytest.approx(once, rel=0.1)
    some = AttentionNeighborsClassifier().fit(np.vstack([X, X[:120]]), np.append(y, y[:120]))
    assert some.temperature_ == pytest.approx(once, rel=0.3)
    regressor = [
        AttentionNeighborsRegressor().fit(np.repeat(X, k, axis=0), np.repeat(y, k)).temperature_
        for k in (1, 2)
    ]
    assert regressor[1] == pytest.approx(regressor[0], rel=0.1)


def test_with_copies_left_in_it_would_be_driven_to_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbor_temperature, "_once", lambda *_: None)
    X, y = noisy()
    twice = AttentionNeighborsClassifier().fit(np.repeat(X, 2, axis=0), np.repeat(y, 2))
    monkeypatch.undo()
    assert twice.temperature_ < 0.01 * AttentionNeighborsClassifier().fit(X, y).temperature_


def test_repeated_observations_that_disagree_all_count() -> None:
    rng = np.random.default_rng(0)
    X = rng.integers(0, 2, size=(600, 2)).astype(float)
    y = (rng.random(600) < np.where(X[:, 0] == X[:, 1], 0.9, 0.1)).astype(int)
    found = AttentionNeighborsClassifier().fit(X, y)
    corners = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    np.testing.assert_allclose(found.predict_proba(corners)[:, 1], [0.9, 0.1, 0.1, 0.9], atol=0.06)


def test_probabilities_of_a_found_temperature_are_never_zero() -> None:
    X, y = np.array([[0.0], [0.1], [9.0], [9.1]]), np.array([0, 0, 1, 1])
    proba = AttentionNeighborsClassifier().fit(X, y).predict_proba([[0.0], [100.0], [-1e6]])
    assert (proba > 1e-3).all()
    np.testing.assert_allclose(proba.sum(axis=1), 1.0)


def test_regression_finds_a_temperature_between_too_sharp_and_too_flat() -> None:
    rng = np.random.default_rng(0)
    X, test = rng.uniform(-3, 3, size=(2, 400, 1))
    y = np.sin(X[:, 0]) + 0.3 * rng.normal(size=400)
    errors = {
        T: np.mean(
            (AttentionNeighborsRegressor(T).fit(X, y).predict(test) - np.sin(test[:, 0])) ** 2
        )
        for T in (None, 0, 10.0)
    }
    assert errors[None] < 0.01
    assert errors[None] < 0.2 * min(errors[0], errors[10.0])


def test_random_state_draws_the_rows_of_a_long_table() -> None:
    X, y = noisy(5400)
    found = [
        AttentionNeighborsClassifier(random_state=seed).fit(X, y).temperature_ for seed in (0, 0, 1)
    ]
    assert found[0] == found[1] != found[2]
    assert found[2] == pytest.approx(found[0], rel=0.5)


def test_the_order_of_a_sorted_table_does_not_matter() -> None:
    X, y = noisy(2500)
    X = np.round(X, 1)  # rows that occur with both classes: none is dropped
    order = np.argsort(y, kind="stable")
    mixed, ordered = (
        AttentionNeighborsClassifier(random_state=0).fit(X[rows], y[rows]).temperature_
        for rows in (slice(None), order)
    )
    assert ordered == pytest.approx(mixed, rel=0.5)


def test_rows_that_do_not_differ_have_a_temperature() -> None:
    found = AttentionNeighborsClassifier().fit(np.ones((5, 2)), [0, 0, 0, 1, 1])
    assert found.temperature_ == 1.0
    np.testing.assert_allclose(found.predict_proba([[3.0, 3.0]]), [[0.6, 0.4]])
    assert AttentionNeighborsRegressor().fit([[1.0]], [2.0]).predict([[7.0]]) == [2.0]


# ---------------------------------------------------------------------------------------------
# The boundary


def test_standardised_columns_are_those_of_a_pipeline() -> None:
    X, y, queries = drawn(200, 3, 40)
    X[:, 0] *= 1000.0
    queries[:, 0] *= 1000.0
    found = AttentionNeighborsClassifier(1.0, standardize=True).fit(X, y)
    expected = make_pipeline(StandardScaler(), AttentionNeighborsClassifier(1.0)).fit(X, y)
    np.testing.assert_allclose(
        found.predict_proba(queries), expected.predict_proba(queries), atol=1e-9
    )
    plain = AttentionNeighborsClassifier(1.0).fit(X, y).predict_proba(queries)
    assert np.abs(plain - found.predict_proba(queries)).max() > 0.1


def test_tables_are_not_copied_and_frames_are_read() -> None:
    X, y, queries = drawn(50, 2, 9)
    assert AttentionNeighborsClassifier(0).fit(X, y)._context.X is X
    frame = pd.DataFrame(X, columns=["a", "b"])
    found = AttentionNeighborsClassifier(0).fit(frame, pd.Series(y).map(dict(enumerate("wxyz"))))
    assert found.feature_names_in_.tolist() == ["a", "b"]
    expected = np.array(list("wxyz"))[KNeighborsClassifier(1).fit(X, y).predict(queries)]
    np.testing.assert_array_equal(
        found.predict(pd.DataFrame(queries, columns=["a", "b"])), expected
    )


def test_a_pickled_copy_answers_the_same() -> None:
    X, y, queries = drawn(50, 2, 9)
    found = AttentionNeighborsClassifier().fit(X, y)
    copy = pickle.loads(pickle.dumps(found))
    np.testing.assert_array_equal(copy.predict_proba(queries), found.predict_proba(queries))


@pytest.mark.parametrize("kind", [AttentionNeighborsClassifier, AttentionNeighborsRegressor])
def test_errors_name_the_remedy(kind: type) -> None:
    X, y, _ = drawn(20, 2, 1)
    for error, match, options in (
        (ValueError, "temperature=-1 should be 0 or finite", {"temperature": -1}),
        (ValueError, "temperature=1e-310 should be 0 or", {"temperature": 1e-310}),
        (ValueError, "temperature=nan should be", {"temperature": float("nan")}),
        (TypeError, "temperature='hot' should be a number", {"temperature": "hot"}),
        (TypeError, "temperature=True should be a number", {"temperature": True}),
        (TypeError, "standardize='yes' should be True or False", {"standardize": "yes"}),
    ):
        with pytest.raises(error, match=match):
            kind(**options).fit(X, y)
    X[3, 1] = np.nan
    with pytest.raises(ValueError, match="contains NaN"):
        kind().fit(X, y)
