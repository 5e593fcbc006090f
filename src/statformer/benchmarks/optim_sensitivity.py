"""(c) Sensitivity: how the final loss depends on eta0 and lr, with AdamW's rate beside them.

Two tasks, cosine schedule. AdamW's rate is drawn on both axes: as a number beside eta0, and as a
multiple of its best rate beside lr.
"""

from __future__ import annotations

from collections.abc import Iterator

from statformer.benchmarks.optim_methods import OURS, adamw, ours
from statformer.benchmarks.optim_run import COSINE, Make, torch_threads, train
from statformer.benchmarks.optim_settings import FACTORS, STARTS, Bench
from statformer.benchmarks.optim_tasks import Task, tasks
from statformer.benchmarks.optim_training import significant, tuned_rate
from statformer.benchmarks.settings import Progress

PLACES = (1, 2)  # of the tasks: the convolutional net and the language model
START, FACTOR = "eta0, or AdamW's rate", "lr, or AdamW's rate over its best"
AXES = {START: STARTS, FACTOR: FACTORS}
ADAMW = "AdamW"


def run(bench: Bench) -> None:
    """Train whatever the record does not hold yet, at one thread."""
    every = list(tasks(bench.sizes).values())
    with torch_threads(1):
        for place in PLACES:
            task = every[place]
            rate = tuned_rate(bench, task, COSINE)
            for axis, method, makes in _sweeps(rate):
                _fill(bench, task, axis, method, makes)


def _sweeps(rate: float) -> Iterator[tuple[str, str, list[Make]]]:
    yield START, OURS, [ours(eta0=start) for start in STARTS]
    yield START, ADAMW, [adamw(start) for start in STARTS]
    yield FACTOR, OURS, [ours(lr=factor) for factor in FACTORS]
    yield FACTOR, ADAMW, [adamw(rate * factor) for factor in FACTORS]


def _fill(bench: Bench, task: Task, axis: str, method: str, makes: list[Make]) -> None:
    cell = f"c: {task.name}; {axis}; {method}"
    if cell in bench.record:
        return
    seeds = range(bench.sizes.sensitivity_seeds)
    finals, initials = [], []
    for i, make in enumerate(makes):
        curves = [train(task, make, COSINE, seed, n_points=1) for seed in seeds]
        finals.append([significant(curve.final.train) for curve in curves])
        initials = [significant(curve.initial.train) for curve in curves]
        bench.callback(Progress("c", f"{task.name}, {axis}, {method}", i + 1, len(makes)))
    about = {"part": "c", "task": task.name, "axis": axis, "method": method}
    found = {"at": AXES[axis], "initial train": initials, "final train": finals}
    bench.record.put(cell, {**about, **found})
