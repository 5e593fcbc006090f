"""`AttentionBayesNet` keeps its contract: frames of categories in, frames of categories out."""

from __future__ import annotations

import warnings
from typing import Any

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import ConvergenceWarning

from bayes_nets import WET_GRASS, assert_same_network, wet_grass
from statformer.estimators.bayes_net import (
    AttentionBayesNet,
    ImpossibleEvidenceWarning,
    UnseenConfigurationWarning,
)


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return wet_grass()


def fitted(frame: pd.DataFrame, **params: Any) -> AttentionBayesNet:
    return AttentionBayesNet(WET_GRASS, random_state=0, **params).fit(frame)


# ---------------------------------------------------------------------------------------------
# What it answers


def test_tables_are_conditional_frequencies(frame: pd.DataFrame) -> None:
    model = fitted(frame)
    expected = pd.crosstab(
        [frame["rain"], frame["sprinkler"]], frame["grass"], normalize="index"
    ).sort_index()
    found = model.cpds_["grass"]
    assert found.index.names == ["rain", "sprinkler"]
    np.testing.assert_allclose(found, expected)
    np.testing.assert_allclose(
        model.cpds_["cloudy"], [[1 - frame.cloudy.mean(), frame.cloudy.mean()]]
    )
    smooth = fitted(frame, smoothing=2.0).cpds_["cloudy"]
    assert smooth[True][0] == pytest.approx((frame.cloudy.sum() + 2) / (len(frame) + 4))


def test_answers_follow_bayes(frame: pd.DataFrame) -> None:
    model = fitted(frame)
    rain = model.cpds_["rain"]
    cloudy = model.cpds_["cloudy"].iloc[0]
    joint = rain.mul(cloudy.to_numpy(), axis=0)
    p = model.predict_proba(frame[["rain"]], "cloudy")
    expected = (joint / joint.sum()).T.loc[frame["rain"]]
    np.testing.assert_allclose(p, expected)
    nothing = model.predict_proba(pd.DataFrame(index=[5, 6]), "rain")
    np.testing.assert_allclose(nothing, np.tile(joint.sum(), (2, 1)))
    assert list(nothing.index) == [5, 6]


def test_the_target_column_is_not_read(frame: pd.DataFrame) -> None:
    model = fitted(frame)
    expected = model.predict_proba(frame, "rain")
    pd.testing.assert_frame_equal(model.predict_proba(frame.drop(columns="rain"), "rain"), expected)
    wrong = frame.assign(rain="hail")
    pd.testing.assert_frame_equal(model.predict_proba(wrong, "rain"), expected)


@pytest.mark.filterwarnings("ignore::statformer.estimators.bayes_net.UnseenConfigurationWarning")
@pytest.mark.parametrize("smoothing", [0.0, 0.5])
@pytest.mark.parametrize("n", [12, 300])
def test_the_attention_network_equals_the_tables(n: int, smoothing: float) -> None:
    frame = wet_grass(n)
    weight = np.random.default_rng(0).integers(1, 3, n)
    table, network = (
        AttentionBayesNet(WET_GRASS, collapse=collapse, smoothing=smoothing, random_state=0).fit(
            frame, weight
        )
        for collapse in (True, False)
    )
    assert_same_network(network, table, atol=1e-9)
    assert network.n_unseen_ == table.n_unseen_
    for target in ("grass", "cloudy"):
        pd.testing.assert_frame_equal(
            network.predict_proba(frame, target), table.predict_proba(frame, target), atol=1e-7
        )
    pd.testing.assert_series_equal(network.sample(40).dtypes, frame.dtypes)


def test_a_disturbed_network_no_longer_equals_the_tables(frame: pd.DataFrame) -> None:
    table, network = fitted(frame), fitted(frame, collapse=False)
    layers = network._tables.network.network.weights  # type: ignore[attr-defined]
    layers["W_QK"][1] *= 0.1  # blunt
    found, expected = (m.predict_proba(frame, "grass") for m in (network, table))
    assert np.abs(found - expected).to_numpy().max() > 1e-3


def test_samples_follow_the_tables(frame: pd.DataFrame) -> None:
    model = fitted(frame)
    again = fitted(model.sample(40_000))
    for name, table in model.cpds_.items():
        np.testing.assert_allclose(again.cpds_[name], table, atol=0.03)
    few = fitted(frame, collapse=False)
    again = fitted(few.sample(4000))
    for name, table in model.cpds_.items():
        np.testing.assert_allclose(again.cpds_[name], table, atol=0.09)


