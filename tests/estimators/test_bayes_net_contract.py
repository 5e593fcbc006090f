"""`AttentionBayesNet` keeps its contract however it came to its structure and tables."""

from __future__ import annotations

import copy
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from bayes_nets import WET_GRASS, assert_same_network, wet_grass
from statformer.constructions.parent_sets import parent_set_weights
from statformer.estimators.bayes_net import AttentionBayesNet

ORDER = ["cloudy", "sprinkler", "rain", "grass"]
KINDS: dict[str, dict[str, Any]] = {
    "given": {"structure": WET_GRASS},
    "read": {},
    "read in order": {"order": ORDER},
    "given, learned": {"structure": WET_GRASS, "weights": "learned"},
    "read, learned": {"weights": "learned"},
    "read in order, learned": {"order": ORDER, "weights": "learned"},
}


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return wet_grass()


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of weights that smooth and lean on smaller sets, as learned ones do."""
    weights = parent_set_weights({0.3: 0.5, 3.0: 0.5})
    weights["sets.b_out"] = np.array([0.0, 0.5, 1.0])
    path = tmp_path_factory.mktemp("weights") / "learned.safetensors"
    save_file(weights, path)
    return path


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, learned: Path) -> dict[str, Any]:
    """Arguments: who gives the structure, who makes the tables."""
    found = dict(KINDS[request.param])
    return found | {"weights": learned} if "weights" in found else found


def smoothing(kind: dict[str, Any]) -> dict[str, float]:
    """Learned weights smooth by themselves."""
    return {} if "weights" in kind else {"smoothing": 0.5}


def fitted(frame: pd.DataFrame, kind: dict[str, Any], **params: Any) -> AttentionBayesNet:
    return AttentionBayesNet(random_state=0, **kind, **params).fit(frame)


def test_clone_parameters_and_repr(frame: pd.DataFrame, kind: dict[str, Any]) -> None:
    model = fitted(frame, kind, **smoothing(kind))
    again = clone(model)
    assert again.get_params() == model.get_params()
    assert set(again.get_params()) == {
        "structure", "order", "max_parents", "weights", "smoothing", "collapse", "random_state",
    }  # fmt: skip
    assert all(name in repr(model) for name in (*kind, *smoothing(kind)))
    assert not [name for name in vars(again) if name.endswith("_")]
    assert_same_network(again.fit(frame), model)
    assert_same_network(pickle.loads(pickle.dumps(model)), model)


def test_nothing_works_before_fit(frame: pd.DataFrame, kind: dict[str, Any]) -> None:
    model = AttentionBayesNet(**kind)
    for call in (
        model.sample,
        model.to_pgmpy,
        lambda: model.to_bif("never.bif"),
        lambda: model.score(frame),
        lambda: model.complete(frame),
        lambda: model.predict_proba(frame, "rain"),
        lambda: model.cpds_,
        lambda: model.structure_,
        lambda: model.equivalence_class_,
        lambda: model.edge_probabilities_,
        lambda: model.edge_strengths_,
    ):
        with pytest.raises(NotFittedError):
            call()


def test_fitting_leaves_the_frame_and_the_parameters_alone(
    frame: pd.DataFrame, kind: dict[str, Any]
) -> None:
    before, given = frame.copy(), copy.deepcopy(kind)
    model = fitted(frame, kind)
    model.predict_proba(frame, "rain")
    model.complete(frame)
    pd.testing.assert_frame_equal(frame, before)
    assert {name: getattr(model, name) for name in given} == given


def test_column_order_does_not_matter(frame: pd.DataFrame, kind: dict[str, Any]) -> None:
    model = fitted(frame, kind)
    turned = frame[frame.columns[::-1]]
    pd.testing.assert_frame_equal(
        fitted(turned, kind).predict_proba(frame, "rain"), model.predict_proba(frame, "rain")
    )
    pd.testing.assert_frame_equal(
        model.predict_proba(turned, "rain"), model.predict_proba(frame, "rain")
    )
    assert list(model.sample(2).columns) == list(frame.columns)
    assert list(fitted(turned, kind).sample(2).columns) == list(turned.columns)
    assert list(model.feature_names_in_) == list(frame.columns)
    assert model.n_features_in_ == 4


def test_samples_have_the_types_of_the_columns(frame: pd.DataFrame, kind: dict[str, Any]) -> None:
    drawn = fitted(frame, kind).sample(50)
    pd.testing.assert_series_equal(drawn.dtypes, frame.dtypes)
    for name in frame:
        assert set(drawn[name]) <= set(frame[name])
    assert drawn["sprinkler"].cat.ordered


@pytest.mark.parametrize(
    "values",
    [
        pd.Series(["b", "a", "b", "c"]),
        pd.Series(["b", "a", "b", "c"], dtype=object),
        pd.Series([3, 1, 3, 10]),
        pd.Series([3, 1, 3, 10], dtype="Int64"),
        pd.Series([70_001, 69_999, 70_001, 70_400]),
        pd.Series([-40_000, -40_001, -40_001, -40_000]),
        pd.Series([250, 1, 250, 3], dtype="uint8"),
        pd.Series([2**62, -(2**62), 0, 0]),
        pd.Series([True, False, True, True]),
        pd.Series([0.5, 1.5, 0.5, 2.0]),
        pd.Series(["b", "a", "b", "c"], dtype=pd.CategoricalDtype(["c", "b", "a", "unused"])),
        pd.Series(pd.to_datetime(["2020-01-02", "2020-01-01", "2020-01-02", "2021-01-01"])),
        pd.Series([1, "a", 1, None], dtype=object),
    ],
    ids=lambda values: str(values.dtype),
)
def test_every_type_of_category_makes_the_round_trip(values: pd.Series) -> None:
    frame = pd.DataFrame({"x": values, "y": [0, 1, 0, 1]})
    model = AttentionBayesNet({"x": ["y"]}, random_state=0).fit(frame)
    drawn = model.sample(20)
    assert drawn["x"].dtype == values.dtype
    assert set(drawn["x"]) <= set(values.dropna())
    p = model.predict_proba(frame, "x")
    assert list(p.columns) == list(model.categories_["x"])
    np.testing.assert_allclose(p.sum(axis=1), 1.0)
    filled = model.complete(frame)
    assert filled["x"].dtype == values.dtype
    assert not filled.isna().any(axis=None)


def test_wholly_new_indices_are_kept(frame: pd.DataFrame, kind: dict[str, Any]) -> None:
    turned = frame.set_index(frame.index[::-1] + 100)
    assert fitted(frame, kind).predict_proba(turned, "rain").index.equals(turned.index)
    assert fitted(frame, kind).complete(turned).index.equals(turned.index)


@pytest.mark.filterwarnings("ignore::statformer.estimators.bayes_net.IncompleteRowsWarning")
@pytest.mark.parametrize("gaps", [False, True])
def test_a_weight_is_a_repeated_row(frame: pd.DataFrame, gaps: bool, kind: dict[str, Any]) -> None:
    frame = frame.mask(np.random.default_rng(3).random(frame.shape) < 0.2) if gaps else frame
    frame = frame.dropna(how="all")
    weight = np.random.default_rng(1).integers(0, 4, len(frame))
    repeated = frame.loc[frame.index.repeat(weight)]
    assert_same_network(
        fitted(frame, kind).fit(frame, sample_weight=weight), fitted(repeated, kind), atol=1e-10
    )
    model = fitted(frame, kind, **smoothing(kind))
    assert model.score(frame, sample_weight=weight) == pytest.approx(model.score(repeated))


def test_a_row_of_weight_zero_is_absent(frame: pd.DataFrame) -> None:
    odd = frame.astype({"rain": object})
    odd.loc[0, "rain"] = "hail"
    weight = np.ones(len(odd))
    weight[0] = 0.0
    model = AttentionBayesNet(WET_GRASS).fit(odd, weight)
    assert list(model.categories_["rain"]) == ["no", "yes"]
    assert_same_network(model, AttentionBayesNet(WET_GRASS).fit(odd.iloc[1:]))


def test_random_state(frame: pd.DataFrame, kind: dict[str, Any]) -> None:
    model = fitted(frame, kind)
    pd.testing.assert_frame_equal(model.sample(30), model.sample(30))
    model.random_state = np.random.default_rng(0)
    assert not model.sample(30).equals(model.sample(30))
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    model.random_state = None
    model.sample(3)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


@pytest.mark.filterwarnings("ignore::statformer.estimators.bayes_net.IncompleteRowsWarning")
def test_cells_that_are_missing_are_summed_out(frame: pd.DataFrame, kind: dict[str, Any]) -> None:
    gaps = frame.mask(np.random.default_rng(3).random(frame.shape) < 0.1)
    model = fitted(gaps, kind)
    assert model.n_iter_ > 1
    assert model.converged_
    assert not model.complete(gaps).isna().any(axis=None)
    together, alone = (model.complete(gaps, joint=joint) for joint in (True, False))
    gain = model.score_samples(together) - model.score_samples(alone)
    assert gain.min() > -1e-9
    p = model.predict_proba(gaps, "rain")
    assert np.isfinite(p).all(axis=None)


def test_networks_travel(frame: pd.DataFrame, kind: dict[str, Any], tmp_path: Path) -> None:
    model = fitted(frame, kind)
    model.to_bif(tmp_path / "net.bif")
    texts = frame.astype(str)
    again = AttentionBayesNet(tmp_path / "net.bif").fit(texts)
    assert again.structure_ == model.structure_
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = model.to_pgmpy()
        assert theirs.check_model()
    assert set(theirs.edges()) == {(p, c) for c, of in model.structure_.items() for p in of}
