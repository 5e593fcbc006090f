"""The bench command: its options, its one-line errors, and a tiny run through it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from checkpoints import write_checkpoint
from statformer.benchmarks import settings
from statformer.benchmarks.settings import Sizes


def test_what_cannot_be_measured_is_one_line(refused: Callable[..., str], tmp_path: Path) -> None:
    weights = write_checkpoint(tmp_path / "small.safetensors")
    both = refused("bench", "mixture", "--quick", "--full", "--json", tmp_path / "x.json")
    assert "exclude each other" in both
    common = ("bench", "mixture", "--weights", weights, "--json", tmp_path / "x.json")
    assert "part=z is unknown" in refused(*common, "--part", "c,z")
    assert "no such file" in refused(*common[:3], tmp_path / "none", *common[4:])
    (tmp_path / "x.json").write_text("{}")
    assert "pass --force" in refused(*common, "--part", "c", "--workers", 1)
    assert (tmp_path / "x.json").read_text() == "{}"


def test_a_tiny_run_writes_the_file_and_prints_it(
    run: Callable[..., object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = Sizes("quick", tables=2, per_job=2, paper_tables=5)
    monkeypatch.setattr(settings, "QUICK", tiny)
    weights = write_checkpoint(tmp_path / "small.safetensors")
    path = tmp_path / "x.json"
    arguments = ("--quick", "--part", "c", "--workers", 1, "--weights", weights, "--json", path)
    result = run("bench", "mixture", *arguments)
    assert result.exit_code == 0, result.output
    printed = json.loads(result.stdout)
    assert printed == json.loads(path.read_text())
    assert printed["mode"] == "quick"
    assert len(printed["cells"]) == 8
    assert "(c) separation 3: done" in result.stderr
