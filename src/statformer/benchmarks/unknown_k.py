"""(g) Batteries with K unknown: log score of P(K), exact rate and error, beside BIC weights.

K runs from 1; two batteries hold nothing but single clusters. Every method spreads its probability
over K = 1..10. Probabilities below 1e-6 count as 1e-6, which spares BIC weights their worst scores.
Axes: n points, d features, j + 1 numbers of components.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from statformer.benchmarks.batteries import Job, Rows, batteries, measure_batteries
from statformer.benchmarks.classical import FAILURES
from statformer.benchmarks.network import fit
from statformer.benchmarks.rivals import bic_sweep, z_scores
from statformer.benchmarks.scores import ari
from statformer.benchmarks.settings import Bench
from statformer.runs.intervals import difference_interval, mean_interval

MOST_K = 10
FLOOR = 1e-6
OURS = "pretrained"
SKLEARN = "BIC weights, scikit-learn (4 x 3)"
BATCHED = "BIC weights, B' 0.01"
METHODS = (OURS, SKLEARN, BATCHED)
RIVAL_NAMES = (SKLEARN, BATCHED)
MEASURES = ("log score", "exact", "error", "ari")
SWEEP_STARTS = 3
N_BINS = 10


def measure(job: Job) -> Rows:
    """Per table and method: log P(true K), whether the mode is right, its distance, ARI at it;
    and P(K) itself."""
    tables = job.tables()
    X = [table.given() for table in tables]
    models = {
        OURS: fit(X, None, job.weights, job.index, max_components=MOST_K),
        BATCHED: fit(X, None, "constructed", job.index, max_components=MOST_K),
    }
    rows: Rows = {"K": [], "kind": []}
    for i, table in enumerate(tables):
        rows["K"].append(float(table.n_components))
        rows["kind"].append(table.name)
        found: dict[str, tuple[Any, Any]] = {}
        for name, fitted in models.items():
            model = fitted[i]
            found[name] = (
                (None, None) if model is None else (model.n_components_proba_, model.labels_)
            )
        try:
            Z = z_scores(table.plain())
            log_p, labels = bic_sweep(Z, range(1, MOST_K + 1), job.seed(i), SWEEP_STARTS)
            found[SKLEARN] = (np.exp(log_p), labels)
        except FAILURES:
            found[SKLEARN] = (None, None)
        for name, (proba, labels) in found.items():
            values = score(proba, table.n_components)
            values["ari"] = ari(table.y, labels)
            for measured, value in values.items():
                rows.setdefault(f"{name}: {measured}", []).append(value)
            rows.setdefault(f"{name}: P(K)", []).append(_spread(proba))
            rows.setdefault(f"crashed: {name}", []).append(int(labels is None))
    return rows


def score(proba: Float[np.ndarray, " j"] | None, K: int) -> dict[str, float]:
    """Log score, exact hit and absolute error of P(K = j + 1); a crash is a uniform guess of 1."""
    p = _spread(proba)
    mode = int(p.argmax()) + 1
    return {
        "log score": float(np.log(max(p[K - 1], FLOOR))),
        "exact": float(mode == K),
        "error": float(abs(mode - K)),
    }


def _spread(proba: Float[np.ndarray, " j"] | None) -> Float[np.ndarray, " j"]:
    """P(K) on 1..10; uniform after a crash, 0 beyond what a small table allows."""
    if proba is None:
        return np.full(MOST_K, 1.0 / MOST_K)
    p = np.zeros(MOST_K)
    p[: min(MOST_K, len(proba))] = proba[:MOST_K]
    return p / p.sum()


def run(bench: Bench) -> None:
    """Measure all batteries that the record does not hold yet."""
    found = batteries(bench.sizes, (1, MOST_K))
    measure_batteries(bench, "g", found, "unknown_tables", measure, summary)


def summary(rows: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """Means and paired differences of each measure; false splits are 1 - exact where K = 1."""
    about = ("kind",)
    columns = {
        name: np.array(values, dtype=np.float64)
        for name, values in rows.items()
        if name not in about
    }
    cell: dict[str, Any] = {"n": len(columns["K"])}
    for measured in MEASURES:
        ours = columns[f"{OURS}: {measured}"]
        cell[measured] = {
            name: mean_interval([columns[f"{name}: {measured}"]]).as_dict() for name in METHODS
        }
        cell[f"{measured}, ours minus"] = {
            name: difference_interval([ours], [columns[f"{name}: {measured}"]]).as_dict()
            for name in RIVAL_NAMES
        }
    single = columns["K"] == 1
    if single.any():
        cell["false splits where K = 1"] = {
            name: mean_interval([1.0 - columns[f"{name}: exact"][single]]).as_dict()
            for name in METHODS
        }
    cell["crash rate"] = {
        name: float(columns[f"crashed: {name}"].mean())
        for name in METHODS
        if f"crashed: {name}" in columns
    }
    cell["kinds"] = list(rows.get("kind", []))
    cell["scores"] = {
        name: np.round(values, 5) for name, values in columns.items() if "crashed" not in name
    }
    return cell


def reliability(cells: Sequence[Mapping[str, Any]], method: str) -> Float[np.ndarray, "k 3"]:
    """Tables, sum of P(mode) and of hits by bins of P(mode), over some finished cells."""
    bins = np.zeros((N_BINS, 3))
    for cell in cells:
        p = np.array(cell["scores"][f"{method}: P(K)"], dtype=np.float64)  # b j
        K = np.array(cell["scores"]["K"])
        sure, right = p.max(axis=1), p.argmax(axis=1) + 1 == K
        place = np.clip((sure * N_BINS).astype(np.int64), 0, N_BINS - 1)
        columns = (np.ones(len(K)), sure, right)
        bins += np.stack([np.bincount(place, w, minlength=N_BINS) for w in columns], axis=1)
    return bins
