"""The optimizer bench: its options, its one-line errors, and a tiny run through it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from statformer.benchmarks import optim_gpu, optim_settings
from statformer.benchmarks.optim_settings import Sizes


def test_what_cannot_be_measured_is_one_line(refused: Callable[..., str], tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    both = refused("bench", "optim", "--quick", "--full", "--json", path)
    assert "exclude each other" in both
    assert "part=z is unknown" in refused("bench", "optim", "--part", "a,z", "--json", path)
    path.write_text("{}")
    assert "pass --force" in refused("bench", "optim", "--part", "d", "--json", path)
    assert path.read_text() == "{}"


def test_a_tiny_run_writes_the_file_and_prints_it(
    run: Callable[..., object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optim_settings, "QUICK", Sizes("quick", steps=(2, 2, 2, 2)))
    monkeypatch.setattr(optim_gpu.torch.cuda, "is_available", lambda: False)
    path = tmp_path / "x.json"
    result = run("bench", "optim", "--part", "d", "--json", path, "--plots", tmp_path / "plots")
    assert result.exit_code == 0, result.output
    printed = json.loads(result.stdout)
    assert printed == json.loads(path.read_text())
    assert printed["mode"] == "quick"
    assert printed["cells"]["d: device"]["missing"] == "no CUDA device"
    assert "(d) no CUDA device: done" in result.stderr
    assert not (tmp_path / "plots").exists()  # nothing to draw
