"""`statformer predict`: a saved model labels new rows, and names the columns it misses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

Answer = dict[str, Any]


@pytest.fixture
def model(cluster: Callable[..., Answer], blobs: pd.DataFrame, tmp_path: Path) -> Path:
    """A model fitted on numbers and one text column."""
    rng = np.random.default_rng(0)
    blobs["site"] = rng.choice(["north", "south"], len(blobs))
    blobs.drop(columns="species").to_csv(tmp_path / "fit.csv", index=False)
    cluster(tmp_path / "fit.csv", "--save", tmp_path / "m", "--out", tmp_path / "labels.csv")
    return tmp_path / "m"


def test_the_same_rows_get_the_same_labels_in_any_order(
    run: Callable[..., Any], model: Path, tmp_path: Path
) -> None:
    labelled = pd.read_csv(tmp_path / "labels.csv")
    part = labelled.iloc[::-3].drop(columns=[c for c in labelled if "cluster" in c])
    part = part.drop(columns=[c for c in part if c.startswith("probability")])
    part["remark"] = "new"
    part[["remark", *part.columns[:-1][::-1]]].to_csv(tmp_path / "new.csv", index=False)
    result = run("predict", model, tmp_path / "new.csv", "--out", tmp_path / "out.csv")
    assert result.exit_code == 0, result.stderr
    answer = json.loads(result.stdout)
    assert answer["n_rows"] == len(part)
    assert answer["ignored"] == ["remark"]
    assert "ignored columns that the model does not know: remark" in result.stderr
    rows = pd.read_csv(tmp_path / "out.csv")
    np.testing.assert_array_equal(rows["cluster"], labelled["cluster"].iloc[::-3])
    np.testing.assert_allclose(
        rows["cluster_probability"], labelled["cluster_probability"].iloc[::-3], atol=2e-6
    )


def test_a_report_to_read(run: Callable[..., Any], model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    result = run("predict", model, tmp_path / "fit.csv", "--out", out, "--no-json")
    assert f"labelled table: {out}" in result.stdout
    assert "120 rows, " in result.stdout


def test_missing_and_renamed_columns_are_named(
    refused: Callable[..., str], model: Path, tmp_path: Path
) -> None:
    frame = pd.read_csv(tmp_path / "fit.csv").rename(columns={"length": "Length_cm"})
    frame.drop(columns="site").to_csv(tmp_path / "new.csv", index=False)
    line = refused("predict", model, tmp_path / "new.csv", "--out", tmp_path / "out.csv")
    assert "column 'length' (is it 'Length_cm'?)" in line
    assert "column 'site'" in line
    assert not (tmp_path / "out.csv").exists()


def test_gaps_and_unknown_values_are_counted(
    run: Callable[..., Any], model: Path, tmp_path: Path
) -> None:
    frame = pd.read_csv(tmp_path / "fit.csv").head(20)
    frame.loc[:3, "width"] = np.nan
    frame.loc[4, "site"] = "moon"
    frame.to_csv(tmp_path / "new.csv", index=False)
    answer = json.loads(
        run("predict", model, tmp_path / "new.csv", "--out", tmp_path / "out.csv").stdout
    )
    assert answer["missing"] == {"width": 4}
    assert "moon" in answer["warnings"][0]


def test_text_where_numbers_were(refused: Callable[..., str], model: Path, tmp_path: Path) -> None:
    frame = pd.read_csv(tmp_path / "fit.csv")
    frame["width"] = "wide"
    frame.to_csv(tmp_path / "new.csv", index=False)
    line = refused("predict", model, tmp_path / "new.csv", "--out", tmp_path / "out.csv")
    assert "'width' holds no numbers" in line


@pytest.mark.parametrize("content", [b"", b"no model", b"\x00" * 64])
def test_files_that_are_no_models(
    refused: Callable[..., str], tmp_path: Path, table: Path, content: bytes
) -> None:
    (tmp_path / "m").write_bytes(content)
    line = refused("predict", tmp_path / "m", table, "--out", tmp_path / "out.csv")
    assert "is not a model" in line


def test_missing_model_and_existing_output(
    refused: Callable[..., str], model: Path, table: Path, tmp_path: Path
) -> None:
    line = refused("predict", tmp_path / "gone", table, "--out", tmp_path / "out.csv")
    assert "no model" in line
    assert "--force" in refused("predict", model, table, "--out", tmp_path / "labels.csv")
    assert "--out" in refused("predict", model, table)


def test_a_model_cut_short(
    refused: Callable[..., str], model: Path, table: Path, tmp_path: Path
) -> None:
    for path in [model, *model.rglob("*")] if model.is_dir() else [model]:
        if path.is_file():
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    line = refused("predict", model, table, "--out", tmp_path / "out.csv")
    assert "is not a model" in line
