"""The spectral bench command: its options, its one-line errors, and a tiny run through it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from statformer.benchmarks import spectral_constructed, spectral_settings
from statformer.cli.bench_spectral import spectral
from statformer.cli.errors import CommandError


def call(*arguments: object) -> Result:
    app = typer.Typer()
    app.command()(spectral)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_what_cannot_be_measured_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text("{}")
    common = ("--weights", "constructed", "--json", path)
    for arguments, message in (
        (("--quick", "--full", *common), "exclude each other"),
        ((*common, "--part", "a,z"), "part=z is unknown"),
        ((*common, "--images", tmp_path / "none"), "pass --force"),
        (("--weights", "constructed", "--images", tmp_path / "none"), "pass --images"),
        (("--weights", tmp_path / "none.safetensors"), "no such file"),
    ):
        result = call(*arguments)
        assert isinstance(result.exception, CommandError)
        assert message in str(result.exception)
        assert "\n" not in str(result.exception)
    assert path.read_text() == "{}"


def test_a_tiny_run_writes_the_file_prints_it_and_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = dataclasses.replace(spectral_settings.QUICK, constructed=1, depths=(2, 4))
    monkeypatch.setattr(spectral_settings, "QUICK", tiny)
    monkeypatch.setattr(spectral_constructed, "RATIOS", (0.5,))
    path = tmp_path / "x.json"
    plots = tmp_path / "plots"
    result = call(
        "--quick", "--part", "a", "--weights", "constructed", "--json", path, "--plots", plots
    )
    assert result.exit_code == 0, result.output
    printed = json.loads(result.stdout)
    assert printed == json.loads(path.read_text())
    assert printed["mode"] == "quick"
    assert set(printed["cells"]) == {"a: ratio 0.5, 2 steps", "a: ratio 0.5, 4 steps"}
    assert "(a) ratio 0.5, 4 steps: done" in result.stderr
    assert (plots / "spectral-depth.png").is_file()
    assert "spectral-depth.png" in result.stderr
