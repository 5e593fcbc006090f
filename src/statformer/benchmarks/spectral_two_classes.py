"""(e) Two classes: share of wrong labels over separation, around the exact-recovery threshold.

x_i = z_i theta + eps_i with |theta| a multiple of the threshold radius of Ndaoud (1812.08078); the
distance of the two means is 2 |theta|. Axes: n points, p columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from statformer.benchmarks import linkage, rivals
from statformer.benchmarks.settings import Progress
from statformer.benchmarks.spectral_settings import Bench
from statformer.estimators.spectral import AttentionSpectralClustering
from statformer.reference.spectral_clustering import (
    exact_recovery_radius,
    mismatch,
    oracle_error,
    two_classes,
)
from statformer.runs.intervals import difference_interval, mean_interval

FRACTIONS = (0.2, 0.35, 0.5, 0.65, 0.8, 1.0, 1.2)
SEED = 812_808
PER_JOB = 10

OURS, LAPACK = "AttentionSpectralClustering", "sign of LAPACK's leading score"
K_MEANS, SPECTRAL = "k-means (10)", "spectral clustering (10 neighbours)"
ORACLE = "oracle Phi(-|theta|)"
RIVALS = (LAPACK, K_MEANS, SPECTRAL)
METHODS = (OURS, *RIVALS)

Matrix = Float[np.ndarray, "n p"]
Labels = Int[np.ndarray, " n"]


@dataclass(frozen=True)
class Job:
    """Some tables of one size, at every separation."""

    n: int
    p: int
    index: int
    n_tables: int
    weights: str


def measure(job: Job) -> dict[str, list[float]]:
    """Share of wrong labels per separation, method and table; the better of the two namings."""
    import torch

    from statformer.tasks.spiked_covariance import TwoClassPrior
    from statformer.tasks.stream import TaskStream

    threshold = exact_recovery_radius(job.n, job.p)
    rows: dict[str, list[float]] = {}
    for fraction in FRACTIONS:
        prior = TwoClassPrior(job.n, job.p, radius=fraction * threshold)
        stream = TaskStream(SEED + job.n, job.index, range(job.n_tables), dtype=torch.float64)
        batch = prior.sample(stream)
        for i in range(job.n_tables):
            X, z = batch.X[i].numpy(), 2 * batch.y[i].numpy() - 1
            for name, labels in labelings(X, job.weights, job.index * PER_JOB + i).items():
                rows.setdefault(f"{fraction:g}: {name}", []).append(mismatch(labels, z))
    return rows


def labelings(X: Matrix, weights: str, seed: int) -> dict[str, Labels]:
    """Labels -1 and 1 by every method."""
    found = {
        OURS: AttentionSpectralClustering(weights=weights, random_state=seed).fit_predict(X),
        K_MEANS: rivals.k_means(X, 2, seed),
        SPECTRAL: linkage.spectral(X, 2, seed),
    }
    signs = {name: 2 * np.asarray(labels, dtype=np.int64) - 1 for name, labels in found.items()}
    return {**signs, LAPACK: two_classes(X, centre=True).labels}


def run(bench: Bench) -> None:
    """Measure every size that the record does not hold yet."""
    wanted = bench.sizes.two_classes
    per_job = min(PER_JOB, wanted)
    n_jobs = -(-wanted // per_job)
    for n in bench.sizes.rows:
        for p in bench.sizes.columns:
            name = f"n {n}, p {p}"
            if f"e: {name}" in bench.record:
                continue
            rows: dict[str, list[float]] = {}
            jobs = [Job(n, p, i, per_job, bench.weights) for i in range(n_jobs)]
            for i, answer in enumerate(bench.workers.run(measure, jobs)):
                for key, values in answer.items():
                    rows.setdefault(key, []).extend(values)
                bench.callback(Progress("e", name, i + 1, n_jobs))
            threshold = exact_recovery_radius(n, p)
            about = {"part": "e", "n rows": n, "n columns": p, "threshold radius": threshold}
            bench.record.put(f"e: {name}", {**about, **summary(rows, threshold)})


def summary(rows: Mapping[str, Sequence[float]], threshold: float) -> dict[str, Any]:
    """Mean errors with intervals by method, and ours minus each rival, at every separation."""
    levels: list[dict[str, Any]] = []
    for fraction in FRACTIONS:
        errors = {name: np.array(rows[f"{fraction:g}: {name}"]) for name in METHODS}
        levels.append(
            {
                "radius over threshold": fraction,
                "error": {name: _short(mean_interval([e]).as_dict()) for name, e in errors.items()},
                "ours minus": {
                    name: _short(difference_interval([errors[OURS]], [errors[name]]).as_dict())
                    for name in RIVALS
                },
                "oracle": oracle_error(fraction * threshold),
            }
        )
    return {"n": levels[0]["error"][OURS]["n"], "levels": levels}


def _short(interval: Mapping[str, Any]) -> dict[str, Any]:
    return {name: round(value, 6) for name, value in interval.items()}
