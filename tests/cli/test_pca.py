"""`statformer pca`: what it finds, what it says, what it writes, and how it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from statformer.estimators import AttentionPCA
from statformer.nn.standardize import robust_scale
from statformer.plotting.pca import ComponentView, plot_components

Answer = dict[str, Any]
KEYS = {
    "table": str,
    "n_rows": int,
    "n_columns": int,
    "columns": list,
    "dropped": dict,
    "missing": dict,
    "notes": list,
    "warnings": list,
    "weights": str,
    "robust": str,
    "centre": dict,
    "scale": dict | None,
    "components": list,
    "n_light_rows": int,
    "light_rows": list,
    "n_light_cells": int | None,
    "light_cells": list | None,
    "seconds": float,
    "written": dict,
}
NUMBERS = ["length", "width", "colour"]


@pytest.fixture
def pca(run: Callable[..., Any]) -> Callable[..., Answer]:
    """Call `statformer pca ARGUMENTS` with constructed weights; the JSON object it prints."""

    def call(*arguments: object, stdin: bytes | None = None) -> Answer:
        result = run("pca", "--weights", "constructed", *arguments, stdin=stdin)
        assert result.exit_code == 0, result.stderr
        answer: Answer = json.loads(result.stdout)
        return answer

    return call


def test_the_json_object(pca: Callable[..., Answer], table: Path) -> None:
    answer = pca(table)
    assert set(answer) == set(KEYS)
    for key, kind in KEYS.items():
        assert isinstance(answer[key], kind), key
    assert answer["columns"] == NUMBERS
    assert answer["dropped"] == {"species": "text"}
    assert answer["n_rows"] == 120
    shares = [one["share"] for one in answer["components"]]
    together = [one["cumulative"] for one in answer["components"]]
    np.testing.assert_allclose(together, np.cumsum(shares))
    assert together[-2] < 0.9 <= together[-1] <= 1.0
    assert answer["n_light_rows"] == 0
    assert answer["n_light_cells"] == 0
    assert answer["light_cells"] == []
    assert answer["robust"] == "cells"
    by_rows = pca(table, "--robust", "rows")
    assert by_rows["n_light_cells"] is by_rows["light_cells"] is None


def test_the_numbers_are_those_of_the_estimator(
    pca: Callable[..., Answer], blobs: pd.DataFrame, table: Path
) -> None:
    X = blobs[NUMBERS].to_numpy()
    scale = robust_scale(X[None], np.ones((1, 120)))[1][0]
    for option, units in (("--scale", scale), ("--no-scale", np.ones(3))):
        model = AttentionPCA(3, weights="constructed").fit(X / units)
        answer = pca(table, "--components", 3, option)
        found = [[one["loadings"][name] for name in NUMBERS] for one in answer["components"]]
        np.testing.assert_allclose(found, model.components_)
        variances = [one["variance"] for one in answer["components"]]
        np.testing.assert_allclose(variances, model.explained_variance_)
        np.testing.assert_allclose(list(answer["centre"].values()), X.mean(axis=0))
        assert answer["scale"] == (
            None if option == "--no-scale" else dict(zip(NUMBERS, scale, strict=True))
        )


@pytest.mark.parametrize(("asked", "k"), [("1", 1), ("3", 3), ("0.999", 3), ("0.3", 1), ("30%", 1)])
def test_components_as_a_number_or_a_share(
    pca: Callable[..., Answer], table: Path, asked: str, k: int
) -> None:
    assert len(pca(table, "--components", asked)["components"]) == k


def test_rows_with_scores(
    pca: Callable[..., Answer], blobs: pd.DataFrame, table: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.csv"
    answer = pca(table, "--components", 2, "--no-scale", "--out", out)
    assert answer["written"] == {"table with scores": str(out)}
    rows, before = pd.read_csv(out), pd.read_csv(table)
    pd.testing.assert_frame_equal(rows[before.columns], before)
    assert list(rows.columns) == [*before.columns, "pc1", "pc2", "row_weight"]
    model = AttentionPCA(2, weights="constructed").fit(before[NUMBERS])
    np.testing.assert_allclose(rows[["pc1", "pc2"]], model.transform(before[NUMBERS]), atol=1e-6)
    assert (rows["row_weight"] == 1.0).all()


@pytest.mark.parametrize("name", ["out.tsv", "out.parquet"])
def test_formats_of_the_rows(
    pca: Callable[..., Answer], blobs: pd.DataFrame, tmp_path: Path, name: str
) -> None:
    blobs.to_csv(tmp_path / "german.csv", index=False, sep=";", decimal=",")
    out = tmp_path / name
    pca(tmp_path / "german.csv", "--out", out)
    is_text = name == "out.tsv"
    rows = pd.read_csv(out, sep="\t", decimal=",") if is_text else pd.read_parquet(out)
    np.testing.assert_allclose(rows["width"], blobs["width"])
    assert rows["pc1"].dtype == np.float64


def test_a_table_with_scores_may_be_read_again(
    pca: Callable[..., Answer], table: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.csv"
    first = pca(table, "--components", 3, "--out", out)
    again = pca(out, "--components", 1, "--out", out, "--force")
    assert again["columns"] == NUMBERS
    assert again["dropped"]["pc2"] == "written by an earlier run"
    assert again["components"][0]["variance"] == pytest.approx(first["components"][0]["variance"])
    assert list(pd.read_csv(out).columns)[-2:] == ["pc1", "row_weight"]
    assert "pc2" not in pd.read_csv(out)


def test_a_column_of_ours_that_the_table_has_is_refused(
    refused: Callable[..., str], blobs: pd.DataFrame, tmp_path: Path
) -> None:
    blobs.rename(columns={"width": "pc1"}).to_csv(tmp_path / "t.csv", index=False)
    message = refused("pca", tmp_path / "t.csv", "--out", tmp_path / "o.csv")
    assert "'pc1'" in message
    assert not (tmp_path / "o.csv").exists()


def test_empty_rows_have_no_score(
    pca: Callable[..., Answer], blobs: pd.DataFrame, tmp_path: Path
) -> None:
    blobs.loc[[6, 40], NUMBERS] = np.nan
    blobs.loc[7, "width"] = np.nan
    blobs.to_csv(tmp_path / "t.csv", index=False)
    answer = pca(tmp_path / "t.csv", "--out", tmp_path / "o.csv", "--plot", tmp_path / "p.png")
    assert "2 rows hold no number and count for nothing: 7, 41" in answer["notes"]
    assert answer["missing"] == {"length": 2, "width": 3, "colour": 2}
    rows = pd.read_csv(tmp_path / "o.csv")
    assert rows.index[rows["pc1"].isna()].tolist() == [6, 40]
    assert rows.index[rows["row_weight"].isna()].tolist() == [6, 40]


def test_outlying_rows_are_named_with_what_is_strange(
    run: Callable[..., Any], blobs: pd.DataFrame, tmp_path: Path
) -> None:
    blobs.loc[10, ["length", "width"]] = [900.0, -4000.0]
    blobs.to_csv(tmp_path / "t.csv", index=False)
    arguments = ("pca", tmp_path / "t.csv", "--components", 1, "--robust", "rows")
    answer = json.loads(run(*arguments).stdout)
    assert answer["n_light_rows"] >= 1
    first = answer["light_rows"][0]
    assert first["row"] == 11
    assert first["weight"] < 0.2
    assert set(first["stands_out"]) == {"length", "width"}
    assert first["stands_out"]["length"] == 900.0
    text = run(*arguments, "--no-json").stdout
    assert "less than half" in text
    assert "width -4,000" in text
    by_cells = json.loads(run(*arguments[:-2]).stdout)
    assert {(one["row"], one["column"]) for one in by_cells["light_cells"]} >= {
        (11, "length"),
        (11, "width"),
    }


def test_outlying_cells_are_named_with_what_was_expected(
    run: Callable[..., Any], tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(150, 1)) * [1.0, 2.0, 3.0, 4.0, 5.0] + 0.1 * rng.normal(size=(150, 5))
    X[20, 3] = 60.0
    np.save(tmp_path / "t.npy", X)
    arguments = ("pca", tmp_path / "t.npy", "--components", 1, "--robust", "cells")
    answer = json.loads(run(*arguments).stdout)
    first = answer["light_cells"][0]
    assert (first["row"], first["column"], first["value"]) == (21, "x3", 60.0)
    assert abs(first["expected"] - 4 * X[20, 4] / 5) < 2.0
    assert first["weight"] < 0.3
    assert answer["n_light_cells"] >= 1
    assert "expected" in run(*arguments, "--no-json").stdout


def test_the_report_to_read(run: Callable[..., Any], table: Path, tmp_path: Path) -> None:
    plot = tmp_path / "picture.png"
    result = run(
        "pca", table, "--weights", "constructed", "--components", 2, "--no-json", "--plot", plot
    )
    assert result.exit_code == 0
    for words in (
        "120 rows, 3 of 4 columns",
        "robust standard deviation",
        "share of variance",
        "█",
        "+0.",
        f"picture: {plot}",
    ):
        assert words in result.stdout
    assert "note: dropped 'species': text" in result.stderr
    assert plot.read_bytes()[:4] == b"\x89PNG"
    plain = run("pca", table, "--weights", "constructed", "--no-scale", "--no-json").stdout
    assert "columns as they are" in plain


@pytest.mark.parametrize("robust", ["rows", "cells"])
def test_the_picture_is_coloured_by_what_counts(
    run: Callable[..., Any],
    table: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    robust: str,
) -> None:
    seen = []

    def remember(view: ComponentView, *, title: str) -> Any:
        seen.append((view, title))
        return plot_components(view, title=title)

    monkeypatch.setattr("statformer.plotting.pca.plot_components", remember)
    run(
        "pca",
        table,
        "--components",
        2,
        "--no-scale",
        "--robust",
        robust,
        "--plot",
        tmp_path / "p.png",
    )
    ((view, title),) = seen
    assert title == "blobs.csv: principal components"
    model = AttentionPCA(2, robust=robust).fit(pd.read_csv(table)[NUMBERS])
    expected = model.row_weights_
    if robust == "cells":
        expected = expected * model.cell_weights_.mean(axis=1)
    np.testing.assert_allclose(view.row_weights, expected)
    np.testing.assert_allclose(view.scores, model.transform(pd.read_csv(table)[NUMBERS]))
    assert view.n_rest == 1


def test_a_column_that_looks_like_the_answer(
    pca: Callable[..., Answer], blobs: pd.DataFrame, tmp_path: Path
) -> None:
    blobs["label"] = np.arange(120) % 2
    blobs.to_csv(tmp_path / "t.csv", index=False)
    (remark,) = pca(tmp_path / "t.csv")["warnings"]
    assert "'label'" in remark
    assert "--drop label" in remark
    assert pca(tmp_path / "t.csv", "--drop", "label")["warnings"] == []


def test_npy_and_standard_input(pca: Callable[..., Answer], table: Path) -> None:
    from_file, piped = pca(table), pca("-", stdin=table.read_bytes())
    assert piped["table"] == "standard input"
    assert piped["components"] == from_file["components"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--components", "0"], "--components '0'"),
        (["--components", "many"], "--components 'many'"),
        (["--components", "2.5"], "--components '2.5'"),
        (["--components", "4"], "--components 4 must be at most"),
        (["--robust", "columns"], "--robust 'columns'"),
        (["--weights", "nowhere"], "nowhere"),
        (["--columns", "length,species"], "'species', which holds text"),
        (["--columns", "lenght"], "did you mean 'length'"),
        (["--drop", "length,width,colour"], "no column of numbers is left"),
        (["--seed", "-1"], "--seed -1"),
        (["--plot", "p.gif"], "--plot 'p.gif' must end in"),
        (["--out", "o.xlsx"], "--out 'o.xlsx' must end in"),
    ],
)
def test_refusals(
    refused: Callable[..., str], table: Path, arguments: list[str], words: str
) -> None:
    assert words in refused("pca", table, *arguments)


def test_a_refusal_leaves_no_file(refused: Callable[..., str], table: Path, tmp_path: Path) -> None:
    out = tmp_path / "o.csv"
    refused("pca", table, "--out", out, "--weights", "nowhere")
    assert [path.name for path in tmp_path.iterdir()] == ["blobs.csv"]
    out.write_text("mine")
    assert "exists; --force" in refused("pca", table, "--out", out)
    assert out.read_text() == "mine"


def test_one_row_is_not_enough(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    assert "no usable column" in refused("pca", tmp_path / "t.csv")
