"""`AttentionSpectralClustering`: two classes by a sign, more by k-means on the scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score
from sklearn.utils.estimator_checks import parametrize_with_checks

from statformer.estimators import AttentionSpectralClustering
from statformer.reference.spectral_clustering import two_classes


@pytest.fixture(params=["constructed", "pretrained"])
def weights(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def classes(
    n: int, d: int, c: int, apart: float = 6.0, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """c spherical classes of about one size."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, c, size=n)
    means = apart * np.linalg.qr(rng.normal(size=(d, c)))[0].T
    return means[y] + rng.normal(size=(n, d)) + 10.0, y


def test_two_classes_are_the_sign_of_the_leading_score() -> None:
    X, _ = classes(150, 8, 2, apart=1.5)
    model = AttentionSpectralClustering(weights="constructed").fit(X)
    centred = X - X.mean(axis=0)
    v = np.linalg.svd(centred)[2][0]
    positive = centred @ v > 0
    assert adjusted_rand_score(positive, model.labels_) == 1.0
    assert adjusted_rand_score(two_classes(X, centre=True).labels, model.labels_) == 1.0
    assert (model.labels_ == 0).sum() >= (model.labels_ == 1).sum()


@pytest.mark.parametrize("c", [2, 3, 5])
def test_clear_classes_are_found(weights: str, c: int) -> None:
    X, y = classes(200, 10, c, apart=8.0)
    model = AttentionSpectralClustering(c, weights=weights, random_state=0).fit(X)
    assert adjusted_rand_score(y, model.labels_) > 0.95
    assert model.embedding_.n_components_ == c - 1
    np.testing.assert_array_equal(model.predict(X), model.labels_)
    sizes = np.bincount(model.labels_)
    assert (np.diff(sizes) <= 0).all()
    for k in range(c):
        own = np.average(
            X[model.labels_ == k], axis=0, weights=model.row_weights_[model.labels_ == k]
        )
        # learned weights move cells a little
        np.testing.assert_allclose(
            model.cluster_centers_[k], own, atol=1e-9 if weights == "constructed" else 0.1
        )


def test_missing_cells_and_new_rows(weights: str) -> None:
    X, y = classes(300, 10, 3, apart=8.0)
    gappy = np.where(np.random.default_rng(1).random(X.shape) < 0.2, np.nan, X)
    model = AttentionSpectralClustering(3, weights=weights, random_state=0).fit(gappy[:200])
    assert adjusted_rand_score(y[200:], model.predict(gappy[200:])) > 0.9
    alone = [model.predict(gappy[i : i + 1])[0] for i in range(200, 220)]
    np.testing.assert_array_equal(alone, model.predict(gappy[200:220]))
    assert np.isfinite(model.cluster_centers_).all()


def test_outlying_cells_do_not_take_the_direction() -> None:
    X, y = classes(200, 10, 2, apart=5.0)
    rng = np.random.default_rng(5)
    bad = np.where(rng.random(X.shape) < 0.05, X + 30.0, X)
    plain = AttentionSpectralClustering(weights="constructed").fit(bad)
    model = AttentionSpectralClustering().fit(bad)
    assert adjusted_rand_score(y, plain.labels_) < 0.5
    assert adjusted_rand_score(y, model.labels_) > 0.9
    clean = AttentionSpectralClustering(weights="constructed").fit(X)
    np.testing.assert_allclose(model.cluster_centers_, clean.cluster_centers_, atol=0.8)
    assert np.abs(plain.cluster_centers_ - clean.cluster_centers_).max() > 2.0


def test_outlying_rows_do_not_take_the_direction() -> None:
    X, y = classes(200, 10, 2, apart=5.0)
    X[:6] += 60.0 * np.linalg.qr(np.random.default_rng(3).normal(size=(10, 10)))[0][0]
    plain = AttentionSpectralClustering(weights="constructed").fit(X)
    model = AttentionSpectralClustering().fit(X)
    assert adjusted_rand_score(y[6:], plain.labels_[6:]) < 0.5
    assert adjusted_rand_score(y[6:], model.labels_[6:]) > 0.9


@pytest.mark.parametrize("c", [2, 3])
def test_whole_weights_are_copies(c: int) -> None:
    X, _ = classes(90, 5, c)
    count = np.random.default_rng(2).integers(0, 3, size=90)
    options = {"weights": "constructed", "random_state": 0}
    weighted = AttentionSpectralClustering(c, **options).fit(X, sample_weight=count)
    copied = AttentionSpectralClustering(c, **options).fit(np.repeat(X, count, axis=0))
    np.testing.assert_array_equal(weighted.predict(X), copied.predict(X))
    np.testing.assert_allclose(weighted.cluster_centers_, copied.cluster_centers_)


def test_the_random_state_is_a_source_of_numbers() -> None:
    X, _ = classes(60, 4, 3, apart=0.0)
    labels = [
        AttentionSpectralClustering(3, weights="constructed", random_state=s).fit(X).labels_
        for s in (0, 0, np.random.default_rng(0), np.random.RandomState(0))
    ]
    np.testing.assert_array_equal(labels[0], labels[1])
    np.testing.assert_array_equal(labels[0], labels[2])
    assert len(labels[3]) == 60


def test_one_class_one_column_and_frames(weights: str) -> None:
    X, y = classes(50, 3, 2)
    assert not AttentionSpectralClustering(1, weights=weights).fit(X).labels_.any()
    narrow = AttentionSpectralClustering(2, weights=weights).fit(np.where(y, 9.0, 0.0)[:, None])
    assert adjusted_rand_score(y, narrow.labels_) == 1.0
    model = AttentionSpectralClustering(weights=weights).fit(pd.DataFrame(X, columns=list("abc")))
    assert model.feature_names_in_.tolist() == list("abc")
    with pytest.raises(ValueError, match="feature names"):
        model.predict(pd.DataFrame(X, columns=list("cba")))


def test_a_constant_table_has_one_class_in_use(weights: str) -> None:
    model = AttentionSpectralClustering(weights=weights).fit(np.full((12, 3), 4.0))
    assert model.labels_.tolist() == [0] * 12
    np.testing.assert_allclose(model.cluster_centers_, 4.0)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"n_clusters": 0}, ValueError, "n_clusters=0"),
        ({"n_clusters": 2.0}, TypeError, "n_clusters=2.0"),
        ({"n_clusters": 21}, ValueError, "n_clusters=21 exceeds the number of rows, 20"),
        ({"robust": "both"}, ValueError, "robust='both'"),
    ],
)
def test_refusals(options: dict, error: type[Exception], words: str) -> None:
    X, _ = classes(20, 3, 2)
    with pytest.raises(error, match=words):
        AttentionSpectralClustering(**{"weights": "constructed", **options}).fit(X)


@pytest.fixture
def numpy_seed_is_restored() -> Iterator[None]:
    """Some of the checks, not the estimator, draw from numpy's global state."""
    state = np.random.get_state()  # noqa: NPY002
    yield
    np.random.set_state(state)  # noqa: NPY002


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@pytest.mark.usefixtures("numpy_seed_is_restored")
@parametrize_with_checks(
    [
        AttentionSpectralClustering(),
        AttentionSpectralClustering(3),
        AttentionSpectralClustering(weights="constructed"),
        AttentionSpectralClustering(3, weights="constructed", robust="rows"),
    ]
)
def test_scikit_learn_check(estimator: AttentionSpectralClustering, check: Callable) -> None:
    check(estimator)
