"""Checkpoints of networks that read parents: loaded by their keys, refused when one is missing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from statformer.constructions.parent_sets import parent_set_weights
from statformer.nn.parent_sets import ParentSetNetwork
from statformer.weights import WeightsError, load_weights
from statformer.weights.pack import write_weights

ARRAYS = {name: value.astype(np.float32) for name, value in parent_set_weights().items()}


def test_a_run_is_packed_and_loaded(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    save_file(ARRAYS, run / "final.safetensors")
    (run / "card.json").write_text(json.dumps({"recipe": "random_dag"}))
    path = write_weights(run, name="random_dag", folder=tmp_path)
    weights, card = load_weights(path)
    assert set(ParentSetNetwork(weights).weights) == {
        name.removeprefix("sets.") for name in parent_set_weights()
    }
    assert card["n_parameters"] == sum(value.size for value in ARRAYS.values())
    entry = json.loads((tmp_path / "manifest.json").read_text())["random_dag"]
    assert entry["weights"]["size"] == path.stat().st_size


@pytest.mark.parametrize(
    "arrays",
    [
        {name: value for name, value in ARRAYS.items() if name != "sets.b_out"},
        {**ARRAYS, "em.b_cov": np.ones(3, np.float32)},
        {**ARRAYS, "sets.log_pi": np.full(5, -np.inf, np.float32)},
    ],
)
def test_foreign_and_incomplete_files_are_refused(tmp_path: Path, arrays: dict) -> None:
    save_file(arrays, tmp_path / "x.safetensors")
    with pytest.raises(WeightsError, match=r"x\.safetensors"):
        load_weights(tmp_path / "x.safetensors")
