"""A tiny prior and a tiny pool for the tests of the judge's training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from judges import write_judged
from statformer.estimators.base import resolve_weights
from statformer.estimators.devices import backend
from statformer.estimators.proposers import Plan
from statformer.pretraining import judge_pool
from statformer.pretraining.judge_pool import make_shard
from statformer.proposals.kinds import LEARNED, LLOYD
from statformer.proposals.table_features import TABLE_FEATURES
from statformer.tasks.wide import WidePrior

PRIOR = WidePrior(n_points=(30, 50), n_features=(2, 4), n_components=(1, 4), single=0.3)
SWEEP = Plan(1, (LEARNED, "full", LLOYD, "cut"))
GIVEN = Plan(2, (LEARNED, "full", "spherical", LLOYD, "gap", "cut"), 2)


def small(patch: pytest.MonkeyPatch, n_steps: int = 1) -> None:
    """Shards of two tables a step, fewer kinds, short sweeps."""
    patch.setattr(judge_pool, "SHARD_STEPS", n_steps)
    patch.setattr(judge_pool, "TABLES_PER_STEP", 2)
    patch.setattr(judge_pool, "SWEEP", SWEEP)
    patch.setattr(judge_pool, "GIVEN", GIVEN)
    patch.setattr(judge_pool, "_top", lambda _, rng: 5 if rng.random() < 0.8 else 3)


def write_pool(folder: Path, patch: pytest.MonkeyPatch) -> Path:
    """Layers at folder/layers, and twelve tables again and again at folder/judge/pool.

    The range of the training tables is known only where they outnumber their features.
    """
    small(patch, 6)
    (folder / "layers").mkdir()
    (folder / "judge" / "pool").mkdir(parents=True)
    em = dict(resolve_weights(write_judged(folder / "layers" / "final.safetensors")).em)
    shard = make_shard(PRIOR, 0, em, backend(None))
    for copy in range(1 + 2 * len(TABLE_FEATURES) // len(shard["n_labelings"])):
        path = folder / "judge" / "pool" / f"shard-{copy:05d}.safetensors"
        save_file({k: np.ascontiguousarray(v) for k, v in shard.items()}, path)
    return folder
