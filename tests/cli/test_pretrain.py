"""`statformer pretrain` as a subprocess: lines in a pipe, one line and code 2 for an error."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent.parent
RECIPE = "pretraining.toy_recipe:recipe"


def statformer(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from statformer.cli import main; main()", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(TESTS)},
        timeout=120,
    )


def test_a_run_and_its_continuation(tmp_path):
    first = statformer("pretrain", RECIPE, "--steps", "9", "--option", "width=3", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    lines = [json.loads(line) for line in first.stdout.splitlines()]
    assert [line["step"] for line in lines if line["event"] == "step"] == [3, 6, 9]
    assert lines[-1]["event"] == "end"
    folder = tmp_path / "training" / "toy"
    card = json.loads((folder / "card.json").read_text())
    assert card["settings"]["width"] == 3
    again = statformer(
        "pretrain", RECIPE, "--resume", str(folder), "--option", "width=3", cwd=tmp_path
    )
    assert again.returncode == 0, again.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([RECIPE], "pass exactly one of --steps N and --minutes N"),
        ([RECIPE, "--steps", "3", "--minutes", "3"], "pass exactly one of"),
        (["nope", "--steps", "3"], "no recipe 'nope'"),
        ([RECIPE, "--steps", "3", "--option", "width"], "write key=value"),
        ([RECIPE, "--resume", "absent"], "holds no checkpoint"),
    ],
)
def test_an_error_is_one_line(tmp_path, arguments, says):
    done = statformer("pretrain", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
    assert not list(tmp_path.rglob("*.safetensors"))
