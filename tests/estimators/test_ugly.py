"""Ugly tables: an answer without NaN, or a clear error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from statformer import AttentionMixture

pytestmark = pytest.mark.filterwarnings("ignore::statformer.estimators.EmptyClusterWarning")


@st.composite
def ugly_tables(draw: st.DrawFn) -> np.ndarray:
    """Columns that are constant, tied, tiny, huge, far from zero, or hold one wild value."""
    n = draw(st.integers(1, 14))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    columns = []
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["normal", "constant", "few", "offset", "wild", "sparse"]))
        column = {
            "normal": rng.normal(size=n),
            "constant": np.full(n, rng.normal()),
            "few": rng.integers(0, 2, size=n).astype(float),
            "offset": 1e8 + rng.normal(size=n),
            "wild": np.where(np.arange(n) == 0, 1e12, rng.normal(size=n)),
            "sparse": np.where(rng.random(n) < 0.8, 0.0, rng.exponential(size=n)),
        }[kind]
        columns.append(column * 10.0 ** draw(st.sampled_from([-138, -50, -3, 0, 3, 50, 138])))
    X = np.column_stack(columns)
    return X[rng.integers(0, n, size=n)] if draw(st.booleans()) else X


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(X=ugly_tables(), K=st.sampled_from([None, 1, 2, 4]))
def test_never_nan(weights: str | Path, X: np.ndarray, K: int | None) -> None:
    model = AttentionMixture(K, weights=weights, n_init=2, max_components=5, random_state=0)
    if K is not None and len(np.unique(X + 0.0, axis=0)) < K:
        with pytest.raises(ValueError, match="distinct rows"):
            model.fit(X)
        return
    model.fit(X)
    k = model.n_components_
    np.testing.assert_array_equal(np.unique(model.labels_), np.arange(k))
    np.testing.assert_array_equal(model.predict(X), model.labels_)
    elsewhere = np.concatenate([X, X * 1.5, -X, X + 1.0])
    proba = model.predict_proba(elsewhere)
    assert np.isfinite(proba).all()
    np.testing.assert_allclose(proba.sum(axis=1), 1.0, atol=1e-9)
    assert np.isfinite(model.score_samples(X)).all()
    for value in (model.weights_, model.means_, model.covariances_, model.trace_):
        assert np.isfinite(value).all()
    assert abs(model.n_components_proba_.sum() - 1.0) < 1e-6
    drawn, _ = model.sample(10)
    assert np.isfinite(drawn).all()
    twin = model.to_sklearn().score_samples(X)
    np.testing.assert_allclose(twin, model.score_samples(X), rtol=1e-6, atol=1e-6)


def test_one_row(weights: str | Path) -> None:
    model = AttentionMixture(weights=weights, max_components=5).fit([[3.0, 1e150]])
    assert model.n_components_ == 1
    np.testing.assert_array_equal(model.means_, [[3.0, 1e150]])
    np.testing.assert_array_equal(model.n_components_proba_, [1, 0, 0, 0, 0])


def test_equal_rows_are_one_cluster(weights: str | Path) -> None:
    model = AttentionMixture(weights=weights, max_components=5).fit(np.full((30, 2), 7.0))
    np.testing.assert_array_equal(model.labels_, 0)
    np.testing.assert_array_equal(model.means_, [[7.0, 7.0]])


def test_wild_rows_at_prediction(weights: str | Path, blobs: tuple) -> None:
    model = AttentionMixture(3, weights=weights, random_state=0).fit(blobs[0])
    wild = np.array([[1e150, 0, 0, 0], [0, -1e153, 1e-300, 0]])
    assert np.isfinite(model.predict_proba(wild)).all()
    assert (model.score_samples(wild) < -1e100).all()


@pytest.mark.parametrize("exponent", [-150, 150])
def test_ends_of_the_range(weights: str | Path, blobs: tuple, exponent: int) -> None:
    X = blobs[0] * 10.0**exponent
    model = AttentionMixture(3, weights=weights, random_state=0).fit(X)
    np.testing.assert_array_equal(model.labels_, blobs[1])
    assert np.isfinite(model.covariances_).all()
    twin = model.to_sklearn()
    np.testing.assert_allclose(twin.score_samples(X), model.score_samples(X), atol=1e-6)
    np.testing.assert_allclose(
        np.sqrt(model.covariances_[0].diagonal()) / 10.0**exponent, 1.0, atol=0.7
    )
