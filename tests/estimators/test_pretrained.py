"""The weights that ship: what they promise on tables where the answer is plain.

These tests fail, and do not skip, where the package has no weights: they are part of the product.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.metrics import adjusted_rand_score

from statformer import AttentionMixture, cluster_tables
from statformer.estimators import proposers

GOLDEN = Path(__file__).parents[1] / "golden" / "mixture.json"


def blobs(k: int, d: int, n: int, seed: int, apart: float = 10.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = np.sort(np.resize(np.arange(k), n))
    directions = np.linalg.qr(rng.normal(size=(max(k, d), max(k, d))))[0][:k, :d]
    centres = apart * directions * (1.0 if d >= k else np.arange(1, k + 1)[:, None])
    return centres[y] + rng.normal(size=(n, d)), y


@pytest.mark.parametrize(("k", "d"), [(1, 2), (2, 2), (3, 4), (5, 8)])
def test_k_and_clusters_of_clear_tables(k: int, d: int) -> None:
    X, y = blobs(k, d, 60 * k, seed=k)
    model = AttentionMixture(random_state=0).fit(X)
    assert model.n_components_ == k
    # P(K) is blunter than the answer, which goes by expected ARI; it names K or a neighbour
    assert abs(int(model.n_components_proba_.argmax()) + 1 - k) <= 1
    assert model.n_components_proba_[k - 1] > 0.2
    assert adjusted_rand_score(y, model.labels_) > 0.99


@pytest.mark.parametrize("n_components", [3, None])
def test_symmetries(n_components: int | None) -> None:
    X, _ = blobs(3, 4, 150, seed=0)
    model = AttentionMixture(n_components, random_state=0)
    labels = model.fit(X).labels_
    rng = np.random.default_rng(0)
    rows = rng.permutation(len(X))
    np.testing.assert_array_equal(clone(model).fit(X[rows]).labels_, labels[rows])
    signs = np.array([1.0, -1.0, 1.0, -1.0])
    for changed in (X[:, ::-1], X * signs, X * 1e-150, X * 1e150, X * 10.0 ** (50 * signs)):
        assert adjusted_rand_score(labels, clone(model).fit(changed).labels_) == 1.0


def test_weights_count_rows() -> None:
    X, _ = blobs(3, 3, 90, seed=1, apart=3.0)
    times = np.random.default_rng(3).integers(0, 4, size=90)
    weighted = AttentionMixture(random_state=0).fit(X, sample_weight=times)
    repeated = AttentionMixture(random_state=0).fit(np.repeat(X, times, axis=0))
    np.testing.assert_array_equal(weighted.means_, repeated.means_)
    np.testing.assert_array_equal(weighted.n_components_proba_, repeated.n_components_proba_)


@pytest.mark.filterwarnings("ignore::statformer.estimators.EmptyClusterWarning")
def test_many_tables_equal_a_loop() -> None:
    tables = [blobs(1 + i % 4, 2 + i % 3, 40 + 5 * i, seed=i, apart=6.0)[0] for i in range(8)]
    for X, model in zip(tables, cluster_tables(tables, random_state=0), strict=True):
        alone = AttentionMixture(random_state=0).fit(X)
        np.testing.assert_array_equal(model.labels_, alone.labels_)
        np.testing.assert_allclose(model.n_components_proba_, alone.n_components_proba_, atol=1e-3)


@contextmanager
def in_float64() -> Iterator[None]:
    """Every proposal in float64; otherwise tame tables run in float32."""
    with mock.patch.object(proposers, "SINGLE_PRECISION_LIMIT", -1.0):
        yield


@pytest.mark.parametrize("n_components", [3, None])
@pytest.mark.parametrize("apart", [2.5, 4.0])
@pytest.mark.filterwarnings("ignore::statformer.estimators.EmptyClusterWarning")
def test_single_precision_is_enough(n_components: int | None, apart: float) -> None:
    X, _ = blobs(3, 3, 90, seed=4, apart=apart)
    model = AttentionMixture(n_components, random_state=0)
    single = clone(model).fit(X)
    with in_float64():
        double = clone(model).fit(X)
    assert not np.array_equal(single.predict_proba(X), double.predict_proba(X))
    _assert_agree(single, double, X, atol=1e-4)


@pytest.mark.parametrize("n_components", [3, None])
def test_torch_agrees(n_components: int | None) -> None:
    torch = pytest.importorskip("torch")
    X, _ = blobs(3, 3, 90, seed=1, apart=3.0)
    one = AttentionMixture(n_components, random_state=0)
    two = AttentionMixture(n_components, random_state=0, device=torch.device("cpu"))
    # in float32, one row between two of 18 clusters falls otherwise: P(K) reads that labeling
    _assert_agree(one.fit(X), two.fit(X), X, atol=1e-4, count=1e-3)
    with in_float64():
        _assert_agree(one.fit(X), two.fit(X), X, atol=1e-10)


def _assert_agree(
    one: AttentionMixture,
    two: AttentionMixture,
    X: np.ndarray,
    atol: float,
    count: float | None = None,
) -> None:
    """Equal within `atol`; P(K) within `count`, where given."""
    assert two.n_components_ == one.n_components_
    np.testing.assert_allclose(two.n_components_proba_, one.n_components_proba_, atol=count or atol)
    np.testing.assert_allclose(two.expected_ari_, one.expected_ari_, atol=atol)
    np.testing.assert_allclose(two.predict_proba(X), one.predict_proba(X), atol=atol)
    np.testing.assert_allclose(two.score_samples(X), one.score_samples(X), atol=atol)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 40),
    d=st.integers(1, 6),
    tail=st.sampled_from([0.5, 2.0, 50.0]),
    digits=st.sampled_from([0, 1, 12]),
)
@pytest.mark.filterwarnings("ignore::statformer.estimators.EmptyClusterWarning")
@pytest.mark.filterwarnings("ignore::statformer.estimators.depth.OutOfDepthWarning")
def test_heavy_tails_and_ties_never_give_nan(
    seed: int, n: int, d: int, tail: float, digits: int
) -> None:
    rng = np.random.default_rng(seed)
    X = np.round(np.clip(rng.standard_t(tail, size=(n, d)), -1e100, 1e100), digits)
    model = AttentionMixture(n_init=3, random_state=0).fit(X)
    assert np.isfinite(model.predict_proba(X)).all()
    assert np.isfinite(model.score_samples(X)).all()
    assert np.isfinite(model.covariances_).all()
    np.testing.assert_array_equal(np.unique(model.labels_), np.arange(model.n_components_))


@pytest.mark.filterwarnings("ignore::statformer.estimators.EmptyClusterWarning")
def test_golden_predictions() -> None:
    """Float64 predictions of the shipped weights; run this file as a script to rewrite them."""
    golden = json.loads(GOLDEN.read_text())
    with in_float64():
        found = golden_predictions()
    assert found.keys() == golden.keys()
    for name, values in found.items():
        np.testing.assert_allclose(values, golden[name], atol=1e-8, err_msg=name)
    for name, values in golden_predictions().items():  # as users run them, partly in float32
        np.testing.assert_allclose(values, golden[name], atol=1e-4, err_msg=name)


def golden_predictions() -> dict[str, list | float]:
    """What is answered for an overlapping and a clear table, K given and K unknown."""
    predictions: dict[str, list | float] = {}
    for name, apart in (("overlapping", 2.5), ("clear", 8.0)):
        X, _ = blobs(3, 4, 120, seed=7, apart=apart)
        given = AttentionMixture(3, random_state=0).fit(X)
        predictions[f"{name} predict_proba"] = given.predict_proba(X[::10]).tolist()
        predictions[f"{name} score_samples"] = given.score_samples(X[::10]).tolist()
        predictions[f"{name} means"] = given.means_.tolist()
        predictions[f"{name} expected_ari"] = float(given.expected_ari_)
        unknown = AttentionMixture(random_state=0).fit(X)
        predictions[f"{name} n_components_proba"] = unknown.n_components_proba_.tolist()
        predictions[f"{name} expected_ari, K unknown"] = float(unknown.expected_ari_)
    return predictions


if __name__ == "__main__":
    GOLDEN.parent.mkdir(exist_ok=True)
    with in_float64(), warnings.catch_warnings(action="ignore"):
        GOLDEN.write_text(json.dumps(golden_predictions(), indent=1) + "\n")
