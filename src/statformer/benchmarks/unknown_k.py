"""(b) K unknown: log score of P(K), exact rate and error, beside BIC weights; K = 1 included.

Every method spreads its probability over K = 1..10. Probabilities below 1e-6 count as 1e-6, which
spares BIC weights their worst scores. Axes: n points, d features, j + 1 numbers of components.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from statformer.benchmarks.network import fit
from statformer.benchmarks.rivals import bic_sweep, z_scores
from statformer.benchmarks.scores import ari
from statformer.benchmarks.settings import Bench, Progress, Sizes
from statformer.benchmarks.sources import Source
from statformer.runs.intervals import difference_interval, mean_interval

MOST_K = 10
FLOOR = 1e-6
OURS = "pretrained"
WIDER = "pretrained, 1..20 cut to 1..10"
SKLEARN = "BIC weights, scikit-learn (4 x 5)"
BATCHED = "BIC weights, B' 0.01"
METHODS = (OURS, WIDER, SKLEARN, BATCHED)
RIVAL_NAMES = (SKLEARN, BATCHED)
MEASURES = ("log score", "exact", "error", "ari")


@dataclass(frozen=True)
class Job:
    """A block of tables of a source."""

    source: Source
    index: int
    n_tables: int
    weights: str


def sources(sizes: Sizes) -> list[Source]:
    """The prior with K = 1 in it, a family of no training, and tables without any clusters."""
    shapes = tuple((n, d) for n in sizes.rows for d in sizes.columns[:-1])
    wide, single = (1.5, 8.0), (1, 1)
    return [
        Source("K unknown, in-prior", "prior", shapes, wide, (1, MOST_K)),
        Source("K unknown, copula", "copula", shapes, wide, (1, MOST_K)),
        Source("K unknown, curves", "curves", shapes, wide, (1, MOST_K)),
        Source("K = 1, in-prior", "prior", shapes, wide, single),
    ]


def measure(job: Job) -> dict[str, list[float]]:
    """Per table and method: log P(true K), whether the mode is right, its distance, ARI at it."""
    tables = job.source.block(job.index, job.n_tables)
    X, K, seed = [t.X for t in tables], [t.n_components for t in tables], job.index
    models = {
        OURS: fit(X, None, job.weights, seed, max_components=MOST_K),
        WIDER: fit(X, None, job.weights, seed),
        BATCHED: fit(X, None, "constructed", seed, max_components=MOST_K),
    }
    rows: dict[str, list[float]] = {"K": [float(k) for k in K]}
    for i, table in enumerate(tables):
        found: dict[str, tuple[Any, Any]] = {}
        for name, fitted in models.items():
            model = fitted[i]
            found[name] = (
                (None, None) if model is None else (model.n_components_proba_, model.labels_)
            )
        try:
            log_p, labels = bic_sweep(z_scores(table.X), range(1, MOST_K + 1), seed * 1000 + i)
            found[SKLEARN] = (np.exp(log_p), labels)
        except (ValueError, np.linalg.LinAlgError):
            found[SKLEARN] = (None, None)
        for name, (proba, labels) in found.items():
            values = score(proba, K[i])
            values["ari"] = ari(table.y, labels)
            for measured, value in values.items():
                rows.setdefault(f"{name}: {measured}", []).append(value)
    return rows


def score(proba: Float[np.ndarray, " j"] | None, K: int) -> dict[str, float]:
    """Log score, exact hit and absolute error of P(K = j + 1); a crash is a uniform guess of 1."""
    if proba is None:
        proba = np.full(MOST_K, 1.0 / MOST_K)
    p = proba[:MOST_K] / proba[:MOST_K].sum()
    mode = int(p.argmax()) + 1
    return {
        "log score": float(np.log(max(p[K - 1], FLOOR))),
        "exact": float(mode == K),
        "error": float(abs(mode - K)),
    }


def run(bench: Bench) -> None:
    """Measure all cells that the record does not hold yet."""
    sizes = bench.sizes
    n_jobs = -(-sizes.tables // sizes.per_job)
    for source in sources(sizes):
        key = f"b: {source.name}"
        if key in bench.record:
            continue
        jobs = [Job(source, i, sizes.per_job, bench.weights) for i in range(n_jobs)]
        rows: dict[str, list[float]] = {}
        for i, part in enumerate(bench.workers.run(measure, jobs)):
            for name, values in part.items():
                rows.setdefault(name, []).extend(values)
            bench.callback(Progress("b", source.name, i + 1, n_jobs))
        about = {
            "part": "b",
            "shapes": source.shapes,
            "separation": source.separation,
            "n_components": source.n_components,
            "seed": source.seed,
        }
        bench.record.put(key, {**about, **summary(rows)})


def summary(rows: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Means and paired differences of each measure; false splits are 1 - exact where K = 1."""
    columns = {name: np.array(values, dtype=np.float64) for name, values in rows.items()}
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
    cell["scores"] = {name: np.round(values, 5) for name, values in columns.items()}
    return cell
