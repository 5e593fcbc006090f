"""(d) Labelled tables of a folder: ARI and AMI beside the rivals, without a threshold.

A class is not a cluster, and a handful of tables proves little. Every method reads the same
matrix: texts one-hot, missing cells at the median. Axes: n points, d features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from sklearn.metrics import adjusted_mutual_info_score

from statformer.benchmarks.given_k import OURS, SINGLE_RIVALS, rival_labels
from statformer.benchmarks.network import fit
from statformer.benchmarks.scores import ari
from statformer.benchmarks.settings import Bench, Progress
from statformer.benchmarks.sources import Table


@dataclass(frozen=True)
class Job:
    """One table, one seed."""

    path: Path
    seed: int
    weights: str


def read_table(path: Path) -> tuple[Float[np.ndarray, "n d"], Int[np.ndarray, " n"], int]:
    """Matrix, labels and number of filled cells of a CSV file whose last column is the label.

    Raises ValueError where a column beside the label is missing, or a label.
    """
    frame = pd.read_csv(path)
    if frame.shape[1] < 2:
        raise ValueError(f"{path} has {frame.shape[1]} column; it needs features and a label")
    label = frame.pop(frame.columns[-1])
    if label.isna().any():
        raise ValueError(f"{path}: {int(label.isna().sum())} rows have no label; leave them out")
    numbers = frame.select_dtypes("number")
    filled = int(numbers.isna().sum().sum())
    parts = [numbers.fillna(numbers.median())]
    texts = frame.drop(columns=numbers.columns)
    if texts.shape[1]:
        parts.append(pd.get_dummies(texts))
    X = np.concatenate([part.to_numpy(dtype=np.float64) for part in parts], axis=1)
    return X, np.asarray(pd.factorize(label)[0]), filled


def measure(job: Job) -> dict[str, Any]:
    """ARI and AMI of every method with the number of labels as K; and K as the network finds it."""
    X, y, filled = read_table(job.path)
    K = int(y.max()) + 1
    (ours,) = fit([X], K, job.weights, job.seed)
    (alone,) = _without_k(X, job)
    labels = {OURS: None if ours is None else ours.labels_}
    rivals = rival_labels(Table(X, y, K), job.seed)
    labels |= {name: rivals[name] for name in SINGLE_RIVALS}
    return {
        "rows": len(X),
        "columns": X.shape[1],
        "filled cells": filled,
        "K": K,
        "ari": {name: ari(y, found) for name, found in labels.items()},
        "ami": {name: _ami(y, found) for name, found in labels.items()},
        "K found": None if alone is None else alone.n_components_,
        "ari at K found": None if alone is None else ari(y, alone.labels_),
    }


def _without_k(X: Float[np.ndarray, "n d"], job: Job) -> list[Any]:
    return fit([X], None, job.weights, job.seed)


def _ami(y: Int[np.ndarray, " n"], labels: Int[np.ndarray, " n"] | None) -> float:
    return 0.0 if labels is None else float(adjusted_mutual_info_score(y, labels))


def run(bench: Bench) -> None:
    """Measure all tables that the record does not hold yet."""
    for path in sorted(bench.tables.glob("*.csv")):
        key = f"d: {path.stem}"
        if key in bench.record:
            continue
        jobs = [Job(path, seed, bench.weights) for seed in range(bench.sizes.seeds)]
        found = []
        for i, answer in enumerate(bench.workers.run(measure, jobs)):
            found.append(answer)
            bench.callback(Progress("d", path.stem, i + 1, len(jobs)))
        bench.record.put(key, {"part": "d", **summary(found)})


def summary(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Means over seeds, and the spread of the seeds (largest minus smallest)."""
    first = found[0]
    cell = {name: first[name] for name in ("rows", "columns", "filled cells", "K")}
    cell["n seeds"] = len(found)
    for measured in ("ari", "ami"):
        values = {name: [one[measured][name] for one in found] for name in first[measured]}
        cell[measured] = {name: float(np.mean(v)) for name, v in values.items()}
        cell[f"{measured}, spread"] = {name: float(np.ptp(v)) for name, v in values.items()}
    cell["K found"] = [one["K found"] for one in found]
    cell["ari at K found"] = [one["ari at K found"] for one in found]
    return cell
