"""The lines of Python in the README run, one block after the other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]


def test_the_python_of_the_readme_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(blocks) >= 3
    with torch.random.fork_rng(devices=[]):  # a layer of torch draws its first weights globally
        exec("\n".join(blocks), {})
    assert (tmp_path / "geyser.statformer").is_file()
    assert len(capsys.readouterr().out.splitlines()) > 10
