"""A small learned network with a judge for the benches, and sizes that run in seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from checkpoints import write_checkpoint
from judges import judge_weights
from statformer.benchmarks.settings import Sizes


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = write_checkpoint(tmp_path_factory.mktemp("weights") / "small.safetensors")
    arrays = load_file(path)
    arrays |= {f"judge.{name}": np.float32(drawn) for name, drawn in judge_weights().items()}
    save_file(arrays, path)
    return str(path)


@pytest.fixture
def sizes() -> Sizes:
    return Sizes(
        "tiny",
        tables=2,
        per_job=2,
        unknown_tables=1,
        judged_tables=1,
        calibrated_tables=2,
        effort_tables=1,
        rows=(40,),
        columns=(2, 3),
        lossy_shapes=((40, 4),),
        lossy_tables=2,
        paper_tables=5,
        seeds=1,
        timed_tables=1,
        timed_sweeps=1,
        long_rows=(),
        repeats=1,
    )


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    """A folder with one labelled table: two clear groups, a text column, a missing cell."""
    folder = tmp_path / "tables"
    folder.mkdir()
    rows = [
        f"{i % 3 / 10 + 5 * (i % 2)},{i % 5 / 10},{'uv'[i % 2]},{['no', 'yes'][i % 2]}"
        for i in range(40)
    ]
    rows[3] = ",0.1,v,yes"
    (folder / "groups.csv").write_text("\n".join(["a,b,c,label", *rows]) + "\n")
    return folder
