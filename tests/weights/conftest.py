"""A small checkpoint with the keys of the real one, numbers drawn at random."""

from __future__ import annotations

from pathlib import Path

import pytest

from checkpoints import write_checkpoint


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "small.safetensors", n_layers=2, n_hidden=3)
