"""`statformer judge`: which columns are judged by which, what is said, how it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import statformer.estimators


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What reaches `statformer.judge`, which answers 0.9, 0.8, ... in order."""
    calls: list[dict[str, Any]] = []

    def judge(X: pd.DataFrame, labels: list, **options: Any) -> np.ndarray:
        calls.append({"X": X, "labels": labels, **options})
        return 0.9 - 0.1 * np.arange(len(labels))

    monkeypatch.setattr(statformer.estimators, "judge", judge)
    return calls


def test_the_json_object(run: Callable[..., Any], table: Path, asked: list) -> None:
    answer = json.loads(run("judge", table, "--labels", "species", "--json").stdout)
    assert answer["judged"] == [
        {"labels": "species", "k": 3, "n_noise": 0, "expected_ari": pytest.approx(0.9)}
    ]
    assert answer["columns"] == ["length", "width", "colour"]
    assert answer["n_rows"] == 120
    assert set(answer) == {
        "table", "n_rows", "n_columns", "columns", "dropped", "encoded", "missing", "filled",
        "notes", "warnings", "weights", "judged", "seconds",
    }  # fmt: skip
    (call,) = asked
    assert list(call["X"].columns) == ["length", "width", "colour"]
    assert call["labels"] == [pd.read_csv(table)["species"].tolist()]
    assert call["weights"] == "pretrained"
    assert call["random_state"] == 0


def test_several_columns_are_judged_together_and_by_none_of_them(
    run: Callable[..., Any], blobs: pd.DataFrame, tmp_path: Path, asked: list
) -> None:
    blobs["half"] = np.where(np.arange(120) < 60, 1, -1)
    blobs.loc[3, "width"] = np.nan
    blobs.loc[:9, "species"] = None
    blobs.to_csv(tmp_path / "t.csv", index=False)
    arguments = ("judge", tmp_path / "t.csv", "--labels", "species", "--labels", "half")
    answer = json.loads(run(*arguments, "--drop", "length").stdout)
    assert [(one["labels"], one["k"], one["n_noise"]) for one in answer["judged"]] == [
        ("species", 3, 10),
        ("half", 1, 60),
    ]
    assert len(asked[0]["labels"]) == 2
    assert list(asked[0]["X"].columns) == answer["columns"] == ["width", "colour"]
    assert answer["missing"] == {"width": 1}
    report = run(*arguments, "--no-json")
    assert "expected agreement with the true classes (ARI): 0.90, nearly all" in report.stdout
    assert "(ARI): 0.80, most" in report.stdout
    assert "species: 3 clusters, 10 rows of noise" in report.stdout
    assert "half: 1 cluster, 60 rows of noise" in report.stdout
    assert "1 missing cell" in report.stderr


def test_the_clusters_of_an_earlier_run_can_be_judged(
    run: Callable[..., Any], cluster: Callable[..., Any], table: Path, tmp_path: Path, asked: list
) -> None:
    cluster(table, "--drop", "species", "--out", tmp_path / "out.csv")
    answer = json.loads(run("judge", tmp_path / "out.csv", "--labels", "cluster").stdout)
    assert answer["columns"] == ["length", "width", "colour", "species"]
    assert answer["judged"][0]["k"] == 3


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["nowhere.csv", "--labels", "species"], "no file"),
        (["blobs.csv", "--labels", "specie"], "did you mean 'species'"),
        (["blobs.csv", "--labels", "species", "--columns", "species"], "asks to judge"),
        (["blobs.csv", "--labels", "species", "--columns", "lenght"], "did you mean 'length'"),
        (["blobs.csv", "--labels", "species", "--seed", "-1"], "--seed"),
        (["blobs.csv", "--labels", "species", "--weights", "constructed"], "no judge"),
        (["blobs.csv", "--labels", "species", "--weights", "nowhere"], "nowhere"),
        (["blobs.csv"], "--labels"),
        (["blobs.csv", "--labels", "species", "--drop", "length,width,colour"], "no usable column"),
    ],
)
def test_errors_are_one_line(
    refused: Callable[..., str],
    table: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    word: str,
) -> None:
    monkeypatch.chdir(table.parent)
    assert word in refused("judge", *arguments)
