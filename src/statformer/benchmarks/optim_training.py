"""(b) Training: every optimizer on every task and schedule, and the gap to a tuned AdamW.

gap = (final training loss - that of the tuned AdamW) / (initial loss - that of the tuned AdamW),
the denominator a mean over seeds. Seeds are paired: a seed sets the start and the batches.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from statformer.benchmarks.optim_methods import TUNED, Method, adamw, methods
from statformer.benchmarks.optim_run import SCHEDULES, Curve, torch_threads, train
from statformer.benchmarks.optim_settings import RATES, TUNING_SEED, Bench
from statformer.benchmarks.optim_tasks import Task, tasks
from statformer.benchmarks.settings import Progress
from statformer.benchmarks.sheet import Cells
from statformer.runs.intervals import Interval, mean_interval

ABOVE = 1.01  # times the initial loss: a run that has not moved wavers a little about it


def run(bench: Bench) -> None:
    """Train whatever the record does not hold yet, at one thread."""
    with torch_threads(1):
        for task in tasks(bench.sizes).values():
            for schedule in SCHEDULES:
                rate = tuned_rate(bench, task, schedule)
                everything = {TUNED: Method(adamw(rate)), **methods()}
                for name, method in everything.items():
                    if schedule in method.schedules:
                        _fill(bench, task, schedule, name, method)


def key(task: str, schedule: str, method: str) -> str:
    """Of the cell of a method."""
    return f"b: {task}; {schedule}; {method}"


def tuned_rate(bench: Bench, task: Task, schedule: str) -> float:
    """The best of AdamW's rates; a cell of its own says what each of them reached."""
    name = f"b: rates of AdamW; {task.name}; {schedule}"
    if name not in bench.record:
        finals = []
        for i, rate in enumerate(RATES):
            curve = train(task, adamw(rate), schedule, TUNING_SEED, n_points=1)
            finals.append(curve.final.train)
            shown = f"rates of AdamW, {task.name}, {schedule}"
            bench.callback(Progress("b", shown, i + 1, len(RATES)))
        best = int(np.nanargmin(finals))
        found = {
            "rates": RATES,
            "final train": [significant(loss) for loss in finals],
            "best rate": RATES[best],
            "is at an end": best in (0, len(RATES) - 1),
        }
        about = {"part": "b", "task": task.name, "schedule": schedule, "seed": TUNING_SEED}
        bench.record.put(name, {**about, **found})
    chosen: float = bench.record.cells[name]["best rate"]
    return chosen


def _fill(bench: Bench, task: Task, schedule: str, name: str, method: Method) -> None:
    cell = key(task.name, schedule, name)
    if cell in bench.record:
        return
    curves = []
    for seed in range(bench.sizes.seeds):
        curves.append(train(task, method.make, schedule, seed, averaged=method.averaged))
        shown = f"{task.name}, {schedule}, {name}"
        bench.callback(Progress("b", shown, seed + 1, bench.sizes.seeds))
    about = {"part": "b", "task": task.name, "schedule": schedule, "method": name}
    bench.record.put(cell, {**about, **as_cell(curves)})


def as_cell(curves: list[Curve]) -> dict[str, Any]:
    """Losses "seeds points", and the step size that a method of ours ended with."""
    found: dict[str, Any] = {
        "steps": curves[0].steps,
        "train": [[significant(loss.train) for loss in curve.losses] for curve in curves],
        "test": [[significant(loss.test) for loss in curve.losses] for curve in curves],
        "seconds of a run": significant(float(np.median([curve.seconds for curve in curves]))),
    }
    if curves[0].eta is not None:
        found["final eta"] = [significant(curve.eta or math.nan) for curve in curves]
    return found


def significant(value: float) -> float:
    """Five significant digits."""
    return float(f"{value:.5g}")


def losses(cell: Mapping[str, Any], kind: str = "train") -> np.ndarray:
    """Losses of a cell, "seeds points"; NaN where a run had diverged."""
    return np.array(cell[kind], dtype=np.float64)


def gap(cells: Cells, task: str, schedule: str, method: str) -> Interval | None:
    """The gap to the tuned AdamW with its interval over seeds; None where a cell is missing.

    A run that diverged makes the mean infinite.
    """
    found, tuned = (cells.get(key(task, schedule, name)) for name in (method, TUNED))
    if found is None or tuned is None:
        return None
    best = losses(tuned)[:, -1]
    scale = float(np.mean(losses(tuned)[:, 0] - best))
    gaps = (losses(found)[:, -1] - best) / scale
    if not np.isfinite(gaps).all():
        return Interval(math.inf, math.inf, math.inf, len(gaps))
    return mean_interval([gaps])


def diverged(cell: Mapping[str, Any]) -> int:
    """Runs that ended well above where they began, or without a finite loss."""
    curves = losses(cell)
    return int((~(curves[:, -1] <= ABOVE * curves[:, 0])).sum())
