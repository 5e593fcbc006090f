"""`statformer cluster --like`, `--effort`, `--fallback`, and what is expected of the clusters."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from statformer import AttentionMixture
from statformer.cli.cluster import as_options
from statformer.cli.report import expectation

CENTRES = np.array([[0.0, 100.0], [80.0, 160.0], [0.0, 220.0], [-80.0, 60.0]])


def week(path: Path, sizes: list[int], seed: int) -> Path:
    """A table with so many rows of each cluster, an identifier and a text column."""
    rng = np.random.default_rng(seed)
    group = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    frame = pd.DataFrame(CENTRES[group] + rng.normal(size=(len(group), 2)), columns=["x", "y"])
    frame.insert(0, "id", np.arange(len(group)))
    frame["answer"] = np.array(["ant", "bee", "cat", "dog"])[group]
    frame.to_csv(path, index=False)
    return path


@pytest.fixture
def first(cluster: Callable[..., Any], tmp_path: Path) -> Path:
    """A model of three clusters of 80, 60 and 40 rows: ant, bee, cat."""
    week(tmp_path / "first.csv", [80, 60, 40], 0)
    cluster(tmp_path / "first.csv", "--drop", "answer", "--save", tmp_path / "model")
    return tmp_path / "model"


def test_clusters_are_numbered_like_those_of_the_model(
    cluster: Callable[..., Any], run: Callable[..., Any], first: Path, tmp_path: Path
) -> None:
    table = week(tmp_path / "second.csv", [20, 0, 70, 50], 1)  # bee vanishes, dog is new
    second, out = tmp_path / "model2", tmp_path / "out.csv"
    answer = cluster(
        table, "--like", first, "--label-column", "answer", "--save", second, "--out", out
    )
    assert answer["columns"] == ["x", "y"]
    assert answer["dropped"] == {"id": "--like was fitted without it"}
    like = answer["like"]
    assert like["model"] == str(first)
    assert (sorted(like["kept"]), like["new"], like["gone"]) == ([0, 2], [3], [1])
    assert min(like["overlap"]) > 0.3
    rows = pd.read_csv(out)
    assert dict(zip(rows["answer"], rows["cluster"], strict=True)) == {"ant": 0, "cat": 2, "dog": 3}
    proba = rows[[f"probability_{name}" for name in (0, 2, 3)]].to_numpy()
    np.testing.assert_array_equal(np.array([0, 2, 3])[proba.argmax(axis=1)], rows["cluster"])
    sizes = {one["cluster"]: one["size"] for one in answer["clusters"]}
    assert sizes == {0: 20, 2: 70, 3: 50}
    # the saved model goes on calling them so
    run("predict", second, table, "--out", tmp_path / "again.csv")
    np.testing.assert_array_equal(pd.read_csv(tmp_path / "again.csv")["cluster"], rows["cluster"])
    third = cluster(week(tmp_path / "third.csv", [30, 40, 50, 60], 2), "--like", second)
    assert (sorted(third["like"]["kept"]), third["like"]["new"]) == ([0, 2, 3], [4])
    report = run("cluster", table, "--weights", "constructed", "--like", first, "--no-json")
    assert "note: numbered like" in report.stderr
    assert "new: 3; gone: 1" in report.stderr


def test_a_table_of_other_columns_is_refused(
    refused: Callable[..., str], first: Path, tmp_path: Path
) -> None:
    table = week(tmp_path / "t.csv", [20, 20], 1)
    frame = pd.read_csv(table).rename(columns={"x": "X"})
    frame.to_csv(table, index=False)
    assert "lacks column 'x' (is it 'X'?)" in refused("cluster", table, "--like", first)
    frame.rename(columns={"X": "x"}).to_csv(table, index=False)
    assert "--columns" in refused("cluster", table, "--like", first, "--columns", "x")
    line = refused("cluster", table, "--like", first, "--label-column", "x")
    assert "--label-column x" in line
    assert "did you mean" in refused("cluster", table, "--like", first, "--label-column", "answe")
    assert "no model" in refused("cluster", table, "--like", tmp_path / "nowhere")
    assert "is not a model" in refused("cluster", table, "--like", table)


def test_effort_and_fallback_reach_the_estimator(
    run: Callable[..., Any], refused: Callable[..., str], table: Path, tmp_path: Path
) -> None:
    options = ("--weights", "constructed", "--k", 2, "--effort", "fast", "--fallback", "raise")
    answer = json.loads(run("cluster", table, *options, "--save", tmp_path / "m").stdout)
    params = AttentionMixture.load(tmp_path / "m").get_params()
    assert params["effort"] == answer["effort"] == "fast"
    assert params["fallback"] == "raise"
    assert answer["out_of_depth"] is None
    assert answer["fell_back"] is False
    assert "--effort slow is unknown" in refused("cluster", table, "--effort", "slow")
    line = refused("cluster", table, "--weights", "constructed", "--fallback", "never")
    assert "--fallback never is unknown" in line


def test_options_are_named_as_on_the_command_line() -> None:
    message = "Compare with weights='constructed'; fallback='raise' refuses, effort='best' too"
    expected = "Compare with --weights constructed; --fallback raise refuses, --effort best too"
    assert as_options(message) == expected


@pytest.mark.parametrize(
    ("ari", "words"),
    [
        (0.95, "0.95, nearly all of the structure"),
        (0.7, "0.70, most of"),
        (0.41, "0.41, a good part"),
        (0.3, "0.30, some"),
        (0.0, "0.00, little more than chance"),
        (-0.1, "-0.10, little more than chance"),
    ],
)
def test_the_expected_ari_in_words(ari: float, words: str) -> None:
    assert expectation(ari).startswith("expected agreement with the true classes (ARI): " + words)


def test_the_expected_ari_and_a_fallback_are_reported(
    run: Callable[..., Any], table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = AttentionMixture.fit

    def judged(self: AttentionMixture, *args: Any, **options: Any) -> AttentionMixture:
        self.set_params(weights="constructed")
        fit(self, *args, **options)
        self.expected_ari_, self.out_of_depth_ = 0.71, 100.0
        return self

    monkeypatch.setattr(AttentionMixture, "fit", judged)
    answer = json.loads(run("cluster", table).stdout)
    assert answer["expected_ari"] == 0.71
    assert answer["out_of_depth"] == 100.0
    assert answer["fell_back"] is True
    assert answer["weights"] == "constructed"
    result = run("cluster", table, "--no-json")
    assert "expected agreement with the true classes (ARI): 0.71, most of" in result.stdout
    assert "note: the table is unlike all that the pretrained weights" in result.stderr
