"""Structures that are read from rows: what is found, what is told of it, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file

from bayes_nets import GENERAL, SIZES, WET_GRASS, assert_same_network, random_codes, wet_grass
from statformer.constructions.parent_sets import parent_set_weights
from statformer.estimators import bayes_net_reading
from statformer.estimators.bayes_net import AttentionBayesNet, IncompleteRowsWarning
from statformer.estimators.bayes_net_classes import hamming_distance
from statformer.estimators.bayes_net_reading import most_parents, read_rows
from statformer.estimators.bayes_net_tables import count
from statformer.estimators.bayes_net_weights import parent_set_network, smoothed_tables
from statformer.weights import WeightsError

ORDER = ["cloudy", "sprinkler", "rain", "grass"]


def file_of_weights(folder: Path, **changed: np.ndarray) -> Path:
    weights = parent_set_weights() | {f"sets.{name}": value for name, value in changed.items()}
    path = folder / "sets.safetensors"
    save_file(weights, path)
    return path


# ---------------------------------------------------------------------------------------------
# What is found


def test_many_rows_show_the_structure() -> None:
    frame = wet_grass(5000)
    model = AttentionBayesNet(order=ORDER).fit(frame)
    assert {name: set(of) for name, of in model.structure_.items()} == {
        "cloudy": set(), **{name: set(of) for name, of in WET_GRASS.items()}
    }  # fmt: skip
    found = AttentionBayesNet().fit(frame).equivalence_class_
    assert set(found.directed) == {("sprinkler", "grass"), ("rain", "grass")}
    assert {frozenset(pair) for pair in found.undirected} == {
        frozenset(("cloudy", "rain")),
        frozenset(("cloudy", "sprinkler")),
    }
    given = AttentionBayesNet(WET_GRASS).fit(frame)
    assert {frozenset(pair) for pair in given.equivalence_class_.undirected} == {
        frozenset(pair) for pair in found.undirected
    }
    assert given.max_parents_ == 2


def test_the_tables_of_a_structure_that_was_read_are_those_of_one_that_is_given() -> None:
    frame = wet_grass(300)
    for params in ({"smoothing": 1.0}, {"collapse": False}):
        model = AttentionBayesNet(order=ORDER, **params).fit(frame)
        assert_same_network(AttentionBayesNet(model.structure_, **params).fit(frame), model)


def test_distance_falls_with_the_rows() -> None:
    network = parent_set_network("constructed")
    apart = []
    for n in (30, 3000):
        codes = [random_codes(n=n, seed=seed) for seed in range(8)]
        found = [read_rows(network, X, SIZES, None, None, 4).structure for X in codes]
        apart.append(np.mean([hamming_distance(GENERAL, one) for one in found]))
    assert apart[0] > 2.0
    assert apart[1] < 1.0


def test_edges_have_probabilities_in_an_order_and_strengths_in_none() -> None:
    frame = wet_grass(60)
    model = AttentionBayesNet(order=ORDER).fit(frame)
    p = model.edge_probabilities_
    assert list(p.index) == list(p.columns) == list(frame.columns)
    for child in ORDER:
        for parent in ORDER:
            if ORDER.index(parent) >= ORDER.index(child):
                assert p.loc[parent, child] == 0.0
    assert 0.0 < p.loc["cloudy", "grass"] < 1.0
    # two candidates alone: the odds are those of the strength
    alone = AttentionBayesNet(order=["cloudy", "rain"]).fit(frame[["cloudy", "rain"]])
    odds = alone.edge_probabilities_.loc["cloudy", "rain"]
    assert alone.edge_strengths_["cloudy", "rain"] == pytest.approx(np.log(odds / (1 - odds)))
    free = AttentionBayesNet().fit(frame)
    assert set(free.edge_strengths_.index) == {
        (parent, child) for child, of in free.structure_.items() for parent in of
    }
    assert (free.edge_strengths_ > 0).sum() >= 1
    with pytest.raises(AttributeError, match="order="):
        _ = free.edge_probabilities_
    given = AttentionBayesNet(WET_GRASS).fit(frame)
    for name in ("edge_probabilities_", "edge_strengths_"):
        assert not hasattr(given, name)


def test_a_table_without_any_edge() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.integers(2, size=(400, 3)), columns=["a", "b", "c"])
    model = AttentionBayesNet().fit(frame)
    assert model.structure_ == {"a": [], "b": [], "c": []}
    assert model.edge_strengths_.empty
    one = AttentionBayesNet(order="columns").fit(frame[["a"]])
    assert one.structure_ == {"a": []}
    assert one.max_parents_ == 0


def test_weights_decide_what_is_found(tmp_path: Path) -> None:
    frame = wet_grass(200)
    same = AttentionBayesNet(order=ORDER, weights=file_of_weights(tmp_path)).fit(frame)
    constructed = AttentionBayesNet(order=ORDER).fit(frame)
    assert same.structure_ == constructed.structure_
    # reward large sets: one input is 0.4 |S|
    W_1 = np.zeros_like(parent_set_weights()["sets.W_1"])
    W_1[9] = 1.0
    changed = {"W_1": W_1, "W_2": np.eye(3, 1), "W_out": 1e5 * np.eye(1, 3)}
    disturbed = AttentionBayesNet(order=ORDER, weights=file_of_weights(tmp_path, **changed))
    assert disturbed.fit(frame).structure_ != constructed.structure_


# ---------------------------------------------------------------------------------------------
# Learned tables


def test_tables_of_the_network_are_smoothed_counts(tmp_path: Path) -> None:
    codes = random_codes(n=60)
    counts = count(GENERAL, SIZES, codes, None)
    found = smoothed_tables(parent_set_network("constructed"), GENERAL, counts)
    for table, p in zip(counts, found.probabilities, strict=True):
        expected = (table + 1.0) / (table + 1.0).sum(axis=-1, keepdims=True)  # flat tables
        np.testing.assert_allclose(p, expected, atol=1e-12)
    assert found.n_unseen == (0,) * len(GENERAL)
    leaning = parent_set_network(file_of_weights(tmp_path, b_out=np.array([0.0, 3.0, 4.0])))
    leaning_tables = smoothed_tables(leaning, GENERAL, counts)
    assert np.abs(leaning_tables.probabilities[3] - found.probabilities[3]).max() > 0.05


def test_many_parents_are_smoothed_without_their_subsets(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = count(GENERAL, SIZES, random_codes(n=60), None)
    network = parent_set_network("constructed")
    whole = smoothed_tables(network, GENERAL, counts)
    monkeypatch.setattr("statformer.estimators.bayes_net_weights.MAX_CELLS", 1)
    alone = smoothed_tables(network, GENERAL, counts)
    for a, b in zip(whole.probabilities, alone.probabilities, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)


def test_learned_weights_leave_smoothing_and_attention_alone(tmp_path: Path) -> None:
    path = file_of_weights(tmp_path)
    with pytest.raises(ValueError, match=r"smoothing=1\.0: learned weights smooth by themselves"):
        AttentionBayesNet(WET_GRASS, weights=path, smoothing=1.0).fit(wet_grass(50))
    with pytest.raises(ValueError, match="needs collapse=True"):
        AttentionBayesNet(WET_GRASS, weights=path, collapse=False).fit(wet_grass(50))
    save_file({"em.x": np.zeros(2)}, path)
    with pytest.raises(WeightsError, match="not the weights of"):
        AttentionBayesNet(WET_GRASS, weights=path).fit(wet_grass(50))
    with pytest.raises(FileNotFoundError, match="no such file"):
        AttentionBayesNet(WET_GRASS, weights=tmp_path / "none.safetensors").fit(wet_grass(50))


# ---------------------------------------------------------------------------------------------
# Missing cells and limits


def test_a_structure_is_read_from_whole_rows() -> None:
    frame = wet_grass(900)
    gaps = frame.mask(np.random.default_rng(0).random(frame.shape) < 0.1)
    n_gaps = int(gaps.isna().any(axis=1).sum())
    with pytest.warns(IncompleteRowsWarning, match=f"{n_gaps} of 900 rows"):
        model = AttentionBayesNet(order=ORDER).fit(gaps)
    assert model.structure_ == AttentionBayesNet(order=ORDER).fit(gaps.dropna()).structure_
    assert model.n_iter_ > 1  # the tables use all rows
    nothing = frame.astype(object)
    nothing.loc[::2, "rain"] = None
    nothing.loc[1::2, "grass"] = None
    with pytest.raises(ValueError, match="every row of df has a missing cell"):
        AttentionBayesNet().fit(nothing)


def test_limits_are_told_with_a_remedy() -> None:
    def most(sizes: list[int], asked: int | None = None, *, ordered: bool = True) -> int:
        return most_parents(sizes, [f"x{m}" for m in range(len(sizes))], asked, ordered=ordered)

    assert most([2] * 12) == 11
    assert most([3] * 9) == 8
    assert most([2] * 30) == 2
    assert most([2] * 5, 2) == 2
    assert most([2] * 5, 40) == 4
    with pytest.raises(ValueError, match="at most 16 columns, and df has 17; pass order="):
        most([2] * 17, ordered=False)
    with pytest.raises(ValueError, match=r"max_parents=3: .* at most 2 are possible"):
        most([2] * 30, 3)
    with pytest.raises(ValueError, match="'x0' and 'x2' have 1,000 and 900 categories"):
        most([1000, 2, 900])
    model = AttentionBayesNet(order=ORDER, max_parents=1).fit(wet_grass(500))
    assert model.max_parents_ == 1
    assert len(model.structure_["grass"]) == 1


def test_the_limits_bound_what_is_asked_of_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bayes_net_reading, "MAX_SETS", 7)
    frame = wet_grass(200)
    assert AttentionBayesNet().fit(frame).max_parents_ == 2  # 1 + 3 + 3 sets
    monkeypatch.setattr(bayes_net_reading, "MAX_CELLS", 14)
    assert AttentionBayesNet().fit(frame).max_parents_ == 1  # 2 + 3 * 4 cells
    with pytest.raises(ValueError, match="no columns"):
        AttentionBayesNet().fit(frame[[]])
