"""The benches of the selector: their options, one-line errors, and a tiny run of each."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from statformer.benchmarks import (
    bayesnet_equality,
    bayesnet_settings,
    neighbors_settings,
    neighbors_shifted,
)


@pytest.fixture
def groups(tmp_path: Path) -> Path:
    """A folder with a labelled table."""
    (tmp_path / "groups.csv").write_text("a,label\n" + "1,x\n2,y\n" * 10)
    return tmp_path


def test_what_cannot_be_measured_is_one_line(refused: Callable[..., str], groups: Path) -> None:
    path = groups / "x.json"
    path.write_text("{}")
    common = ("bench", "neighbors", "--tables", groups, "--json", path)
    assert "exclude each other" in refused(*common, "--quick", "--full")
    assert "part=z is unknown" in refused(*common, "--part", "a,z")
    assert "pass --force" in refused(*common)
    assert "pass --tables" in refused("bench", "neighbors", "--tables", groups / "none")
    assert path.read_text() == "{}"


def test_a_tiny_run_writes_the_file_and_prints_it(
    run: Callable[..., Any], groups: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = dataclasses.replace(neighbors_settings.QUICK, prompts=20)
    monkeypatch.setattr(neighbors_settings, "QUICK", tiny)
    monkeypatch.setattr(neighbors_shifted, "SHAPES", ((4, 4),))
    path = groups / "x.json"
    result = run("bench", "neighbors", "--part", "c", "--tables", groups, "--json", path)
    assert result.exit_code == 0, result.output
    printed = json.loads(result.stdout)
    assert printed == json.loads(path.read_text())
    assert printed["mode"] == "quick"
    assert len(printed["cells"]) == 4
    assert [target["status"] for target in printed["targets"]] == ["reached"]
    assert "(c) n 4, d 4, margin 1, error 1e-06: done" in result.stderr


def test_bayesnet_refuses_in_one_line(refused: Callable[..., str], tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("{}")
    common = ("bench", "bayesnet", "--json", path)
    assert "exclude each other" in refused(*common, "--quick", "--full")
    assert "part=z is unknown" in refused(*common, "--part", "z")
    assert "pass --force" in refused(*common)
    assert path.read_text() == "{}"


@pytest.mark.filterwarnings("ignore:.*:FutureWarning", "ignore:.*:DeprecationWarning")
def test_a_tiny_run_of_bayesnet(
    run: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = dataclasses.replace(bayesnet_settings.QUICK, compared_networks=1)
    monkeypatch.setattr(bayesnet_settings, "QUICK", tiny)
    monkeypatch.setattr(bayesnet_equality, "SHAPES", ((4, 50),))
    path = tmp_path / "x.json"
    result = run("bench", "bayesnet", "--part", "b", "--json", path)
    assert result.exit_code == 0, result.output
    printed = json.loads(result.stdout)
    assert printed == json.loads(path.read_text())
    assert [target["status"] for target in printed["targets"]] == ["reached", "reached"]
    assert "(b) 4 variables, 50 rows: done" in result.stderr
