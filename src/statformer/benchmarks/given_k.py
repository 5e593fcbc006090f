"""(a) K given: adjusted Rand index in-prior and on families left out of training.

Cells: the training prior at each number of columns and overlap; every left-out family alone and
forced on in the full prior, by weights trained without it; two families of no training, by the
shipped weights. Axes: n points, d features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from statformer.benchmarks import batched_em, rivals
from statformer.benchmarks.families import FAMILIES
from statformer.benchmarks.network import cluster_with_k
from statformer.benchmarks.rivals import RIVALS, z_scores
from statformer.benchmarks.scores import ari
from statformer.benchmarks.settings import LEFT_OUT, Bench, Progress, Sizes
from statformer.benchmarks.sources import Source, Table
from statformer.estimators.base import resolve_weights
from statformer.runs.intervals import difference_interval, mean_interval

OURS = "pretrained"
BAYES = "Bayes-optimal"
RIVAL_NAMES = (*RIVALS, *batched_em.NAMES)
# Mean distance to the nearest centre, in units of the within standard deviation.
OVERLAPS = {"low": (4.0, 8.0), "middle": (2.5, 4.0), "high": (1.3, 2.5)}
WHOLE_RANGE = (1.3, 8.0)

Scores = Mapping[str, Sequence[float | None]]


@dataclass(frozen=True)
class Cell:
    """A source of tables and the weights that are tried on it.

    group  "in-prior" or "left-out"; family: None, or what the weights have never seen
    """

    source: Source
    group: str
    family: str | None


@dataclass(frozen=True)
class Job:
    """A block of tables of a cell."""

    cell: Cell
    index: int
    n_tables: int
    weights: str


def cells(sizes: Sizes) -> list[Cell]:
    """All cells of the part, in-prior first."""
    found = []
    for d in sizes.columns:
        shapes = tuple((n, d) for n in sizes.rows)
        for overlap, separation in OVERLAPS.items():
            source = Source(f"in-prior, d = {d}, overlap {overlap}", "prior", shapes, separation)
            found.append(Cell(source, "in-prior", None))
    mixed = _mixed_shapes(sizes)
    for family in LEFT_OUT:
        for how in ("only", "with"):
            name = f"{how} {family}"
            found.append(Cell(Source(name, name, mixed, WHOLE_RANGE), "left-out", family))
    never = [Cell(Source(f, f, mixed, WHOLE_RANGE), "left-out", f) for f in FAMILIES]
    return [*found, *never]


def _mixed_shapes(sizes: Sizes) -> tuple[tuple[int, int], ...]:
    """All sizes in turn; the widest tables half as often, for they take most of the time."""
    few, *_ = sizes.rows
    narrow = tuple((n, d) for n in sizes.rows for d in sizes.columns[:-1])
    return (*narrow, (few, sizes.columns[-1]))


def measure(job: Job) -> dict[str, list[Any]]:
    """ARI of every method on every table of the job; "crashed: <method>" counts as 1."""
    tables = job.cell.source.block(job.index, job.n_tables)
    ours = cluster_with_k(
        [t.X for t in tables], [t.n_components for t in tables], job.weights, job.index
    )
    rows: dict[str, list[Any]] = {"K": [], OURS: [], BAYES: []}
    rows |= {name: [] for name in RIVAL_NAMES}
    rows |= {f"crashed: {name}": [] for name in (OURS, *RIVAL_NAMES)}
    for i, table in enumerate(tables):
        labels = {OURS: ours[i], **rival_labels(table, seed=job.index * 1000 + i)}
        for name, found in labels.items():
            rows[name].append(ari(table.y, found))
            rows[f"crashed: {name}"].append(int(found is None))
        rows["K"].append(table.n_components)
        rows[BAYES].append(None if table.bayes is None else ari(table.y, table.bayes))
    return rows


def rival_labels(table: Table, seed: int) -> dict[str, Any]:
    """Labels by every rival; None where it raised."""
    Z = z_scores(table.X)
    found: dict[str, Any] = {}
    for name, rival in RIVALS.items():
        try:
            found[name] = rival(Z, table.n_components, seed)
        except (ValueError, np.linalg.LinAlgError):
            found[name] = None
    try:
        rng = np.random.default_rng(seed)
        found |= batched_em.batched_em(table.X, table.n_components, rng)
    except np.linalg.LinAlgError:
        found |= dict.fromkeys(batched_em.NAMES)
    return found


def run(bench: Bench) -> None:
    """Measure all cells that the record does not hold yet."""
    sizes = bench.sizes
    for cell in cells(sizes):
        key = f"a: {cell.source.name}"
        weights = bench.weights
        if cell.family in LEFT_OUT:
            path = bench.weights_without(cell.family)
            weights = str(path)
            if not path.is_file():
                bench.record.put(
                    key, {**_about(cell, weights, None), "missing": f"{path}: no file"}
                )
                continue
        digest = resolve_weights(weights).sha256
        if key in bench.record and bench.record.cells[key]["weights_sha256"] == digest:
            continue
        n_jobs = -(-sizes.tables // sizes.per_job)
        jobs = [Job(cell, i, sizes.per_job, weights) for i in range(n_jobs)]
        scores: dict[str, list[Any]] = {}
        for i, rows in enumerate(bench.workers.run(measure, jobs)):
            for name, values in rows.items():
                scores.setdefault(name, []).extend(values)
            bench.callback(Progress("a", cell.source.name, i + 1, n_jobs))
        bench.record.put(key, {**_about(cell, weights, digest), **summary(scores)})


def _about(cell: Cell, weights: str, digest: str | None) -> dict[str, Any]:
    source = cell.source
    return {
        "part": "a",
        "group": cell.group,
        "family": cell.family,
        "weights": weights,
        "weights_sha256": digest,
        "shapes": source.shapes,
        "separation": source.separation,
        "n_components": source.n_components,
        "seed": source.seed,
    }


def summary(scores: Scores) -> dict[str, Any]:
    """Means, paired differences of ours to each rival, crash rates, and the scores themselves."""
    ours = _column(scores, OURS)
    known = np.array([value is not None for value in scores[BAYES]])
    best = np.array([value for value in scores[BAYES] if value is not None])
    mean = {name: mean_interval([_column(scores, name)]) for name in (OURS, *RIVAL_NAMES)}
    cell: dict[str, Any] = {
        "n": len(ours),
        "ari": {name: interval.as_dict() for name, interval in mean.items()},
        "ours minus": {
            name: difference_interval([ours], [_column(scores, name)]).as_dict()
            for name in RIVAL_NAMES
        },
        "crash rate": {name: float(np.mean(_column(scores, f"crashed: {name}"))) for name in mean},
    }
    if len(best):  # on the tables where a posterior exists; ours on the same
        cell["ari"][BAYES] = mean_interval([best]).as_dict()
        cell["ours where Bayes is known"] = mean_interval([ours[known]]).as_dict()
    rounded = partial(np.round, decimals=5)
    cell["scores"] = {
        name: [None if v is None else float(rounded(v)) for v in values]
        for name, values in scores.items()
        if not name.startswith("crashed")
    }
    return cell


def pooled(found: Sequence[Mapping[str, Any]], rival: str) -> dict[str, Any]:
    """Ours minus `rival` over all tables of some finished cells; each cell is a stratum."""
    ours = [_column(cell["scores"], OURS) for cell in found]
    theirs = [_column(cell["scores"], rival) for cell in found]
    return difference_interval(ours, theirs).as_dict()


def _column(scores: Scores, name: str) -> np.ndarray:
    return np.array(scores[name], dtype=np.float64)


BIC_EM = rivals.BIC_EM