def test_completing_takes_the_most_probable_category(frame: pd.DataFrame) -> None:
    model = fitted(frame)
    gaps = frame.mask(np.random.default_rng(0).random(frame.shape) < 0.3)
    filled = model.complete(gaps)
    assert not filled.isna().any(axis=None)
    assert list(filled.columns) == list(frame.columns)
    for name in frame:
        known = gaps[name].notna()
        assert (filled[name][known] == frame[name][known]).all()
        best = model.predict_proba(gaps, name).idxmax(axis=1)
        assert (filled[name][~known] == best[~known]).all()
    whole = model.complete(gaps.drop(columns="rain"))
    assert list(whole.columns) == list(frame.columns)
    pd.testing.assert_frame_equal(model.complete(frame), frame)


def test_missing_cells_are_summed_out_in_fit_and_score(frame: pd.DataFrame) -> None:
    gaps = frame.copy()
    gaps.loc[::3, "rain"] = None
    model = fitted(gaps)
    assert model.n_iter_ > 1
    assert model.converged_
    for name, table in fitted(frame).cpds_.items():
        np.testing.assert_allclose(model.cpds_[name], table, atol=0.12)
    alone = model.score_samples(gaps[["grass"]])
    p = model.predict_proba(pd.DataFrame(index=[0]), "grass").iloc[0]
    np.testing.assert_allclose(alone, np.log(p[frame["grass"]]))
    assert fitted(frame).n_iter_ == 0
    with pytest.raises(ValueError, match="collapse=False attends to whole rows"):
        fitted(gaps, collapse=False)


def test_em_that_does_not_settle_is_reported(
    frame: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("statformer.estimators.bayes_net_em.MAX_ITER", 1)
    gaps = frame.mask(np.random.default_rng(0).random(frame.shape) < 0.3)
    with pytest.warns(ConvergenceWarning, match="after 1 iterations"):
        model = fitted(gaps)
    assert not model.converged_


# ---------------------------------------------------------------------------------------------
# What nobody saw, and what cannot be


def test_unseen_configurations_are_counted_told_and_answered() -> None:
    frame = pd.DataFrame({"a": [0, 0, 1], "b": [0, 1, 0], "c": ["x", "y", "y"]})
    new = pd.DataFrame({"a": [1, 0], "b": [1, 0]})
    model = AttentionBayesNet({"c": ["a", "b"]}, random_state=0).fit(frame)
    assert model.n_unseen_ == {"a": 0, "b": 0, "c": 1}
    with pytest.warns(UnseenConfigurationWarning, match="1 of 2 rows"):
        p = model.predict_proba(new, "c")
    np.testing.assert_allclose(p, [[0.0, 1.0], [1.0, 0.0]])  # the rows (0, 1) and (1, 0)
    with pytest.warns(UnseenConfigurationWarning):
        model.sample(200)
    with pytest.warns(UnseenConfigurationWarning):
        assert np.isfinite(model.score(new.assign(c="y").iloc[:1]))
    with pytest.warns(UnseenConfigurationWarning):
        assert list(model.complete(new)["c"]) == ["y", "x"]
    smooth = AttentionBayesNet({"c": ["a", "b"]}, smoothing=1.0).fit(frame)
    np.testing.assert_allclose(smooth.predict_proba(new, "c"), [[0.5, 0.5], [2 / 3, 1 / 3]])
    assert smooth.n_unseen_["c"] == 0


def test_impossible_rows_are_told_and_answered() -> None:
    frame = pd.DataFrame({"a": [0, 0, 1, 1], "b": [0, 0, 1, 1], "c": [0, 0, 1, 1]})
    model = AttentionBayesNet({"b": ["a"], "c": ["b"]}).fit(frame)
    with pytest.warns(ImpossibleEvidenceWarning, match="1 of 2 rows"):
        p = model.predict_proba(pd.DataFrame({"a": [0, 1], "c": [1, 1]}), "b")
    np.testing.assert_allclose(p, [[1.0, 0.0], [0.0, 1.0]])
    assert model.score(pd.DataFrame({"a": [0], "b": [1], "c": [1]})) == -np.inf


def test_nothing_is_ever_nan(frame: pd.DataFrame) -> None:
    few = frame.iloc[:5]
    gaps = frame.mask(np.random.default_rng(0).random(frame.shape) < 0.4)
    for rows in (few, gaps.iloc[:9]):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                model = fitted(rows)
            except ValueError:  # a column without any value
                continue
            for table in model.cpds_.values():
                assert np.isfinite(table).all(axis=None)
            known = rows.dropna()
            for name in frame:
                assert np.isfinite(model.predict_proba(known, name)).all(axis=None)


# ---------------------------------------------------------------------------------------------
# Requests that cannot be met


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"structure": {"rain": ["grass"], "grass": ["rain"]}}, "cycle, 'rain' -> 'grass'|'grass'"),
        ({"structure": {"rain": ["rain"]}}, "cycle"),
        ({"structure": {"rain": ["cloudy", "cloudy"]}}, "twice"),
        ({"structure": {}}, "no variable"),
        ({"structure": "net.xml"}, ".bif file"),
        ({"structure": WET_GRASS, "order": "columns"}, "order='columns' is for structure=None"),
        ({"structure": WET_GRASS, "max_parents": 2}, "max_parents=2 is for structure=None"),
        ({"max_parents": 0}, "max_parents=0 should be at least 1"),
        ({"order": ["rain", "grass"]}, "column 'sprinkler' is left out"),
        ({"order": ["rain", "grass", "snow"]}, "'snow' is no column"),
        ({"order": ["rain", "rain", "grass", "cloudy", "sprinkler"]}, "listed twice"),
        ({"structure": WET_GRASS, "smoothing": -1.0}, "smoothing"),
        ({"structure": WET_GRASS, "smoothing": np.nan}, "smoothing"),
        ({"structure": WET_GRASS, "smoothing": "1"}, "smoothing"),
        ({"structure": {"rain": ["snow"]}}, "no column 'snow'|no variable of the structure"),
    ],
)
def test_wrong_arguments_are_refused(frame: pd.DataFrame, params: dict, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        AttentionBayesNet(**params).fit(frame)


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"structure": {"rain": "cloudy"}}, "list of parents"),
        ({"structure": 3}, "networkx DiGraph"),
        ({"structure": nx.Graph([("rain", "grass")])}, "networkx DiGraph"),
        ({"structure": WET_GRASS, "collapse": "yes"}, "collapse"),
        ({"order": "rain"}, "order='rain' should be a list"),
        ({"structure": WET_GRASS, "weights": 3}, "weights=3 should be"),
    ],
)
def test_arguments_of_a_wrong_type_are_refused(
    frame: pd.DataFrame, params: dict, match: str
) -> None:
    with pytest.raises(TypeError, match=match):
        AttentionBayesNet(**params).fit(frame)


