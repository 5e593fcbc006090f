"""The features bench command: its options, its one-line errors, and a tiny run through it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from statformer.benchmarks import features_settings


def test_what_cannot_be_measured_is_one_line(refused: Callable[..., str], tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("{}")
    common = ("bench", "features", "--json", path)
    assert "exclude each other" in refused(*common, "--quick", "--full")
    assert "part=z is unknown" in refused(*common, "--part", "a,z")
    assert "pass --force" in refused(*common, "--quick")
    assert path.read_text() == "{}"


def test_a_tiny_run_writes_the_file_and_prints_it(
    run: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = dataclasses.replace(
        features_settings.QUICK, points=(8,), strengths=2, rounds=1, grid=(2, 2, 1), n_features=60
    )
    monkeypatch.setattr(features_settings, "QUICK", tiny)
    path = tmp_path / "x.json"
    result = run("bench", "features", "--quick", "--workers", "1", "--json", path)
    assert result.exit_code == 0, result.output
    printed = json.loads(result.stdout)
    assert printed == json.loads(path.read_text())
    assert printed["mode"] == "quick"
    assert {cell["part"] for cell in printed["cells"].values()} == {"a", "b"}
    assert "(b) v0 = 0.01: done" in result.stderr
