"""The example of docs/robust.md runs, and its network is robust."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "robust.md"


@pytest.mark.slow
def test_the_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("foolbox")
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names: dict[str, object] = {}
    exec(block, names)
    assert len(capsys.readouterr().out.splitlines()) > 30
    summary = names["table"].summary.set_index("attack")["accuracy"]
    assert summary["pgd10"] > 0.6
