"""`statformer bench features`: training of patch networks, part by part, into one JSON file.

Parts: (a) one cell of a phase diagram beside plain descent, (b) a whole diagram.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from statformer.benchmarks import features_diagram, features_speed
from statformer.benchmarks.features_settings import PARTS, Bench, Sizes
from statformer.benchmarks.features_summary import targets
from statformer.benchmarks.parts import Plan
from statformer.benchmarks.settings import Progress, silent
from statformer.runs.machine import sources_digest
from statformer.runs.record import Record
from statformer.runs.workers import workers

PLAN: Plan[Bench] = Plan(
    "statformer-bench-features/1",
    {"a": features_speed.run, "b": features_diagram.run},
    targets,
    (),
)


def bench_features(
    sizes: Sizes,
    parts: Sequence[str] = tuple(PARTS),
    *,
    json_path: Path | None = None,
    force: bool = False,
    n_workers: int = 1,
    command: str = "",
    callback: Callable[[Progress], None] = silent,
) -> dict[str, Any]:
    """Run the parts and return what the JSON file holds; finished cells of that file are kept.

    Raises ValueError for an unknown part, and FileExistsError where `json_path` holds another
    measurement and `force` is False.
    """
    parts = PLAN.checked(parts)
    fingerprint = {"schema": PLAN.schema, "sizes": vars(sizes), "sources": sources_digest()}
    record = Record(json_path, fingerprint, force)
    with workers(n_workers) as pool:
        bench = Bench(sizes, record, pool, n_workers, callback)
        return PLAN.run(bench, record, parts, mode=sizes.name, command=command)
