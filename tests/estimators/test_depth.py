"""Tables out of depth: noticed, explained, and answered as the user wants."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from sklearn.base import clone

import statformer
from statformer import AttentionMixture, cluster_tables
from statformer.estimators import OutOfDepthError, OutOfDepthWarning
from statformer.proposals.depth import depth_reference
from statformer.proposals.table_features import table_features
from statformer.weights import WeightsError


def ordinary(seed: int) -> np.ndarray:
    """A table such as the checkpoint was 'trained' on: two clouds in three columns."""
    rng = np.random.default_rng([7, seed])
    n = int(rng.integers(40, 120))
    return rng.normal(size=(n, 3)) + rng.uniform(0, 4) * (np.arange(n)[:, None] % 2)


def strange() -> np.ndarray:
    """Two values in every column, and most rows equal."""
    return (np.random.default_rng(0).random((80, 3)) < 0.1).astype(float)


@pytest.fixture(scope="module")
def deep(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint with a description of 300 ordinary tables."""
    features = [
        table_features((X - X.mean(axis=0)) / X.std(axis=0))
        for X in (ordinary(seed) for seed in range(300))
    ]
    reference = {k: np.float32(v) for k, v in depth_reference(np.array(features)).items()}
    path = tmp_path_factory.mktemp("weights") / "deep.safetensors"
    save_file(load_file(checkpoint) | reference, path)
    return path


def test_ordinary_tables_are_not_remarked(deep: Path) -> None:
    seen = []
    for seed in range(1000, 1020):
        model = AttentionMixture(2, weights=deep, n_init=1, random_state=0).fit(ordinary(seed))
        seen.append(model.out_of_depth_)
    assert 5.0 < np.median(seen) < 95.0, "percentiles of tables like those of the training"
    assert 0.0 <= min(seen) <= max(seen) <= 100.0


def test_a_strange_table_is_warned_of(deep: Path) -> None:
    model = AttentionMixture(2, weights=deep, random_state=0)
    with pytest.warns(OutOfDepthWarning, match="most unusual are") as caught:
        model.fit(strange())
    assert caught[0].filename == __file__, "the warning points at the caller"
    assert model.out_of_depth_ > 99.5
    assert str(caught[0].message).count("in training") == 3
    assert "fallback='constructed'" in str(caught[0].message)
    assert model.weights_sha256_ != "constructed"


def test_units_and_order_play_no_part(deep: Path) -> None:
    X, model = ordinary(1000), AttentionMixture(2, weights=deep, n_init=1, random_state=0)
    first = model.fit(X).out_of_depth_
    changed = X[::-1, ::-1] * [-1e6, 1e-6, 3.0] + 5.0
    assert clone(model).fit(changed).out_of_depth_ == pytest.approx(first, abs=1e-6)


def test_the_fallback_answers_with_constructed_weights(deep: Path) -> None:
    model = AttentionMixture(2, weights=deep, fallback="constructed", random_state=0)
    textbook = AttentionMixture(2, weights="constructed", random_state=0).fit(strange())
    model.fit(strange())
    np.testing.assert_array_equal(model.means_, textbook.means_)
    assert model.weights_sha256_ == "constructed"
    assert model.out_of_depth_ > 99.5
    np.testing.assert_allclose(model.trace_[-1], model.predict_proba(strange()), atol=1e-6)
    X = ordinary(1000)
    learned = AttentionMixture(2, weights=deep, random_state=0).fit(X)
    np.testing.assert_array_equal(clone(model).fit(X).means_, learned.means_)


def test_the_error_says_what_is_unusual_and_what_to_do(deep: Path) -> None:
    model = AttentionMixture(2, weights=deep, fallback="raise")
    with pytest.raises(OutOfDepthError, match="most unusual are") as caught:
        model.fit(strange())
    assert isinstance(caught.value, ValueError)
    assert str(caught.value).count("in training") == 3
    assert "give fallback='constructed'" in str(caught.value)
    model.fit(ordinary(1000))


def test_many_tables_fall_back_one_by_one(deep: Path) -> None:
    tables = [ordinary(1000), strange(), ordinary(1001)]
    params = {"weights": deep, "fallback": "constructed", "random_state": 0, "n_init": 2}
    together = cluster_tables(tables, 2, **params)
    for X, model in zip(tables, together, strict=True):
        alone = AttentionMixture(2, **params).fit(X)
        assert model.weights_sha256_ == alone.weights_sha256_
        assert model.out_of_depth_ == alone.out_of_depth_
        np.testing.assert_allclose(model.means_, alone.means_, atol=1e-6)
    assert [m.weights_sha256_ == "constructed" for m in together] == [False, True, False]


@pytest.mark.parametrize("which", ["constructed", "no description"])
def test_without_a_description_nothing_is_said(which: str, checkpoint: Path) -> None:
    weights = "constructed" if which == "constructed" else checkpoint
    model = AttentionMixture(2, weights=weights, fallback="raise", random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(strange())
    assert np.isnan(model.out_of_depth_)


@pytest.mark.parametrize("fallback", ["ignore", None, True])
def test_unknown_fallbacks_are_named(fallback: object) -> None:
    with pytest.raises(ValueError, match=r"fallback=.* 'warn', 'constructed', 'raise'"):
        AttentionMixture(2, weights="constructed", fallback=fallback).fit(ordinary(0))


def test_the_score_is_saved(deep: Path, tmp_path: Path) -> None:
    model = AttentionMixture(2, weights=deep, n_init=1, random_state=0).fit(ordinary(1000))
    model.save(tmp_path / "m")
    assert statformer.load(tmp_path / "m").out_of_depth_ == model.out_of_depth_


@pytest.mark.parametrize("spoil", ["missing", "shape", "descending"])
def test_a_damaged_description_is_refused(deep: Path, tmp_path: Path, spoil: str) -> None:
    arrays = load_file(deep)
    if spoil == "missing":
        del arrays["depth.scale"]
    elif spoil == "shape":
        arrays["depth.whiten"] = arrays["depth.whiten"][:-1].copy()
    else:
        arrays["depth.quantiles"] = arrays["depth.quantiles"][::-1].copy()
    save_file(arrays, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match="depth"):
        AttentionMixture(2, weights=tmp_path / "w.safetensors").fit(ordinary(0))
