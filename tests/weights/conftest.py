"""A small checkpoint with the keys of the real one, numbers drawn at random."""

from __future__ import annotations

from pathlib import Path

import pytest

from judges import write_judged


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write_judged(tmp_path / "small.safetensors", n_layers=2)
