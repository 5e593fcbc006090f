"""`AttentionRegressor` equals scikit-learn's twins and the layers with tokens, and chooses well."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Lasso, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from statformer.constructions.gradient_descent import (
    lasso_transformer,
    ridge_radius,
    ridge_transformer,
)
from statformer.estimators.regression import AttentionRegressor

N, D = 80, 5
UNITS = np.array([1.0, 100.0, 0.01, 1.0, 1.0])


def draw(noise: float = 1.0, n: int = N) -> tuple[np.ndarray, np.ndarray]:
    """Correlated columns in different units, far from the origin."""
    rng = np.random.default_rng(5)
    X = rng.standard_normal((n, D)) @ (np.eye(D) + 0.4 * rng.standard_normal((D, D)))
    y = 7.0 + X @ rng.standard_normal(D) + noise * rng.standard_normal(n)
    return X * UNITS + 10.0 * UNITS, y


def spread(y: np.ndarray) -> float:
    return float(np.std(y))


@pytest.mark.parametrize("penalty", [10.0, 0.1, 1e-4])
def test_a_ridge_is_scikit_learns(penalty: float) -> None:
    X, y = draw()
    ours = AttentionRegressor((penalty,), (), tol=1e-9).fit(X, y)
    theirs = make_pipeline(StandardScaler(), Ridge(alpha=N * penalty)).fit(X, y)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), atol=1e-8 * spread(y))
    assert (ours.kind_, ours.penalty_) == ("ridge", penalty)


@pytest.mark.parametrize("penalty", [2.0, 0.1, 1e-3])
def test_a_lasso_is_scikit_learns(penalty: float) -> None:
    X, y = draw()
    ours = AttentionRegressor((), (penalty,), tol=1e-7).fit(X, y)
    lasso = Lasso(alpha=penalty * spread(y), tol=1e-13, max_iter=100_000, random_state=0)
    theirs = make_pipeline(StandardScaler(), lasso).fit(X, y)
    gap = np.sqrt(np.mean((ours.predict(X) - theirs.predict(X)) ** 2))
    assert gap <= 1e-7 * spread(y)
    np.testing.assert_array_equal(ours.coef_ == 0, theirs[-1].coef_ == 0)
    assert ours.n_layers_ > 0 or penalty == 2.0


@pytest.mark.parametrize("kind", ["ridge", "lasso"])
def test_tol_is_kept_and_costs_layers(kind: str) -> None:
    X, y = draw()
    Z, v = StandardScaler().fit_transform(X), (y - y.mean()) / spread(y)
    twin = {
        "ridge": Ridge(alpha=N * 1e-3),
        "lasso": Lasso(alpha=1e-3, tol=1e-14, random_state=0),
    }[kind]
    fitted, n_layers = twin.fit(Z, v).predict(Z), []
    for tol in (0.5, 1e-2, 1e-5):
        model = AttentionRegressor(**penalties(kind, 1e-3), tol=tol).fit(X, y)
        found = (model.predict(X) - y.mean()) / spread(y)
        assert np.sqrt(np.mean((found - fitted) ** 2)) <= tol
        n_layers.append(model.n_layers_)
    assert n_layers == sorted(set(n_layers))


def penalties(kind: str, penalty: float) -> dict[str, tuple[float, ...]]:
    return {
        "ridge_penalties": (penalty,) * (kind == "ridge"),
        "lasso_penalties": (penalty,) * (kind == "lasso"),
    }


@pytest.mark.parametrize("kind", ["ridge", "lasso"])
def test_the_answer_is_that_of_the_layers_with_tokens(kind: str) -> None:
    X, y = draw(n=12)
    model = AttentionRegressor(**penalties(kind, 0.3), tol=1e-2).fit(X, y)
    Z, v = StandardScaler().fit_transform(X), (y - y.mean()) / spread(y)
    beta = np.linalg.eigvalsh(Z.T @ Z / len(Z))[-1]
    build = ridge_transformer if kind == "ridge" else lasso_transformer
    network = build(
        *(D, len(Z)),
        penalty=0.3,
        step_size=1 / (beta + (0.3 if kind == "ridge" else 0.0)),
        n_steps=model.n_layers_,
        radius=ridge_radius(Z, v, Z),
    )
    assert 1 < model.n_layers_ < 500
    found = [network(Z[None], v[None], row[None, None])[0, 0] for row in Z]
    np.testing.assert_allclose(y.mean() + spread(y) * np.array(found), model.predict(X), rtol=1e-9)


def test_strong_noise_gets_a_stronger_penalty() -> None:
    chosen = []
    for noise in (0.05, 20.0):
        X, y = draw(noise, n=40)
        models = [
            AttentionRegressor(lasso_penalties=(), random_state=seed).fit(X, y) for seed in range(9)
        ]
        chosen.append(np.median([model.penalty_ for model in models]))
    assert chosen[1] > chosen[0]


def test_a_sparse_truth_gets_a_lasso() -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 40))
    y = 2 * X[:, 0] - X[:, 1] + 0.1 * rng.standard_normal(60)
    model = AttentionRegressor(random_state=0).fit(X, y)
    assert model.kind_ == "lasso"
    assert set(np.argsort(-np.abs(model.coef_))[:2]) == {0, 1}
    assert (model.coef_ == 0).sum() > 10
    best = model.validation_losses_.min()
    assert model.candidates_[int(model.validation_losses_.argmin())] == ("lasso", model.penalty_)
    ridges = [c.kind == "ridge" for c in model.candidates_]
    assert model.validation_losses_[ridges].min() > best


def test_outputs_are_regressions_of_their_own() -> None:
    X, y = draw()
    Y = np.column_stack([y, -1000 * y, np.random.default_rng(1).standard_normal(N), np.ones(N)])
    model = AttentionRegressor(random_state=3).fit(X, Y)
    assert model.coef_.shape == (4, D)
    assert model.validation_losses_.shape == (len(model.candidates_), 4)
    np.testing.assert_allclose(model.predict(X)[:, 1], -1000 * model.predict(X)[:, 0])
    np.testing.assert_allclose(model.predict(X)[:, 3], 1.0)
    assert len(set(model.penalty_)) > 1


def test_weights_count_rows_and_copies_stay_together() -> None:
    X, y = draw(n=30)
    weight = np.random.default_rng(0).integers(0, 4, 30)
    weighted = AttentionRegressor(random_state=0).fit(X, y, sample_weight=weight)
    repeated = AttentionRegressor(random_state=0).fit(X.repeat(weight, 0), y.repeat(weight))
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, rtol=1e-9)
    np.testing.assert_allclose(weighted.validation_losses_, repeated.validation_losses_, rtol=1e-9)


def test_units_and_the_order_of_rows_do_not_matter() -> None:
    X, y = draw()
    order = np.random.default_rng(0).permutation(N)
    one = AttentionRegressor(random_state=0).fit(X, y)
    same = AttentionRegressor(random_state=0).fit(X[order], y[order])
    np.testing.assert_allclose(one.coef_, same.coef_, rtol=1e-9)
    moved = AttentionRegressor(random_state=0).fit(X * 4.0, 2.0 * y)
    np.testing.assert_allclose(moved.predict(X * 4.0), 2.0 * one.predict(X), rtol=1e-9)


def test_tables_without_anything_to_learn() -> None:
    rows = np.ones((6, 3))
    np.testing.assert_allclose(AttentionRegressor().fit(rows, rows[:, 0] * 4).predict(rows), 4.0)
    X, _ = draw(n=8)
    flat = AttentionRegressor(random_state=0).fit(X, np.full(8, 3.0))
    np.testing.assert_allclose(flat.predict(X), 3.0)
    wide = np.random.default_rng(0).standard_normal((6, 30))
    assert np.isfinite(AttentionRegressor(random_state=0).fit(wide, wide[:, 0]).coef_).all()


def test_a_lasso_that_is_cut_short_warns() -> None:
    X, y = draw()
    with pytest.warns(ConvergenceWarning, match="max_layers=3"):
        model = AttentionRegressor((), (1e-3,), max_layers=3).fit(X, y)
    assert model.n_layers_ == 3


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (partial(AttentionRegressor, (), ()), ValueError, "both empty"),
        (partial(AttentionRegressor, (0.0,)), ValueError, "ridge_penalties holds 0"),
        (partial(AttentionRegressor, 1.0), TypeError, "ridge_penalties=1"),
        (partial(AttentionRegressor, tol=0), ValueError, "tol=0"),
        (partial(AttentionRegressor, tol="x"), TypeError, "tol='x'"),
        (partial(AttentionRegressor, validation_fraction=1), ValueError, "validation_fraction=1"),
        (partial(AttentionRegressor, max_layers=0), ValueError, "max_layers=0"),
    ],
)
def test_bad_arguments_are_named(make: partial, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        make().fit(*draw())
