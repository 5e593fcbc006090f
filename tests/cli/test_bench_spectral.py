"""The spectral bench command: its options, its one-line errors, and a tiny run through it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from statformer.benchmarks import spectral_constructed, spectral_settings


def test_what_cannot_be_measured_is_one_line(refused: Callable[..., str], tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("{}")
    built = ("bench", "spectral", "--weights", "constructed")
    common = (*built, "--json", path)
    assert "exclude each other" in refused(*common, "--quick", "--full")
    assert "part=z is unknown" in refused(*common, "--part", "a,z")
    assert "pass --force" in refused(*common, "--images", tmp_path)
    assert "pass --images" in refused(*built, "--images", tmp_path / "none")
    assert "no such file" in refused(*built[:3], tmp_path / "none.safetensors")
    assert path.read_text() == "{}"


def test_a_tiny_run_writes_the_file_prints_it_and_draws(
    run: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = dataclasses.replace(spectral_settings.QUICK, constructed=1, depths=(2, 4))
    monkeypatch.setattr(spectral_settings, "QUICK", tiny)
    monkeypatch.setattr(spectral_constructed, "RATIOS", (0.5,))
    path = tmp_path / "x.json"
    plots = tmp_path / "plots"
    common = ("--weights", "constructed", "--json", path, "--plots", plots)
    result = run("bench", "spectral", "--quick", "--part", "a", *common)
    assert result.exit_code == 0, result.output
    printed = json.loads(result.stdout)
    assert printed == json.loads(path.read_text())
    assert printed["mode"] == "quick"
    assert set(printed["cells"]) == {"a: ratio 0.5, 2 steps", "a: ratio 0.5, 4 steps"}
    assert "(a) ratio 0.5, 4 steps: done" in result.stderr
    assert (plots / "spectral-depth.png").is_file()
    assert "spectral-depth.png" in result.stderr
