"""What the tests of the estimators share: a checkpoint without meaning, tables with some."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from judges import write_judged


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Learned layers near EM; a judge that leaves the answer to them."""
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    return write_judged(path, n_layers=4, is_indifferent=True)


@pytest.fixture(params=["constructed", "checkpoint"])
def weights(request: pytest.FixtureRequest, checkpoint: Path) -> str | Path:
    return "constructed" if request.param == "constructed" else checkpoint


@pytest.fixture(scope="session")
def blobs() -> tuple[np.ndarray, np.ndarray]:
    """Three clusters of 60, 40 and 20 rows in four columns, far apart."""
    rng = np.random.default_rng(1)
    y = np.repeat([0, 1, 2], [60, 40, 20])
    centres = 12.0 * np.array([[0, 0, 0, 0], [1, 0, 1, 0], [0, 1, 0, -1]])
    X = centres[y] + rng.normal(size=(120, 4)) * [1.0, 0.5, 1.5, 1.0]
    order = rng.permutation(120)
    return X[order], y[order]


@pytest.fixture(scope="session")
def overlapping() -> np.ndarray:
    """Three clusters that overlap: every decision is a close one."""
    rng = np.random.default_rng(2)
    return rng.normal(size=(90, 3)) + rng.choice([-1.2, 0.0, 1.2], size=(90, 1))
