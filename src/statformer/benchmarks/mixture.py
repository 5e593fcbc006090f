"""`statformer bench mixture`: the network beside its rivals, part by part, into one JSON file.

Parts: (c) the paper's family, (d) development tables, (e) cost, (f) batteries with K given and
(g) with K unknown, (h) the judge as a selector, (i) calibration, (j) effort.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from statformer.benchmarks import (
    calibration,
    cost,
    development,
    effort,
    given_k,
    judging,
    paper_family,
    unknown_k,
)
from statformer.benchmarks.parts import checked_parts
from statformer.benchmarks.settings import LEAST_TABLES, PARTS, Bench, Progress, Sizes, silent
from statformer.benchmarks.targets import targets
from statformer.estimators.base import resolve_weights
from statformer.estimators.constructed import RIDGES
from statformer.runs.machine import commit, machine, sources_digest, versions
from statformer.runs.record import Record
from statformer.runs.timing import LoadWatch
from statformer.runs.workers import workers

SCHEMA = "statformer-bench-mixture/2"
INPUTS = {
    "pretrained, B'": "the table as drawn; robust scaling (median; interquartile range or wider)",
    "scikit-learn's methods": "z-scores of the same table; EM with reg_covar 1e-4",
    "missing cells, categories": "as they are for the network, B' with K unknown, StepMix and EM "
    "that marginalises; medians, most frequent levels and one-hot for the others",
}
NOT_RUN = {
    "autogmm": "graspologic 3.3.0 installs but does not run: it calls "
    "AgglomerativeClustering(affinity=...), which scikit-learn removed in 1.4"
}
RUNNERS: dict[str, Callable[[Bench], None]] = {
    "c": paper_family.run,
    "d": development.run,
    "e": cost.run,
    "f": given_k.run,
    "g": unknown_k.run,
    "h": judging.run,
    "i": calibration.run,
    "j": effort.run,
}
NEEDS_JUDGE = frozenset("deghj")


def bench_mixture(
    sizes: Sizes,
    parts: Sequence[str] = tuple(PARTS),
    *,
    json_path: Path | None = None,
    force: bool = False,
    weights: str = "pretrained",
    without: Path = Path("training"),
    tables: Path = Path("examples/data"),
    n_workers: int = 1,
    command: str = "",
    callback: Callable[[Progress], None] = silent,
) -> dict[str, Any]:
    """Run the parts and return what the JSON file holds; finished cells of that file are kept.

    Raises ValueError for an unknown part, for weights without a judge where a part needs one, and
    for a folder without tables; FileNotFoundError for missing weights; FileExistsError where
    `json_path` holds another measurement and `force` is False.
    """
    parts = checked_parts(parts, PARTS)
    checkpoint = resolve_weights(weights)
    if checkpoint.is_constructed:
        raise ValueError("weights='constructed' is the rival B' itself; pass learned weights")
    if not checkpoint.judge and NEEDS_JUDGE & set(parts):
        raise ValueError(
            f"weights={weights!r} hold no judge, which parts {', '.join(sorted(NEEDS_JUDGE))} "
            "need; measure the other parts"
        )
    if "d" in parts and not any(tables.glob("*.csv")):
        raise ValueError(f"tables={tables}: no CSV file in this folder; pass another folder")
    fingerprint = {
        "schema": SCHEMA,
        "sizes": vars(sizes),
        "weights sha256": checkpoint.sha256,
        "sources": sources_digest(),
        "tables": sorted(path.name for path in tables.glob("*.csv")),
    }
    record = Record(json_path, fingerprint, force)
    watch = LoadWatch()
    record.update(
        schema=SCHEMA,
        mode=sizes.name,
        is_first_look=sizes.tables < LEAST_TABLES,
        command=command,
        commit=commit(),
        versions=versions(),
        machine=machine(),
        weights={"name": weights, "sha256": checkpoint.sha256},
        inputs=INPUTS,
        not_run=NOT_RUN,
        ridges=RIDGES,
        n_workers=n_workers,
        began=record.data.get("began", _now()),
    )
    with workers(n_workers) as pool:
        bench = Bench(sizes, record, pool, weights, without, tables, callback)
        for part in parts:
            RUNNERS[part](bench)
    measured = [part for part in PARTS if any(c["part"] == part for c in record.cells.values())]
    record.update(
        ended=_now(),
        other_load=watch.read(),
        targets=[target.as_dict() for target in targets(record.cells, measured)],
    )
    return record.data


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
