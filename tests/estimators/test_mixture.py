"""The estimator: what it promises about labels, weights of rows, order, scales and K."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.metrics import adjusted_rand_score

from statformer import AttentionMixture
from statformer.estimators import EmptyClusterWarning


def test_finds_separated_clusters(weights: str | Path, blobs: tuple) -> None:
    X, y = blobs
    model = AttentionMixture(3, weights=weights, random_state=0).fit(X)
    assert adjusted_rand_score(y, model.labels_) == 1.0
    np.testing.assert_array_equal(model.labels_, y)  # numbered by size, as y is
    np.testing.assert_allclose(model.weights_, [0.5, 1 / 3, 1 / 6], atol=1e-3)
    for k in range(3):
        np.testing.assert_allclose(model.means_[k], X[y == k].mean(axis=0), atol=0.1)
        np.testing.assert_allclose(model.covariances_[k], np.cov(X[y == k].T, bias=True), atol=0.8)


def test_k_is_found_by_bic_weights(blobs: tuple) -> None:
    X, y = blobs
    model = AttentionMixture(weights="constructed", random_state=0).fit(X)
    assert model.n_components_ == 3
    assert model.n_components_proba_.shape == (20,)
    assert model.n_components_proba_.argmax() == 2
    assert abs(model.n_components_proba_.sum() - 1.0) < 1e-12
    np.testing.assert_array_equal(model.labels_, y)


def test_one_component_is_one_gaussian(weights: str | Path, overlapping: np.ndarray) -> None:
    model = AttentionMixture(1, weights=weights).fit(overlapping)
    np.testing.assert_array_equal(model.labels_, 0)
    if weights == "constructed":
        np.testing.assert_allclose(model.means_[0], overlapping.mean(axis=0), atol=1e-12)


def test_given_k_has_all_the_mass(weights: str | Path, blobs: tuple) -> None:
    model = AttentionMixture(3, weights=weights, max_components=7).fit(blobs[0])
    np.testing.assert_array_equal(model.n_components_proba_, np.eye(7)[2])
    assert AttentionMixture(3, weights=weights, max_components=2).fit(
        blobs[0]
    ).n_components_proba_.shape == (3,)


def test_labels_are_predict(weights: str | Path, overlapping: np.ndarray) -> None:
    model = AttentionMixture(4, weights=weights, random_state=0).fit(overlapping)
    np.testing.assert_array_equal(model.labels_, model.predict(overlapping))
    np.testing.assert_array_equal(model.labels_, model.predict_proba(overlapping).argmax(axis=1))
    np.testing.assert_array_equal(model.transform(overlapping), model.predict_proba(overlapping))
    np.testing.assert_allclose(model.predict_proba(overlapping).sum(axis=1), 1.0, atol=1e-12)
    counts = np.bincount(model.labels_)
    assert (counts > 0).all()
    assert (np.diff(counts) <= 0).all()


def test_rows_are_read_alone(
    weights: str | Path, overlapping: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = AttentionMixture(4, weights=weights, random_state=0).fit(overlapping)
    proba, score = model.predict_proba(overlapping), model.score_samples(overlapping)
    order = np.random.default_rng(0).permutation(90)
    np.testing.assert_allclose(model.predict_proba(overlapping[order]), proba[order], atol=1e-12)
    np.testing.assert_allclose(model.score_samples(overlapping[order]), score[order], atol=1e-12)
    np.testing.assert_allclose(model.predict_proba(overlapping[7:8]), proba[7:8], atol=1e-12)
    monkeypatch.setattr("statformer.estimators.density.CHUNK_ELEMENTS", 7 * 4 * 3)
    np.testing.assert_allclose(model.predict_proba(overlapping), proba, atol=1e-12)
    np.testing.assert_allclose(model.score_samples(overlapping), score, atol=1e-12)


@pytest.mark.parametrize("n_components", [4, None])
def test_order_of_rows_is_of_no_influence(
    weights: str | Path, overlapping: np.ndarray, n_components: int | None
) -> None:
    order = np.random.default_rng(0).permutation(90)
    model = AttentionMixture(n_components, weights=weights, max_components=5, random_state=0)
    first = model.fit(overlapping)
    second = clone(model).fit(overlapping[order])
    np.testing.assert_array_equal(first.labels_[order], second.labels_)
    np.testing.assert_array_equal(first.means_, second.means_)


@pytest.mark.parametrize("n_components", [4, None])
def test_weights_count_rows(
    weights: str | Path, overlapping: np.ndarray, n_components: int | None
) -> None:
    """Weight 0 is absent, weight 2 is twice: exactly."""
    times = np.random.default_rng(3).integers(0, 4, size=90)
    model = AttentionMixture(n_components, weights=weights, max_components=5, random_state=0)
    weighted = model.fit(overlapping, sample_weight=times)
    repeated = clone(model).fit(np.repeat(overlapping, times, axis=0))
    np.testing.assert_array_equal(weighted.means_, repeated.means_)
    np.testing.assert_array_equal(weighted.covariances_, repeated.covariances_)
    np.testing.assert_array_equal(weighted.n_components_proba_, repeated.n_components_proba_)
    np.testing.assert_array_equal(weighted.predict(overlapping), repeated.predict(overlapping))


def test_tiny_weights_are_proportions(weights: str | Path, overlapping: np.ndarray) -> None:
    model = AttentionMixture(3, weights=weights, random_state=0)
    one = model.fit(overlapping).means_
    tiny = clone(model).fit(overlapping, sample_weight=np.full(90, 1e-200)).means_
    np.testing.assert_allclose(tiny, one, atol=1e-9)


@pytest.mark.parametrize(
    ("sample_weight", "message"),
    [
        (np.ones(5), "sample_weight.shape"),
        (np.ones((90, 1)), "1D"),
        (-np.ones(90), "at least 0"),
        (np.full(90, np.nan), "finite"),
        (np.zeros(90), "zero for every row"),
        (np.full(90, 1e308), "infinity"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow")
def test_bad_weights_of_rows(
    overlapping: np.ndarray, sample_weight: np.ndarray, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        AttentionMixture(2, weights="constructed").fit(overlapping, sample_weight=sample_weight)


@pytest.mark.parametrize("n_components", [3, None])
def test_symmetries_leave_the_clusters_alone(
    weights: str | Path, blobs: tuple, n_components: int | None
) -> None:
    X, _ = blobs
    model = AttentionMixture(n_components, weights=weights, max_components=6, random_state=0)
    labels = model.fit(X).labels_
    scales = np.array([1e-150, 1e150, -1.0, 3.0])
    for changed in (X[:, ::-1], -X, X * 1e-150, X * 1e150, X * scales, X + 1e6):
        if n_components is None and weights != "constructed":
            found = clone(model).set_params(n_components=3).fit(changed).labels_
            assert adjusted_rand_score(model.set_params(n_components=3).fit(X).labels_, found) == 1
        else:
            assert adjusted_rand_score(labels, clone(model).fit(changed).labels_) == 1.0


def test_density_and_moments_scale_with_the_units(weights: str | Path, blobs: tuple) -> None:
    X, _ = blobs
    scales = np.array([2.0**500, 2.0**-500, 4.0, 0.5])
    plain = AttentionMixture(3, weights=weights, random_state=0).fit(X)
    scaled = AttentionMixture(3, weights=weights, random_state=0).fit(X * scales)
    np.testing.assert_allclose(scaled.means_, plain.means_ * scales, rtol=1e-9)
    np.testing.assert_allclose(
        scaled.covariances_, plain.covariances_ * np.outer(scales, scales), rtol=1e-9
    )
    moved = plain.score_samples(X) - np.log(scales).sum()
    np.testing.assert_allclose(scaled.score_samples(X * scales), moved, atol=1e-6)


def test_bic_and_aic_are_scikit_learns(checkpoint: Path, overlapping: np.ndarray) -> None:
    model = AttentionMixture(3, weights=checkpoint, random_state=0).fit(overlapping)
    twin = model.to_sklearn()
    assert abs(model.bic(overlapping) - twin.bic(overlapping)) < 1e-6
    assert abs(model.aic(overlapping) - twin.aic(overlapping)) < 1e-6
    assert abs(model.score(overlapping) - twin.score(overlapping)) < 1e-9


def test_empty_clusters_are_removed_with_a_warning(checkpoint: Path) -> None:
    """Two piles of equal rows and one row between: components without a row of their own go."""
    X = np.concatenate([np.zeros((50, 1)), np.full((50, 1), 1.0), [[1e-9], [1.0 + 1e-9]]])
    with pytest.warns(EmptyClusterWarning, match="own no row"):
        model = AttentionMixture(4, weights=checkpoint, random_state=0).fit(X)
    assert model.n_components_ < 4
    assert model.n_components_ == len(np.unique(model.labels_)) == len(model.weights_)
    assert abs(model.weights_.sum() - 1.0) < 1e-12
    assert model.trace_.shape[2] == model.n_components_
    assert model.predict_proba(X).shape == (102, model.n_components_)


def test_trace_ends_in_the_responsibilities(weights: str | Path, overlapping: np.ndarray) -> None:
    times = np.resize([1.0, 0.0, 2.0], 90)
    model = AttentionMixture(3, weights=weights, random_state=0)
    trace = model.fit(overlapping, sample_weight=times).trace_
    np.testing.assert_array_equal(model.context_, np.flatnonzero(times))
    assert trace.shape[1:] == (60, 3)
    here = model.predict_proba(overlapping[model.context_])
    # proposals run in single precision, the trace in double
    np.testing.assert_allclose(trace[-1], here, atol=1e-6 if weights == "constructed" else 1e-4)
    np.testing.assert_allclose(trace.sum(axis=2), 1.0, atol=1e-12)


def test_rows_far_out_keep_the_labels_of_the_layers(
    checkpoint: Path, overlapping: np.ndarray
) -> None:
    X = np.concatenate([np.tile(overlapping, (4, 1)), np.full((2, 3), 1e4), [[-500.0, 0, 0]]])
    X[:360] += 0.1 * np.random.default_rng(0).normal(size=(360, 3))
    model = AttentionMixture(3, weights=checkpoint, random_state=0).fit(X)
    np.testing.assert_allclose(model.trace_[-1], model.predict_proba(X), atol=1e-9)
    twin = model.to_sklearn().score_samples(X)
    np.testing.assert_allclose(model.score_samples(X), twin, rtol=1e-9)


def test_trace_of_repeated_rows(checkpoint: Path, overlapping: np.ndarray) -> None:
    X = np.repeat(overlapping[:20], 3, axis=0)
    model = AttentionMixture(2, weights=checkpoint, random_state=0).fit(X)
    assert model.trace_.shape == (4, 60, 2)
    np.testing.assert_allclose(model.trace_[-1], model.predict_proba(X), atol=1e-4)


def test_long_tables_are_read_through_a_context(weights: str | Path, blobs: tuple) -> None:
    X, y = np.tile(blobs[0], (5, 1)), np.tile(blobs[1], 5)
    X = X + np.random.default_rng(0).normal(size=X.shape) * 0.01
    model = AttentionMixture(3, weights=weights, max_context=80, random_state=0).fit(X)
    assert model.trace_.shape[1:] == (80, 3)
    assert len(np.unique(model.context_)) == 80
    np.testing.assert_array_equal(model.labels_, y)
    last = model.predict_proba(X[model.context_])
    np.testing.assert_allclose(model.trace_[-1], last, atol=1e-4)
    order = np.random.default_rng(1).permutation(len(X))
    np.testing.assert_array_equal(clone(model).fit(X[order]).labels_, y[order])


def test_wide_tables_are_projected(weights: str | Path) -> None:
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], [50, 30])
    X = rng.normal(size=(80, 30)) + 4.0 * y[:, None] * (rng.random(30) < 0.5)
    model = AttentionMixture(2, weights=weights, max_features=5, random_state=0).fit(X)
    np.testing.assert_array_equal(model.labels_, y)
    assert model.covariances_.shape == (2, 30, 30)
    twin = model.to_sklearn()
    np.testing.assert_allclose(twin.score_samples(X), model.score_samples(X), atol=1e-6)
    far = X + 10.0 * rng.normal(size=X.shape)
    np.testing.assert_allclose(twin.score_samples(far), model.score_samples(far), atol=1e-6)


def test_sample_is_reproducible_and_has_the_moments(weights: str | Path, blobs: tuple) -> None:
    model = AttentionMixture(3, weights=weights, random_state=0).fit(blobs[0])
    X, y = model.sample(20_000)
    np.testing.assert_array_equal(X, model.sample(20_000)[0])
    assert (np.diff(y) >= 0).all()
    np.testing.assert_allclose(np.bincount(y) / 20_000, model.weights_, atol=0.02)
    for k in range(3):
        np.testing.assert_allclose(X[y == k].mean(axis=0), model.means_[k], atol=0.1)
        np.testing.assert_allclose(np.cov(X[y == k].T), model.covariances_[k], atol=0.25)
    with pytest.raises(ValueError, match="n_samples=0"):
        model.sample(0)


def test_sample_of_a_projected_mixture(checkpoint: Path) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 8)) @ rng.normal(size=(8, 8))
    model = AttentionMixture(1, weights=checkpoint, max_features=3, random_state=0).fit(X)
    drawn, _ = model.sample(50_000)
    scale = np.sqrt(np.diagonal(model.covariances_[0]))
    error = (np.cov(drawn.T) - model.covariances_[0]) / np.outer(scale, scale)
    assert np.abs(error).max() < 0.03


def test_random_states(checkpoint: Path, overlapping: np.ndarray) -> None:
    def means(state: object) -> np.ndarray:
        return (
            AttentionMixture(5, weights=checkpoint, n_init=1, random_state=state)
            .fit(overlapping)
            .means_
        )

    np.testing.assert_array_equal(means(3), means(3))
    assert not np.array_equal(means(3), means(4))
    legacy = [means(np.random.RandomState(5)) for _ in range(2)]
    np.testing.assert_array_equal(*legacy)
    rng = np.random.default_rng(5)
    assert not np.array_equal(means(rng), means(rng)), "a generator moves on"
    means(None)


def test_set_output_and_names(weights: str | Path, blobs: tuple) -> None:
    frame = pd.DataFrame(blobs[0], columns=list("abcd"))
    model = AttentionMixture(3, weights=weights, random_state=0).set_output(transform="pandas")
    out = model.fit_transform(frame)
    assert list(out.columns) == [f"attentionmixture{k}" for k in range(3)]
    assert list(model.get_feature_names_out()) == list(out.columns)
    assert list(model.feature_names_in_) == model.encoded_feature_names_ == list("abcd")
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame.rename(columns={"a": "z"}))


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ({"n_components": 0}, ValueError, "n_components=0"),
        ({"n_components": 2.0}, TypeError, "n_components=2.0"),
        ({"n_components": True}, TypeError, "n_components=True"),
        ({"n_components": 91}, ValueError, "the table has 90"),
        ({"n_init": 0}, ValueError, "n_init=0"),
        ({"max_components": 0}, ValueError, "max_components=0"),
        ({"max_context": 0}, ValueError, "max_context=0"),
        ({"max_features": 0}, ValueError, "max_features=0"),
        ({"categorical_features": "all"}, ValueError, "categorical_features='all'"),
        ({"categorical_features": [7]}, ValueError, "names 7"),
        ({"random_state": -1}, ValueError, "random_state=-1"),
        ({"weights": 3}, TypeError, "weights=3"),
        ({"weights": "nothing"}, FileNotFoundError, "weights='nothing'"),
        ({"device": "abacus"}, ValueError, "device='abacus'"),
    ],
)
def test_bad_arguments_are_named(
    overlapping: np.ndarray, params: dict, error: type, message: str
) -> None:
    if "device" in params:
        pytest.importorskip("torch")
    with pytest.raises(error, match=message):
        AttentionMixture(**{"weights": "constructed", **params}).fit(overlapping)


def test_attributes_before_fit() -> None:
    for name in ("covariances_", "trace_", "encoded_feature_names_"):
        with pytest.raises(AttributeError, match="before fit"):
            getattr(AttentionMixture(), name)


def test_pickles_carry_no_weights(checkpoint: Path, overlapping: np.ndarray) -> None:
    model = AttentionMixture(3, weights=checkpoint, random_state=0).fit(overlapping)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(
        again.predict_proba(overlapping), model.predict_proba(overlapping)
    )
    np.testing.assert_array_equal(again.trace_, model.trace_)
    assert len(pickle.dumps(model)) < 60_000
