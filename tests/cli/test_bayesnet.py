"""`statformer bayesnet`: fit, complete and sample a table of categories from the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file
from typer import Typer
from typer.testing import CliRunner

from bayes_nets import WET_GRASS, wet_grass
from statformer.cli import CommandGroup
from statformer.cli.bayesnet import bayesnet
from statformer.constructions.parent_sets import parent_set_weights
from statformer.estimators.bayes_net import AttentionBayesNet

Answer = dict[str, Any]


@pytest.fixture
def run() -> Callable[..., Any]:
    """Call `statformer bayesnet ARGUMENTS`; a traceback fails the test."""
    alone = Typer(cls=CommandGroup, add_completion=False)
    alone.callback()(lambda: None)
    alone.command("bayesnet")(bayesnet)

    def call(*arguments: object) -> Any:
        result = CliRunner().invoke(alone, ["bayesnet", *(str(a) for a in arguments)])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return call


@pytest.fixture
def refused(run: Callable[..., Any]) -> Callable[..., str]:
    def call(*arguments: object) -> str:
        result = run(*arguments)
        assert result.exit_code == 2, (result.exit_code, result.output)
        assert result.stderr.count("\n") == 1
        return result.stderr

    return call


@pytest.fixture
def frame() -> pd.DataFrame:
    """The wet grass with codes that are no numbers (007), and a column of its own."""
    frame = wet_grass(200).astype({"sprinkler": str})
    frame["grass"] = np.where(frame["grass"] > 0, "007", "000")
    frame["id"] = np.arange(200)
    return frame


@pytest.fixture
def table(frame: pd.DataFrame, tmp_path: Path) -> Path:
    gaps = frame.copy()
    gaps.loc[::9, "rain"] = None
    gaps.to_csv(tmp_path / "rows.csv", index=False, sep=";")
    return tmp_path / "rows.csv"


@pytest.fixture
def net(frame: pd.DataFrame, tmp_path: Path) -> Path:
    path = tmp_path / "net.bif"
    AttentionBayesNet(WET_GRASS).fit(frame.drop(columns="id").astype(str)).to_bif(path)
    return path


def answer(result: Any) -> Answer:
    assert result.exit_code == 0, result.output
    found: Answer = json.loads(result.stdout)
    return found


def test_new_rows(run: Callable[..., Any], table: Path, net: Path, tmp_path: Path) -> None:
    out = tmp_path / "new.csv"
    found = answer(run(table, "--structure", net, "--sample", 300, "--out", out))
    rows = pd.read_csv(out, sep=";", dtype=str)
    assert list(rows.columns) == ["sprinkler", "grass", "cloudy", "rain"]
    assert set(rows["grass"]) == {"000", "007"}
    assert len(rows) == 300
    assert found["n_edges"] == 4
    assert found["missing"] == {"rain": 23}
    assert found["n_iter"] > 0
    assert found["dropped"] == {"id": "not in the structure"}
    assert found["written"] == {"new rows": str(out)}
    run(table, "--structure", net, "--sample", 300, "--out", out, "--force", "--seed", 1)
    assert not rows.equals(pd.read_csv(out, sep=";", dtype=str))


def test_completed_rows(
    run: Callable[..., Any], table: Path, net: Path, frame: pd.DataFrame, tmp_path: Path
) -> None:
    out = tmp_path / "whole.csv"
    found = answer(run(table, "--structure", net, "--complete", "--out", out))
    assert found["filled"] == {"rain": 23}
    rows, written = pd.read_csv(out, sep=";", dtype=str), pd.read_csv(table, sep=";", dtype=str)
    assert list(rows.columns) == list(written.columns)
    known = written["rain"].notna()
    pd.testing.assert_frame_equal(rows[known], written[known])
    assert set(rows["rain"][~known]) <= {"yes", "no"}
    assert (rows["rain"] == frame["rain"])[~known].mean() > 0.5


def test_the_fitted_network(
    run: Callable[..., Any], table: Path, net: Path, frame: pd.DataFrame, tmp_path: Path
) -> None:
    out = tmp_path / "fitted.bif"
    run(table, "--structure", net, "--smoothing", 1, "--out", out)
    cells = pd.read_csv(table, sep=";", dtype=str).drop(columns="id")
    model = AttentionBayesNet(net, smoothing=1.0).fit(cells)
    model.to_bif(tmp_path / "expected.bif")
    assert out.read_text() == (tmp_path / "expected.bif").read_text()


def test_a_report_to_read(run: Callable[..., Any], table: Path, net: Path) -> None:
    result = run(table, "--structure", net, "--no-json")
    assert "200 rows, 4 variables, 4 edges" in result.stdout
    assert "23 missing cells" in result.stdout
    assert "rain, sprinkler" in result.stdout
    assert "dropped 'id': not in the structure" in result.stderr


def test_a_word_that_the_network_declares_is_no_missing_cell(
    run: Callable[..., Any], tmp_path: Path
) -> None:
    pd.DataFrame({"x": ["None", "some", "", "None"], "y": list("aabb")}).to_csv(
        tmp_path / "rows.csv", index=False
    )
    (tmp_path / "net.bif").write_text(
        "variable x { type discrete [2] { None, some }; } variable y { type discrete [2] {a, b}; }"
        "probability (x) { table 0.5 0.5; } probability (y | x) { default 0.5 0.5; }"
    )
    found = answer(run(tmp_path / "rows.csv", "--structure", tmp_path / "net.bif"))
    assert found["missing"] == {"x": 1}


def test_a_structure_is_found(run: Callable[..., Any], table: Path, tmp_path: Path) -> None:
    out = tmp_path / "found.bif"
    found = answer(run(table, "--out", out))
    assert found["dropped"] == {"id": "200 values, more than 50; cut it into intervals"}
    assert found["structure"] is None
    assert found["n_edges"] == len(found["edges"]) >= 2
    assert any("23 of 200 rows have missing cells" in text for text in found["warnings"])
    worth = [edge["nats"] for edge in found["edges"]]
    assert worth == sorted(worth, reverse=True)
    assert all(edge["probability"] is None for edge in found["edges"])
    again = answer(run(table, "--structure", out))
    assert again["n_edges"] == found["n_edges"]
    assert again["edges"] == []
    parents = {one["variable"]: one["parents"] for one in again["variables"]}
    assert all(edge["parent"] in parents[edge["child"]] for edge in found["edges"])


def test_a_structure_is_found_in_an_order(run: Callable[..., Any], table: Path) -> None:
    order = ["cloudy", "rain", "grass"]
    found = answer(run(table, "--order", ", ".join(order)))
    assert found["order"] == order
    assert found["dropped"] == {"id": "not in --order", "sprinkler": "not in --order"}
    for edge in found["edges"]:
        assert order.index(edge["parent"]) < order.index(edge["child"])
        assert 0.0 < edge["probability"] <= 1.0
        assert edge["is_directed"]
    printed = run(table, "--order", "cloudy,rain,grass", "--no-json").stdout
    assert "cloudy -> rain" in printed
    assert "probability" in printed
    free = run(table, "--no-json").stdout
    assert "turn it either way" in free
    assert " - " in free


def test_wrong_requests_are_refused(
    refused: Callable[..., str], table: Path, net: Path, tmp_path: Path
) -> None:
    out, sets = tmp_path / "out.csv", tmp_path / "sets.safetensors"
    save_file(parent_set_weights(), sets)
    assert "--out FILE" in refused(table, "--structure", net, "--sample", 3)
    assert "twice" in refused(table, "--structure", net, "--sample", 3, "--complete", "--out", out)
    assert "1 or more" in refused(table, "--structure", net, "--sample", 0, "--out", out)
    assert ".bif" in refused(table, "--structure", net, "--out", out)
    assert "no file" in refused(table, "--structure", tmp_path / "none.bif")
    assert "smoothing=-1.0" in refused(table, "--structure", net, "--smoothing", -1)
    assert "line 1" in refused(table, "--structure", table)
    assert "--structure gives one" in refused(table, "--structure", net, "--order", "rain,grass")
    assert "did you mean 'rain'?" in refused(table, "--order", "rian,grass")
    assert "'rain' twice" in refused(table, "--order", "rain,rain")
    assert "'id', which has 200 values" in refused(table, "--order", "rain,id")
    assert "no checkpoint of this name" in refused(table, "--weights", "none")
    assert "learned weights smooth" in refused(
        table, "--weights", sets, "--order", "cloudy,rain", "--smoothing", 1
    )
    text = net.read_text()
    net.write_text(text.replace("rain", "Rain"))
    assert "no column 'Rain'" in refused(table, "--structure", net)
    assert "is it 'rain'?" in refused(table, "--structure", net)
    net.write_text(text.replace("007", "7"))
    assert "'grass' holds '007'" in refused(table, "--structure", net)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net.bif", "rows.csv", "sets.safetensors"]
