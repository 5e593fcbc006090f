"""(d) On a CUDA GPU: the table of step times, and a language model of GPT-2 small's shape.

The model reads characters, not GPT-2's tokens, so its losses compare with nothing but each other.
"""

from __future__ import annotations

import time
from typing import Any

import torch

from statformer.benchmarks.optim_language import LanguageTask, Shape
from statformer.benchmarks.optim_methods import ADAMW, OURS, SCHEDULE_FREE, methods
from statformer.benchmarks.optim_run import CONSTANT, COSINE, train
from statformer.benchmarks.optim_settings import Bench
from statformer.benchmarks.optim_step_time import compare
from statformer.benchmarks.optim_training import as_cell
from statformer.benchmarks.settings import Progress

NO_DEVICE = "no CUDA device"
SHAPE, BATCH = Shape(n_layers=12, n_heads=12, width=768, n_context=256), 32
TRAINED = (ADAMW, OURS, "Prodigy", "Prodigy, guarded", SCHEDULE_FREE)
TRIAL_STEPS = 10


def run(bench: Bench) -> None:
    """Measure what the record does not hold yet; without a device, say so."""
    if not torch.cuda.is_available():
        bench.record.put("d: device", {"part": "d", "missing": NO_DEVICE})
        bench.callback(Progress("d", NO_DEVICE, 1, 1))
        return
    about = {"part": "d", "name": torch.cuda.get_device_name(), "cuda": torch.version.cuda}
    bench.record.put("d: device", about)
    for n in bench.sizes.parameters:
        for n_tensors in bench.sizes.tensors:
            name = f"{n} parameters in {n_tensors} tensors"
            if f"d: {name}" not in bench.record:
                found = compare(n, n_tensors, bench.sizes.rounds, "cuda")
                bench.record.put(f"d: {name}", {"part": "d", **found})
            bench.callback(Progress("d", name, 1, 1))
    train_language_models(bench, "cuda")


def train_language_models(bench: Bench, device: str) -> None:
    """Every method for as many steps as AdamW takes in `gpu_minutes`; cosine where it can."""
    name, every = "language model of GPT-2 small's shape", methods()
    key = f"d: {name}; {{}}"
    if all(key.format(method) in bench.record for method in TRAINED):
        return
    steps = _steps(60.0 * bench.sizes.gpu_minutes, device)
    for i, method in enumerate(TRAINED):
        if key.format(method) not in bench.record:
            chosen = every[method]
            schedule = COSINE if COSINE in chosen.schedules else CONSTANT
            curve = train(_task(steps, device), chosen.make, schedule, seed=0)
            about: dict[str, Any] = {"part": "d", "method": method, "schedule": schedule}
            bench.record.put(key.format(method), {**about, **as_cell([curve])})
        bench.callback(Progress("d", name, i + 1, len(TRAINED)))


def _task(n_steps: int, device: str) -> LanguageTask:
    return LanguageTask("language model of GPT-2 small's shape", n_steps, SHAPE, BATCH, device)


def _steps(seconds: float, device: str) -> int:
    """How many steps of AdamW fit into `seconds`; a short run warms up, a second one is timed."""
    make = methods()[ADAMW].make
    for _ in range(2):
        begin = time.perf_counter()
        train(_task(TRIAL_STEPS, device), make, CONSTANT, seed=0, n_points=1)
        took = time.perf_counter() - begin
    return max(TRIAL_STEPS, int(seconds / took * TRIAL_STEPS))
