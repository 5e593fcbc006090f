"""Checkpoints of principal networks: one form or both, joined from runs, refused when foreign."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from statformer.weights import WeightsError, load_weights
from statformer.weights.pack import join_weights


def write_run(folder: Path, form: str, value: float = 1.0) -> Path:
    folder.mkdir()
    arrays = {
        f"{form}.b_out": np.full(3, value, np.float32),
        f"{form}.W_f": np.ones((3, 2, 4), "f4"),
    }
    save_file(arrays, folder / "final.safetensors")
    (folder / "card.json").write_text(json.dumps({"recipe": "principal", "form": form}))
    return folder


def test_one_form_is_a_checkpoint(tmp_path: Path) -> None:
    weights, card = load_weights(write_run(tmp_path / "rows", "rows"))
    assert weights["rows.b_out"].dtype == np.float64
    assert card["form"] == "rows"


def test_two_runs_are_joined(tmp_path: Path) -> None:
    rows, cells = (write_run(tmp_path / form, form) for form in ("rows", "cells"))
    path = join_weights([rows, cells], folder=tmp_path)
    weights, card = load_weights(path)
    assert set(weights) == {"rows.b_out", "rows.W_f", "cells.b_out", "cells.W_f"}
    assert (card["rows"]["form"], card["cells"]["form"]) == ("rows", "cells")
    assert card["n_parameters"] == sum(v.size for v in weights.values()) == 54
    assert {v.dtype for v in load_file(path).values()} == {np.dtype(np.float32)}
    entry = json.loads((tmp_path / "manifest.json").read_text())["principal"]
    assert entry["weights"]["size"] == path.stat().st_size
    assert not list(tmp_path.glob(".*"))


def test_runs_of_one_form_are_not_joined(tmp_path: Path) -> None:
    first, second = (write_run(tmp_path / str(i), "rows", float(i)) for i in range(2))
    with pytest.raises(WeightsError, match=r"'rows\.W_f' is in another"):
        join_weights([first, second], folder=tmp_path)


@pytest.mark.parametrize(
    "arrays",
    [
        {"rows.W_f": np.ones(3, np.float32)},
        {"rows.b_out": np.ones(3, np.float32), "cells.W_f": np.ones(3, np.float32)},
        {"rows.b_out": np.ones(3, np.float32), "em.b_cov": np.ones(3, np.float32)},
        {"rows.b_out": np.array([np.nan], np.float32)},
    ],
)
def test_foreign_and_incomplete_files_are_refused(tmp_path: Path, arrays: dict) -> None:
    save_file(arrays, tmp_path / "x.safetensors")
    with pytest.raises(WeightsError, match=r"x\.safetensors"):
        load_weights(tmp_path / "x.safetensors")
