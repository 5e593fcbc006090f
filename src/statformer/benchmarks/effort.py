"""(j) What effort buys: ARI and milliseconds of `fast`, `balanced` and `best`.

Tables are fitted one by one at one thread, as a user would; other processes of the bench run
beside them, so that the times of (e) are the ones to quote. Axes: n points, d features.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from statformer.benchmarks.batteries import (
    IN_PRIOR,
    MIXED,
    NEVER,
    SHAPED,
    Job,
    Rows,
    batteries,
    measure_batteries,
)
from statformer.benchmarks.classical import FAILURES
from statformer.benchmarks.scores import ari
from statformer.benchmarks.settings import Bench
from statformer.benchmarks.sources import Table
from statformer.estimators import AttentionMixture
from statformer.runs.intervals import difference_interval, mean_interval

EFFORTS = ("fast", "balanced", "best")
TASKS = ("K given", "K unknown")
MOST_K = 10
LOSSY = "missing: MCAR 40%"  # one of the six will do


def measure(job: Job) -> Rows:
    """ARI and seconds of every effort on every table of the job, K given and unknown."""
    rows: Rows = {"K": []}
    for i, table in enumerate(job.tables()):
        rows["K"].append(table.n_components)
        for task in TASKS:
            K = table.n_components if task == "K given" else None
            for effort in EFFORTS:
                score, seconds, crashed = _fitted(table, K, effort, job, job.seed(i))
                rows.setdefault(f"{task}, {effort}: ari", []).append(score)
                rows.setdefault(f"{task}, {effort}: seconds", []).append(seconds)
                rows.setdefault(f"crashed: {task}, {effort}", []).append(crashed)
    return rows


def _fitted(
    table: Table, K: int | None, effort: str, job: Job, seed: int
) -> tuple[float, float, int]:
    """ARI, seconds, and 1 where the fit raised."""
    X = table.given()
    model = AttentionMixture(
        K, weights=job.weights, effort=effort, max_components=MOST_K, random_state=seed
    )
    begin = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            labels = model.fit(X).labels_
        except FAILURES:
            labels = None
    return ari(table.y, labels), time.perf_counter() - begin, int(labels is None)


def run(bench: Bench) -> None:
    """Measure batteries of the shipped weights that the record does not hold yet."""
    groups = {IN_PRIOR, NEVER, SHAPED, MIXED}
    found = [
        battery
        for battery in batteries(bench.sizes)
        if battery.group in groups or battery.name == LOSSY
    ]
    measure_batteries(bench, "j", found, "effort_tables", measure, summary)


def summary(rows: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """Mean ARI, gain over `fast`, median and 90 % quantile of milliseconds."""
    cell: dict[str, Any] = {"n": len(rows["K"])}
    for task in TASKS:
        scores = {e: np.array(rows[f"{task}, {e}: ari"], dtype=np.float64) for e in EFFORTS}
        times = {e: 1e3 * np.array(rows[f"{task}, {e}: seconds"]) for e in EFFORTS}
        cell[task] = {
            "ari": {e: mean_interval([scores[e]]).as_dict() for e in EFFORTS},
            "minus fast": {
                e: difference_interval([scores[e]], [scores["fast"]]).as_dict() for e in EFFORTS[1:]
            },
            "ms, median": {e: float(np.median(times[e])) for e in EFFORTS},
            "ms, 90 %": {e: float(np.quantile(times[e], 0.9)) for e in EFFORTS},
            "scores": {e: np.round(scores[e], 5) for e in EFFORTS},
        }
    cell["crash rate"] = {
        name.removeprefix("crashed: "): float(np.mean(values))
        for name, values in rows.items()
        if name.startswith("crashed: ")
    }
    return cell
