"""(c) Corrupted tables: largest principal angle to the true subspace, beside every rival.

An angle is in degrees; a method that raises counts 90. The form of `AttentionPCA` that is its
default is judged, the other one is listed. Axes: n rows, d columns, k components.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from statformer.benchmarks.robust_pca_rivals import MIN_COV_DET, RIVALS, SVD, largest_angle
from statformer.benchmarks.settings import Progress
from statformer.benchmarks.spectral_settings import LEAST_TABLES, Bench
from statformer.benchmarks.spectral_tables import Battery, batteries
from statformer.estimators.decomposition import AttentionPCA
from statformer.runs.intervals import difference_interval, mean_interval

ROWS, CELLS = "AttentionPCA, rows", "AttentionPCA, cells"
FORMS = {"rows": ROWS, "cells": CELLS}
OURS = FORMS[AttentionPCA().robust]
OTHER = CELLS if OURS == ROWS else ROWS
METHODS = (OURS, OTHER, *RIVALS)
WORST = 90.0
FAILURES = (ValueError, ArithmeticError, np.linalg.LinAlgError, RuntimeError, TypeError)

Rows = dict[str, list[Any]]


@dataclass(frozen=True)
class Job:
    """Some tables of a battery, and the weights that meet them."""

    battery: Battery
    indices: range
    weights: str


def measure(job: Job) -> Rows:
    """The angle of every method on every table; None for one that cannot take such a table."""
    rows: Rows = {}
    for index in job.indices:
        table = job.battery.table(index)
        k, d = table.basis.shape
        found = {
            name: attention_pca(table.X, k, form, job.weights, index)
            for form, name in FORMS.items()
        }
        for name, rival in RIVALS.items():
            if name == MIN_COV_DET and len(table.X) <= 2 * d:
                rows.setdefault(name, []).append(None)
                continue
            try:
                found[name] = rival(table.X, k, index)
            except FAILURES:
                found[name] = None
        for name, basis in found.items():
            angle = WORST if basis is None else largest_angle(basis, table.basis)
            rows.setdefault(name, []).append(angle)
            rows.setdefault(f"crashed: {name}", []).append(int(basis is None))
    return rows


def attention_pca(
    X: Float[np.ndarray, "n d"], n_components: int, form: str, weights: str, seed: int
) -> Float[np.ndarray, "k d"] | None:
    """The components that `AttentionPCA` finds; None where it raised."""
    model = AttentionPCA(n_components, weights=weights, robust=form, random_state=seed)
    try:
        found: Float[np.ndarray, "k d"] = np.asarray(model.fit(X).components_, dtype=np.float64)
    except FAILURES:
        return None
    return found if found.shape == (n_components, X.shape[1]) else None


def run(bench: Bench) -> None:
    """Measure every battery that the record does not hold yet."""
    sizes = bench.sizes
    for battery in batteries(sizes):
        key = f"c: {battery.name}"
        if key in bench.record:
            continue
        n = sizes.tables
        blocks = [range(i, min(i + sizes.per_job, n)) for i in range(0, n, sizes.per_job)]
        jobs = [Job(battery, block, bench.weights) for block in blocks]
        rows: Rows = {}
        for i, answer in enumerate(bench.workers.run(measure, jobs)):
            for name, values in answer.items():
                rows.setdefault(name, []).extend(values)
            bench.callback(Progress("c", battery.name, i + 1, len(jobs)))
        about = {
            "part": "c",
            "group": battery.group,
            "shapes": battery.shapes,
            "seed": battery.seed,
        }
        bench.record.put(key, {**about, **summary(rows)})


def summary(rows: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """Mean angles with intervals, ours minus each rival and minus the best, crash rates, angles."""
    angles = {
        name: np.array(rows[name], dtype=np.float64)
        for name in METHODS
        if None not in rows.get(name, [None])
    }
    ours = angles[OURS]
    rivals = [name for name in RIVALS if name in angles]
    best = min(rivals, key=lambda name: float(angles[name].mean()))

    def minus(form: str, rival: str) -> dict[str, Any]:
        return _short(difference_interval([angles[form]], [angles[rival]]).as_dict())

    return {
        "n": len(ours),
        "is_first_look": len(ours) < LEAST_TABLES,
        "angle": {name: _short(mean_interval([a]).as_dict()) for name, a in angles.items()},
        "median angle": {name: round(float(np.median(a)), 3) for name, a in angles.items()},
        "ours minus": {name: minus(OURS, name) for name in (OTHER, *rivals)},
        "best rival": best,
        "minus the best rival": {form: minus(form, best) for form in (OURS, OTHER)},
        "minus SVD": {form: minus(form, SVD) for form in (OURS, OTHER)},
        "crash rate": {name: float(np.mean(rows[f"crashed: {name}"])) for name in angles},
        "scores": {name: np.round(a, 2) for name, a in angles.items()},
    }


def _short(interval: Mapping[str, Any]) -> dict[str, Any]:
    return {name: round(value, 3) for name, value in interval.items()}
