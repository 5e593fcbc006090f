"""The whole optimizer bench at sizes of seconds: what the file holds, and that verdicts follow."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from statformer.benchmarks import (
    optim,
    optim_gpu,
    optim_pictures,
    optim_sensitivity,
    optim_step_time,
    optim_training,
)
from statformer.benchmarks.optim import bench_optim
from statformer.benchmarks.optim_language import Shape
from statformer.benchmarks.optim_methods import OURS, TUNED, methods
from statformer.benchmarks.optim_run import SCHEDULES
from statformer.benchmarks.optim_settings import FACTORS, RATES, STARTS, Bench, Sizes
from statformer.benchmarks.optim_sheets import sheets
from statformer.benchmarks.optim_targets import targets
from statformer.benchmarks.optim_tasks import Task, tasks
from statformer.benchmarks.optim_training import diverged, gap, key
from statformer.benchmarks.settings import Progress
from statformer.benchmarks.verdicts import MISSING, REACHED, SHORT
from statformer.runs.record import Record

SIZES = Sizes(
    "tiny",
    parameters=(2000,),
    tensors=(1, 2),
    rounds=2,
    steps=(20, 10, 2, 2),
    seeds=2,
    sensitivity_seeds=1,
)
SOME = ("AdamW, rate 1e-3", OURS, "AdaGradPP", "Schedule-Free AdamW")


def few_tasks(sizes: Sizes) -> dict[str, Task]:
    found = tasks(sizes)
    return {name: found[name] for name in list(found)[:2]}


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two tasks and few methods."""
    some = {name: methods()[name] for name in SOME}
    monkeypatch.setattr(optim_training, "methods", lambda: some)
    makes = {n: m for n, m in optim_step_time.contestants().items() if "P" in n or "fore" in n}
    monkeypatch.setattr(optim_step_time, "contestants", lambda *_: makes)
    monkeypatch.setattr(optim_step_time.os, "cpu_count", lambda: 1)
    monkeypatch.setattr(optim_training, "tasks", few_tasks)
    monkeypatch.setattr(optim_sensitivity, "tasks", few_tasks)
    monkeypatch.setattr(optim_sensitivity, "PLACES", (0,))


@pytest.mark.usefixtures("few")
def test_all_parts_fill_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optim_gpu.torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(optim, "sources_digest", lambda: "these")
    path = tmp_path / "numbers.json"
    seen: list[Progress] = []
    data = bench_optim(SIZES, "abcd", json_path=path, command="x", callback=seen.append)
    stored = json.loads(path.read_text())
    assert stored["cells"] == data["cells"]
    assert {"schema", "mode", "command", "commit", "versions", "machine", "advice"} <= set(stored)
    assert {"began", "ended", "other_load", "targets"} <= set(stored)
    assert stored["versions"]["prodigyopt"]
    cells = stored["cells"]
    n_of_b = 2 * (2 + 2 * len(SOME) + 1)  # tuning, tuned and others; Schedule-Free once
    assert [sum(c["part"] == p for c in cells.values()) for p in "abcd"] == [2, n_of_b, 4, 1]
    cell = cells[key("digits, logistic regression", "cosine", OURS)]
    assert np.shape(cell["train"]) == np.shape(cell["test"]) == (2, len(cell["steps"]))
    assert len(cell["final eta"]) == 2
    tuning = cells["b: rates of AdamW; digits, logistic regression; cosine"]
    assert tuning["rates"] == list(RATES)
    best = int(np.argmin(tuning["final train"]))
    assert tuning["best rate"] == RATES[best]
    swept = [c for c in cells.values() if c["part"] == "c"]
    assert [len(c["at"]) for c in swept] == [len(STARTS)] * 2 + [len(FACTORS)] * 2
    assert all(np.shape(c["final train"]) == (len(c["at"]), 1) for c in swept)
    assert cells["d: device"]["missing"] == "no CUDA device"
    assert {t["part"] for t in stored["targets"]} == {"a", "b", "d"}
    assert stored["targets"][-1]["status"] == MISSING
    assert {p.part for p in seen} == set("abcd")
    titles = [sheet.title for sheet in sheets(stored)]
    assert titles[-1] == "To reach"
    assert "Training: gap to tuned AdamW in %, over seeds" in titles

    pytest.importorskip("matplotlib")
    drawn = optim_pictures.draw(stored, tmp_path / "pictures")
    names = ["optim-step-time", "optim-curves", "optim-sensitivity"]
    assert [p.stem for p in drawn] == names
    assert all(p.stat().st_size > 10_000 for p in drawn)

    # a finished file is not measured again; a cell that is gone is
    del stored["cells"][key("digits, logistic regression", "cosine", OURS)]
    path.write_text(json.dumps(stored))
    seen.clear()
    again = bench_optim(SIZES, "abc", json_path=path, callback=seen.append)
    assert {p.cell for p in seen} == {f"digits, logistic regression, cosine, {OURS}"}
    for cell in (again["cells"], data["cells"]):  # the same but for its time
        del cell[key("digits, logistic regression", "cosine", OURS)]["seconds of a run"]
    assert again["cells"] == data["cells"]
    with pytest.raises(FileExistsError, match="another measurement"):
        bench_optim(dataclasses.replace(SIZES, seeds=3), "b", json_path=path)


