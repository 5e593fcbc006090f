"""How much of the optimizers is measured: sizes of `--quick` and `--full`, and what parts get."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from statformer.benchmarks.settings import Progress, silent
from statformer.runs.record import Record

PARTS = {
    "a": "time and memory of a step",
    "b": "training",
    "c": "sensitivity",
    "d": "on a GPU",
}
RATES = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)  # AdamW's, to choose from
FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)
STARTS = tuple(10.0**k for k in range(-8, 0))  # eta0 of ours, and rates of AdamW beside them
TUNING_SEED = 1000  # apart from the seeds that are compared


@dataclass(frozen=True)
class Sizes:
    """Numbers of parameters, tensors, rounds, steps and seeds."""

    name: str
    parameters: tuple[int, ...] = (10**5, 10**6, 5 * 10**7)
    tensors: tuple[int, ...] = (1, 100, 1000)
    rounds: int = 9
    steps: tuple[int, int, int, int] = (2000, 1000, 500, 200)  # of a run, by task
    seeds: int = 5
    sensitivity_seeds: int = 3
    gpu_minutes: float = 2.0  # of a method


FULL = Sizes("full")
QUICK = Sizes(
    "quick",
    parameters=(10**5, 10**6),
    rounds=5,
    steps=(300, 150, 80, 40),
    seeds=2,
    sensitivity_seeds=1,
    gpu_minutes=0.3,
)


@dataclass(frozen=True)
class Bench:
    """What every part needs."""

    sizes: Sizes
    record: Record
    callback: Callable[[Progress], None] = silent
