"""Outputs are complete or absent, and never replace a file unasked."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from statformer.cli.errors import CommandError
from statformer.cli.outputs import Outputs, write_table
from statformer.cli.reading import read_table

LABELS = np.array([0, 1, 0])
PROBA = np.array([[0.75, 0.25], [0.125, 0.875], [1.0, 0.0]])


def write_half(path: Path, error: BaseException) -> None:
    with Outputs(force=False) as outputs:
        outputs.stage(path).write_text("half")
        raise error


def test_files_appear_together_on_commit(tmp_path: Path) -> None:
    with Outputs(force=False) as outputs:
        for name in ("a.csv", "b.csv"):
            outputs.stage(tmp_path / name).write_text(name)
        assert not (tmp_path / "a.csv").exists()
        outputs.commit()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.csv", "b.csv"]
    assert (tmp_path / "a.csv").read_text() == "a.csv"


def test_nothing_is_left_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        write_half(tmp_path / "a.csv", KeyboardInterrupt())
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="No space left"):
        write_half(tmp_path / "a.csv", OSError(28, os.strerror(28)))
    assert list(tmp_path.iterdir()) == []


def test_new_files_have_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    with Outputs(force=False) as outputs:
        outputs.stage(tmp_path / "new.csv")
        outputs.commit()
    assert (tmp_path / "new.csv").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_paths_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "there.csv").write_text("mine")
    outputs = Outputs(force=False)
    with pytest.raises(CommandError, match="--force"):
        outputs.check("--out", tmp_path / "there.csv")
    with pytest.raises(CommandError, match="no folder"):
        outputs.check("--out", tmp_path / "nowhere" / "a.csv")
    with pytest.raises(CommandError, match="folder"):
        outputs.check("--out", tmp_path)
    with pytest.raises(CommandError, match=r"\.csv, \.tsv"):
        outputs.check("--out", tmp_path / "a.doc", (".csv", ".tsv"))
    Outputs(force=True).check("--out", tmp_path / "there.csv")


@pytest.mark.parametrize("ending", ["csv", "tsv", "parquet"])
def test_labelled_rows_in_each_format(tmp_path: Path, ending: str) -> None:
    (tmp_path / "t.csv").write_text("code,mass\n007,1.50\n008,2.0\n009,\n")
    path = tmp_path / f"out.{ending}"
    write_table(read_table(str(tmp_path / "t.csv")), LABELS, PROBA, path)
    if ending == "parquet":
        rows = pd.read_parquet(path)
    else:
        rows = pd.read_csv(path, sep="\t" if ending == "tsv" else ",")
        assert "007" in path.read_text()
        assert "1.50" in path.read_text()
    assert list(rows.columns) == [
        "code", "mass", "cluster", "cluster_probability", "probability_0", "probability_1",
    ]  # fmt: skip
    assert rows["cluster"].tolist() == LABELS.tolist()
    assert rows["cluster_probability"].tolist() == [0.75, 0.875, 1.0]
    np.testing.assert_array_equal(rows[["probability_0", "probability_1"]], PROBA)


def test_a_decimal_comma_stays_one(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a;b\n1,5;1\n2,5;2\n3,5;9\n")
    write_table(read_table(str(tmp_path / "t.csv")), LABELS, PROBA, tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text().splitlines()[1] == "1,5;1;0;0,75;0,75;0,25"


def test_numbers_of_an_array_keep_all_digits(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(3, 2))
    np.save(tmp_path / "t.npy", values)
    write_table(read_table(str(tmp_path / "t.npy")), LABELS, PROBA, tmp_path / "out.csv")
    np.testing.assert_array_equal(pd.read_csv(tmp_path / "out.csv")[["x0", "x1"]], values)