def test_wrong_frames_are_refused(frame: pd.DataFrame) -> None:
    model = fitted(frame)
    with pytest.raises(TypeError, match="DataFrame"):
        model.fit(frame.to_numpy())
    with pytest.raises(ValueError, match="no column 'rain'"):
        fitted(frame.drop(columns="rain"))
    with pytest.raises(ValueError, match="column 'id' that is no variable"):
        fitted(frame.assign(id=1))
    with pytest.raises(ValueError, match="column 'Rain' that is no variable"):
        model.predict_proba(frame.rename(columns={"rain": "Rain"}), "grass")
    with pytest.raises(ValueError, match="two columns 'grass'"):
        fitted(pd.concat([frame, frame[["grass"]]], axis=1))
    with pytest.raises(ValueError, match="no rows"):
        fitted(frame.iloc[:0])
    with pytest.raises(ValueError, match="column 'rain' holds no categories: unhashable"):
        fitted(frame.assign(rain=[[1]] * len(frame)))
    with pytest.raises(ValueError, match="fitted: 3; known are 0, 7"):
        model.predict_proba(frame.assign(grass=3), "rain")
    with pytest.raises(ValueError, match="holds no value"):
        fitted(frame.assign(rain=None))
    with pytest.raises(ValueError, match="cut numbers into intervals"):
        fitted(pd.concat([frame.assign(rain=np.arange(400.0))] * 4).assign(rain=np.arange(1600.0)))
    with pytest.raises(ValueError, match="not there when the model was fitted: 'hail'"):
        model.predict_proba(frame.assign(rain="hail"), "grass")
    with pytest.raises(ValueError, match="target='Rain' is no variable"):
        model.predict_proba(frame, "Rain")
    with pytest.raises(ValueError, match="n=0 should be at least 1"):
        model.sample(0)
    with pytest.raises(ValueError, match="sample_weight"):
        model.fit(frame, sample_weight=np.ones(3))


def test_measured_numbers_are_no_categories() -> None:
    rng = np.random.default_rng(0)
    measured = pd.DataFrame({"x": rng.normal(size=100), "y": rng.integers(0, 2, 100)})
    with pytest.raises(ValueError, match="'x' has 100 different numbers with decimals"):
        AttentionBayesNet({"y": ["x"]}).fit(measured)
    whole = measured.assign(x=np.arange(100.0) % 40)
    assert len(AttentionBayesNet({"y": [], "x": []}).fit(whole).categories_["x"]) == 40
    few = measured.assign(x=(np.arange(100) % 3) / 2)
    assert len(AttentionBayesNet({"y": [], "x": []}).fit(few).categories_["x"]) == 3
