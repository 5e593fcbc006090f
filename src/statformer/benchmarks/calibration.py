"""(i) Are responsibilities to be believed? Reliability, ECE, Brier and log score beside EM's.

Clusters are matched to components one to one by the hard labels (Hungarian algorithm). Confidence
is the largest responsibility of a row; a row is right when its matched cluster is its component.

    ECE    sum over 15 bins of confidence: share of rows |mean confidence - share right|
    Brier  mean over rows of sum_k (r_ik - [y_i = k])^2, clusters without a component included
    NLL    mean of -log r_i,y_i; responsibilities below 1e-6 count as 1e-6

ECE is taken over the rows of all tables of a battery together; its interval resamples tables.
Points of no component do not count. Axes: b tables, n points, c components, k bins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment

from statformer.benchmarks import rivals
from statformer.benchmarks.batteries import (
    IN_PRIOR,
    LEFT,
    NEVER,
    Job,
    Rows,
    batteries,
    measure_batteries,
)
from statformer.benchmarks.classical import BIC_EM, FAILURES
from statformer.benchmarks.network import fit
from statformer.benchmarks.rivals import z_scores
from statformer.benchmarks.settings import Bench
from statformer.benchmarks.sources import Table
from statformer.runs.intervals import (
    Interval,
    difference_interval,
    mean_interval,
    resampled_interval,
)

OURS, BATCHED = "pretrained", "B' agreed"
METHODS = (OURS, BIC_EM, BATCHED)
N_BINS = 15
FLOOR = 1e-6

Proba = Float[np.ndarray, "n c"]
Labels = Int[np.ndarray, " n"]
Bins = Float[np.ndarray, "_ k 3"]  # of the tables of a battery


def measure(job: Job) -> Rows:
    """Reliability bins, Brier and log score of every method on every table of the job.

    A table on which a method raised counts as a uniform guess of the true K.
    """
    rows: Rows = {"K": []}
    for i, table in enumerate(job.tables()):
        rows["K"].append(table.n_components)
        for name, proba in _responsibilities(table, job, i).items():
            rows.setdefault(f"crashed: {name}", []).append(int(proba is None))
            K = table.n_components
            believed = np.full((len(table.y), K), 1.0 / K) if proba is None else proba
            bins, brier, nll = scores(table.y, believed)
            for measured, value in (("bins", bins), ("Brier", brier), ("NLL", nll)):
                rows.setdefault(f"{name}: {measured}", []).append(value)
    return rows


def _responsibilities(table: Table, job: Job, i: int) -> dict[str, Proba | None]:
    given, K = table.given(), table.n_components
    found: dict[str, Proba | None] = {}
    for name, weights in ((OURS, job.weights), (BATCHED, "constructed")):
        (model,) = fit([given], K, weights, job.seed(i))
        found[name] = None if model is None else model.predict_proba(given)
    try:
        Z = z_scores(table.plain())
        found[BIC_EM] = rivals.best_by_bic(Z, K, job.seed(i))[0].predict_proba(Z)
    except FAILURES:
        found[BIC_EM] = None
    return found


def scores(y: Labels, proba: Proba) -> tuple[Float[np.ndarray, "k 3"], float, float]:
    """Bins (rows, sum of confidence, sum of hits), Brier score and NLL of one table."""
    counts = y >= 0
    y, p = y[counts], proba[counts]
    hard = p.argmax(axis=1)
    n_true, n_clusters = int(y.max()) + 1, p.shape[1]
    width = max(n_true, n_clusters)
    table = np.zeros((width, width), dtype=np.int64)
    np.add.at(table, (hard, y), 1)
    _, component = linear_sum_assignment(-table)  # of each cluster, padding included
    matched = np.zeros((len(y), width))
    matched[:, component[:n_clusters]] = p
    right = component[hard] == y
    confidence = p.max(axis=1)
    place = np.clip((confidence * N_BINS).astype(np.int64), 0, N_BINS - 1)
    bins = np.stack(
        [np.bincount(place, w, minlength=N_BINS) for w in (np.ones(len(y)), confidence, right)],
        axis=1,
    )
    own = matched[np.arange(len(y)), y]
    brier = float(((matched**2).sum(axis=1) - 2.0 * own + 1.0).mean())
    return bins, brier, float(-np.log(np.maximum(own, FLOOR)).mean())


def run(bench: Bench) -> None:
    """Measure the in-prior, left-out and never-trained batteries that the record lacks."""
    groups = {IN_PRIOR, LEFT, NEVER}
    found = [battery for battery in batteries(bench.sizes) if battery.group in groups]
    measure_batteries(bench, "i", found, "calibrated_tables", measure, summary)


def summary(rows: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """ECE, Brier and NLL of every method with intervals, ours minus each rival, and the bins."""
    cell: dict[str, Any] = {"n": len(rows["K"])}
    bins = {name: np.array(rows[f"{name}: bins"], dtype=np.float64) for name in METHODS}
    cell["ECE"] = {name: ece_interval([bins[name]]).as_dict() for name in METHODS}
    cell["ECE, ours minus"] = {
        name: ece_difference([bins[OURS]], [bins[name]]).as_dict()
        for name in METHODS
        if name != OURS
    }
    for measured in ("Brier", "NLL"):
        columns = {name: np.array(rows[f"{name}: {measured}"]) for name in METHODS}
        cell[measured] = {name: mean_interval([columns[name]]).as_dict() for name in METHODS}
        cell[f"{measured}, ours minus"] = {
            name: difference_interval([columns[OURS]], [columns[name]]).as_dict()
            for name in METHODS
            if name != OURS
        }
    cell["crash rate"] = {name: float(np.mean(rows[f"crashed: {name}"])) for name in METHODS}
    cell["reliability"] = {name: np.round(b.sum(axis=0), 3) for name, b in bins.items()}
    cell["bins"] = {name: np.round(b, 3).reshape(len(b), -1) for name, b in bins.items()}
    return cell


def ece(bins: Float[np.ndarray, "*r k 3"]) -> Float[np.ndarray, "*r"]:
    """Expected calibration error of (rows, sum of confidence, sum of hits) per bin."""
    gap = np.abs(bins[..., 1] - bins[..., 2]).sum(axis=-1)
    error: Float[np.ndarray, "*r"] = gap / np.maximum(bins[..., 0].sum(axis=-1), 1.0)
    return error


def ece_interval(found: Sequence[Bins]) -> Interval:
    """ECE over the rows of all tables of some batteries, tables resampled within each."""
    return resampled_interval([found], lambda sums: ece(sums[0]))


def ece_difference(first: Sequence[Bins], second: Sequence[Bins]) -> Interval:
    """ECE of the first minus that of the second, from the same resampled tables."""
    return resampled_interval([first, second], lambda sums: ece(sums[0]) - ece(sums[1]))


def stored_bins(cell: Mapping[str, Any], name: str) -> Bins:
    """The bins of a method on every table of a finished cell."""
    return np.array(cell["bins"][name], dtype=np.float64).reshape(-1, N_BINS, 3)