def test_requests_that_cannot_be_met() -> None:
    with pytest.raises(ValueError, match="part=z is unknown; choose from a,b,c,d"):
        bench_optim(SIZES, ["a", "z"])
    with pytest.raises(ValueError, match="part=none"):
        bench_optim(SIZES, [])


def cells_of(ours: list[float], tuned: list[float], initial: float = 2.0) -> dict[str, Any]:
    """One task and schedule whose runs end at these losses."""
    cells = {}
    for name, finals in ((OURS, ours), (TUNED, tuned)):
        rows = [[initial, 1.0, final] for final in finals]
        about = {"part": "b", "task": "t", "schedule": SCHEDULES[0], "method": name}
        cells[key("t", SCHEDULES[0], name)] = {**about, "train": rows, "test": rows}
    return cells


def test_the_gap_is_paired_and_scaled() -> None:
    cells = cells_of([0.11, 0.22, 0.33], [0.1, 0.2, 0.3])
    found = gap(cells, "t", SCHEDULES[0], OURS)
    assert found is not None
    scale = 2.0 - 0.2
    assert found.value == pytest.approx(0.02 / scale)
    assert found.low == pytest.approx(0.01 / scale, rel=0.3)
    assert found.high == pytest.approx(0.03 / scale, rel=0.3)
    unpaired = cells_of([0.33, 0.11, 0.22], [0.1, 0.2, 0.3])
    wide = gap(unpaired, "t", SCHEDULES[0], OURS)
    assert wide is not None
    assert wide.value == pytest.approx(found.value)
    assert wide.high - wide.low > found.high - found.low
    assert gap(cells, "t", SCHEDULES[0], "nobody") is None


def test_verdicts_of_training() -> None:
    def statuses(cells: dict[str, Any]) -> list[str]:
        return [t.status for t in targets(cells, "b") if t.is_headline]

    assert statuses(cells_of([0.12, 0.12], [0.1, 0.1])) == [REACHED, REACHED]
    assert statuses(cells_of([0.05, 0.05], [0.1, 0.1])) == [REACHED, REACHED]
    assert statuses(cells_of([0.20, 0.20], [0.1, 0.1])) == [SHORT, REACHED]
    assert statuses(cells_of([0.1, math.nan], [0.1, 0.1])) == [SHORT, SHORT]
    assert statuses(cells_of([0.1, 2.5], [0.1, 0.1])) == [SHORT, SHORT]
    assert statuses({}) == [MISSING, MISSING]


def test_a_run_that_ends_above_its_start_has_diverged() -> None:
    cells = cells_of([1.9, 2.1, math.inf, math.nan, 2.0001], [0.1] * 5)
    assert diverged(cells[key("t", SCHEDULES[0], OURS)]) == 3


def test_the_language_model_of_the_gpu_part_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the CPU, small: the code that a GPU would run."""
    monkeypatch.setattr(optim_gpu, "SHAPE", Shape(1, 1, 8, 8))
    monkeypatch.setattr(optim_gpu, "BATCH", 4)
    bench = Bench(dataclasses.replace(SIZES, gpu_minutes=1e-3), Record(None, {}))
    optim_gpu.train_language_models(bench, "cpu")
    assert len(bench.record.cells) == len(optim_gpu.TRAINED)
    for cell in bench.record.cells.values():
        assert cell["steps"][-1] >= optim_gpu.TRIAL_STEPS
        assert np.isfinite(cell["train"]).all()
    titles = [sheet.title for sheet in sheets(bench.record.data)]
    assert titles[0] == "GPT-2 small's shape: losses at the end"
