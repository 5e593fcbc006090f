"""The list of commands, and those that load when called."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import typer

import statformer
from statformer._extras import MissingExtraError
from statformer.cli import DEFERRED


def test_the_listing_names_every_command(run: Callable[..., Any]) -> None:
    result = run("--help")
    assert result.exit_code == 0
    for name in ("cluster", "predict", *DEFERRED):
        assert name in result.stdout


def test_the_version(run: Callable[..., Any]) -> None:
    assert run("--version").stdout.strip() == statformer.__version__


def test_a_misspelt_command_is_corrected(refused: Callable[..., str]) -> None:
    assert "Did you mean 'cluster'" in refused("clutser")


@pytest.mark.parametrize("kind", ["function", "group"])
def test_a_deferred_command_is_loaded_when_called(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    def bench(rounds: int = 1) -> None:
        typer.echo(f"{rounds} rounds")

    app = typer.Typer()
    app.callback()(lambda: None)
    app.command("mixture")(bench)
    module = ModuleType("statformer.cli.bench")
    module.__dict__["bench"] = bench if kind == "function" else app
    monkeypatch.setitem(sys.modules, "statformer.cli.bench", module)
    arguments = ("bench",) if kind == "function" else ("bench", "mixture")
    assert run(*arguments, "--rounds", "3").stdout == "3 rounds\n"


def test_a_missing_extra_is_one_line(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def pretrain() -> None:
        raise MissingExtraError('torch is not installed; run: pip install "statformer[torch]"')

    module = ModuleType("statformer.cli.pretrain")
    module.__dict__["pretrain"] = pretrain
    monkeypatch.setitem(sys.modules, "statformer.cli.pretrain", module)
    assert 'pip install "statformer[torch]"' in refused("pretrain")
