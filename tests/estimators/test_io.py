"""Models as files: nothing is lost on the way, nothing hostile comes in."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import statformer
from statformer import AttentionMixture
from statformer.estimators.io import VERSION
from statformer.weights import WeightsError


@pytest.fixture
def frame(overlapping: np.ndarray) -> pd.DataFrame:
    table = pd.DataFrame(overlapping, columns=["a", "b", "c"])
    table["kind"] = np.resize(["x", "y", "z"], len(table))
    return table


@pytest.fixture
def saved(weights: str | Path, frame: pd.DataFrame, tmp_path: Path) -> tuple:
    model = AttentionMixture(3, weights=weights, random_state=0).fit(frame)
    model.save(tmp_path / "model.statformer")
    return model, tmp_path / "model.statformer"


def test_a_loaded_model_answers_as_before(saved: tuple, frame: pd.DataFrame) -> None:
    model, path = saved
    for again in (statformer.load(path), AttentionMixture.load(str(path))):
        for method in ("predict", "predict_proba", "transform", "score_samples"):
            np.testing.assert_array_equal(
                getattr(again, method)(frame), getattr(model, method)(frame)
            )
        for name in ("weights_", "means_", "covariances_", "n_components_proba_"):
            np.testing.assert_array_equal(getattr(again, name), getattr(model, name))
        assert again.get_params() == model.get_params() | {"weights": str(model.weights)}
        assert again.bic(frame) == model.bic(frame)
        assert list(again.feature_names_in_) == list(frame.columns)
        assert again.encoded_feature_names_ == model.encoded_feature_names_
        np.testing.assert_array_equal(again.sample(5)[0], model.sample(5)[0])
        with pytest.raises(ValueError, match="feature names"):
            again.predict(frame.rename(columns={"a": "A"}))
        with pytest.raises(AttributeError, match="a saved model lacks"):
            again.trace_  # noqa: B018
        assert not hasattr(again, "labels_")


def test_a_projected_model_survives(checkpoint: Path, tmp_path: Path) -> None:
    X = np.random.default_rng(0).normal(size=(40, 9))
    model = AttentionMixture(2, weights=checkpoint, max_features=4, random_state=0).fit(X)
    model.save(tmp_path / "m")
    again = statformer.load(tmp_path / "m")
    np.testing.assert_array_equal(again.score_samples(X), model.score_samples(X))
    np.testing.assert_array_equal(again.covariances_, model.covariances_)


def test_the_file_holds_no_rows(saved: tuple, frame: pd.DataFrame) -> None:
    _, path = saved
    data = path.read_bytes()
    assert len(data) < 4_000
    for name in "abc":  # the median, which fills gaps, is the one cell that travels
        assert sum(np.float64(value).tobytes() in data for value in frame[name]) <= 1


def test_saving_leaves_one_file_and_needs_a_fit(saved: tuple, tmp_path: Path) -> None:
    model, path = saved
    model.save(path)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    with pytest.raises(ValueError, match="not fitted"):
        AttentionMixture().save(path)
    with pytest.raises(FileNotFoundError):
        model.save(tmp_path / "none" / "x")


def test_generators_and_devices_do_not_travel(frame: pd.DataFrame, tmp_path: Path) -> None:
    model = AttentionMixture(
        2,
        weights="constructed",
        random_state=np.random.default_rng(0),
        categorical_features=np.array([False, False, False, True]),
    ).fit(frame)
    model.save(tmp_path / "m")
    again = statformer.load(tmp_path / "m")
    assert again.random_state is None
    assert again.categorical_features == [False, False, False, True]


def edit(path: Path, change: Callable) -> None:
    arrays = load_file(path)
    with safe_open(path, "np") as file:
        document = json.loads(file.metadata()["statformer"])
    change(document, arrays)
    save_file(arrays, path, metadata={"statformer": json.dumps(document)})


HOSTILE: dict[str, Callable] = {
    "another format": lambda doc, _: doc.update(format="sklearn.KMeans"),
    "a later version": lambda doc, _: doc.update(version=VERSION + 1),
    "no version": lambda doc, _: doc.pop("version"),
    "another parameter": lambda doc, _: doc["params"].update(code="x"),
    "columns of another kind": lambda doc, _: doc.update(columns=[3]),
    "fill is text": lambda doc, _: doc["columns"][0].__setitem__(1, "x"),
    "fill beyond the categories": lambda doc, _: doc["columns"][3].__setitem__(1, 9.0),
    "too few columns": lambda doc, _: doc["columns"].pop(),
    "too few names": lambda doc, _: doc["feature_names_in"].pop(),
    "names are numbers": lambda doc, _: doc.update(feature_names_in=[1, 2, 3, 4]),
    "covariance type": lambda doc, _: doc.update(covariance_type="fuller"),
    "residual": lambda doc, _: doc.update(residual=-1.0),
    "residual NaN": lambda doc, _: doc.update(residual=float("nan")),
    "no means": lambda _, arrays: arrays.pop("means"),
    "shape": lambda _, arrays: arrays.update(nu=arrays["nu"][:-1].copy()),
    "dtype": lambda _, arrays: arrays.update(nu=np.float32(arrays["nu"])),
    "extra array": lambda _, arrays: arrays.update(more=np.ones(3)),
    "NaN": lambda _, arrays: arrays["means"].__setitem__((0, 0), np.nan),
    "scale 0": lambda _, arrays: arrays["scale"].__setitem__(0, 0.0),
    "weights": lambda _, arrays: arrays.update(weights=2.0 * arrays["weights"]),
    "negative weight": lambda _, arrays: arrays["weights"].__setitem__(0, -1.0),
    "rho": lambda _, arrays: arrays["rho"].__setitem__(0, 2.0),
    "indefinite": lambda _, arrays: arrays.update(covariances=-arrays["covariances"]),
    "asymmetric": lambda _, arrays: arrays["covariances"].__setitem__((0, 0, 1), 1e3),
    "no components": lambda _, arrays: [
        arrays.update({key: arrays[key][:0].copy()})
        for key in ("weights", "means", "covariances", "rho", "nu")
    ],
    "probabilities": lambda _, arrays: arrays.update(n_components_proba=np.full(20, 0.5)),
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE)
def test_hostile_models_are_refused(saved: tuple, change: Callable) -> None:
    _, path = saved
    edit(path, change)
    with pytest.raises(WeightsError, match=r"model\.statformer"):
        statformer.load(path)


def test_other_files_are_refused(saved: tuple, checkpoint: Path, tmp_path: Path) -> None:
    _, path = saved
    with pytest.raises(WeightsError, match="no model saved by statformer"):
        statformer.load(checkpoint)
    with pytest.raises(FileNotFoundError, match="no such file"):
        statformer.load(tmp_path / "none")
    data = path.read_bytes()
    for cut in (0, 4, 100, len(data) - 8):
        path.write_bytes(data[:cut])
        with pytest.raises(WeightsError):
            statformer.load(path)
