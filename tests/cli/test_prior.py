"""`statformer prior`: the gallery as a file, and how ordinary tables are."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

Run = Callable[..., Any]


def test_the_gallery_is_a_picture(run: Run, refused: Callable[..., str], tmp_path: Path) -> None:
    path = tmp_path / "gallery.png"
    result = run("prior", "show", "--out", path, "--pieces", "rings,missing,nominal", "--seed", 3)
    assert result.exit_code == 0, result.output
    assert "5 tables" in result.stdout
    assert path.read_bytes()[:4] == b"\x89PNG"
    assert "--force replaces it" in refused("prior", "show", "--out", path, "--pieces", "rings")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("show", "--pieces", "spice", "--out", "x.png"), "--pieces: unknown pieces ['spice']"),
        (("show", "--out", "x.txt"), "must end in .png, .pdf, .svg"),
        (("ordinary", "none.csv"), "none.csv"),
        (("ordinary", "none.csv", "--draws", "3"), "--draws 3"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    refused: Callable[..., str], arguments: tuple[str, ...], says: str
) -> None:
    assert says in refused("prior", *arguments)


def test_tables_are_placed_in_the_prior(
    run: Run, table: Path, blobs: pd.DataFrame, tmp_path: Path
) -> None:
    labelled = tmp_path / "labelled.csv"
    blobs.rename(columns={"species": "label"}).to_csv(labelled, index=False)
    result = run("prior", "ordinary", table, labelled, "--draws", 60, "--json")
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    text, numbers = answer["tables"]
    assert text["table"] == table.name
    assert (text["n_rows"], text["n_columns"]) == (120, 6)  # three numbers, three names
    assert (numbers["n_rows"], numbers["n_columns"]) == (120, 3)  # the label is left out
    for one in answer["tables"]:
        assert one["distance"] > 0
        assert 0 <= one["percentile"] <= 100
        assert len(one["unusual"]) == 3
    lines = run("prior", "ordinary", labelled, "--draws", 60).stdout.splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("labelled.csv")
    assert f"{numbers['percentile']:.1f} %" in lines[1]


def test_another_column_may_hold_the_answer(run: Run, table: Path) -> None:
    result = run("prior", "ordinary", table, "--draws", 60, "--json", "--label-column", "species")
    assert json.loads(result.stdout)["tables"][0]["n_columns"] == 3
