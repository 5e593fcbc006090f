"""(b) Time of a whole phase diagram over (SNR, n): training to a small loss, and test errors.

Axes: b strengths of the signal, n points, s seeds.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from statformer.benchmarks.features_settings import Bench
from statformer.benchmarks.features_trained_head import (
    HEADS,
    OVERFITTED,
    drawn,
    phase_rows,
    snr_grid,
)
from statformer.benchmarks.settings import Progress
from statformer.runs.timing import LoadWatch
from statformer.tasks.signal_noise import SignalNoisePrior
from statformer.tasks.stream import TaskStream

SMALLEST, LARGEST = 10, 0.4  # n, and its share of d


@dataclass(frozen=True)
class Job:
    """One row of the diagram and one seed of it."""

    head: str
    n: int
    d: int
    n_strengths: int
    seed: int


def run(bench: Bench) -> None:
    """One diagram per scale of the second layer."""
    for head in ("large", "small"):
        key = f"b: v0 = {HEADS[head].v0:g}"
        if key not in bench.record:
            bench.record.put(key, {"part": "b", **_diagram(bench, key, head)})


def _diagram(bench: Bench, key: str, head: str) -> dict[str, Any]:
    d, (n_strengths, n_sizes, n_seeds) = bench.sizes.n_features, bench.sizes.grid
    points = np.geomspace(SMALLEST, LARGEST * d, n_sizes).round().astype(int).tolist()
    jobs = [
        Job(head, n, d, n_strengths, seed)
        for n in sorted(points, reverse=True)
        for seed in range(n_seeds)
    ]
    watch, begin = LoadWatch(), time.perf_counter()
    spent, losses, n_steps = 0.0, [], []
    for i, row in enumerate(bench.workers.run(work, jobs)):
        spent += row["seconds"]
        losses.append(row["loss"])
        n_steps.append(row["n_steps"])
        bench.callback(Progress("b", key.partition(": ")[2], i + 1, len(jobs)))
    return {
        "grid": list(bench.sizes.grid),
        "n_workers": bench.n_workers,
        "processor seconds": spent,
        "wall seconds": time.perf_counter() - begin,
        "largest training loss": max(losses),
        "most steps": max(n_steps),
        "overfitted": OVERFITTED,
        "other_load": round(watch.read(), 3),
    }


def work(job: Job) -> dict[str, float]:
    """Processor seconds, largest training loss and most steps of a row."""
    torch.set_num_threads(1)
    begin = time.process_time()
    stream = TaskStream(job.seed, job.n, range(1), dtype=torch.float64)
    products = drawn(SignalNoisePrior(job.n, job.d, signal_norm=1.0, sigma=1.0), stream)
    rows = phase_rows(products, snr_grid(job.n_strengths, job.d), HEADS[job.head], job.d, stream)
    return {
        "seconds": time.process_time() - begin,
        "loss": max(row["loss"] for row in rows),
        "n_steps": max(row["n_steps"] for row in rows),
    }
