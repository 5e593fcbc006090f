"""Small tables on disk, and the command line called in this process."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from statformer.cli import app

Run = Callable[..., Result]


@pytest.fixture
def run() -> Run:
    """Call `statformer ARGUMENTS`; a traceback fails the test."""

    def call(*arguments: object, stdin: bytes | None = None) -> Result:
        result = CliRunner().invoke(app, [str(a) for a in arguments], input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return call


@pytest.fixture
def cluster(run: Run) -> Callable[..., dict[str, Any]]:
    """Call `statformer cluster ARGUMENTS` with constructed weights; the JSON object it prints."""

    def call(*arguments: object, stdin: bytes | None = None) -> dict[str, Any]:
        result = run("cluster", "--weights", "constructed", *arguments, stdin=stdin)
        assert result.exit_code == 0, result.stderr
        answer: dict[str, Any] = json.loads(result.stdout)
        return answer

    return call


@pytest.fixture
def refused(run: Run) -> Callable[..., str]:
    """Call a command that must fail: code 2, nothing on stdout, one line on stderr."""

    def call(*arguments: object, stdin: bytes | None = None) -> str:
        result = run(*arguments, stdin=stdin)
        assert result.exit_code == 2, (result.exit_code, result.output)
        assert result.stdout == ""
        assert result.stderr.startswith("statformer: ")
        assert result.stderr.count("\n") == 1
        return result.stderr

    return call


@pytest.fixture
def blobs() -> pd.DataFrame:
    """120 rows in three clear groups, a text column, and the answer in `species`."""
    rng = np.random.default_rng(5)
    group = np.repeat([0, 1, 2], [60, 40, 20])
    centres = np.array([[0.0, 100.0, 0.1], [8.0, 160.0, 0.1], [0.0, 160.0, 0.9]])
    values = centres[group] + rng.normal(size=(120, 3)) * [0.8, 5.0, 0.05]
    frame = pd.DataFrame(np.round(values, 4), columns=pd.Index(["length", "width", "colour"]))
    frame["species"] = np.array(["ant", "bee", "cat"])[group]
    return frame.sample(frac=1, random_state=1).reset_index(drop=True)


@pytest.fixture
def table(blobs: pd.DataFrame, tmp_path: Path) -> Path:
    """The blobs as a CSV file."""
    path = tmp_path / "blobs.csv"
    blobs.to_csv(path, index=False)
    return path
