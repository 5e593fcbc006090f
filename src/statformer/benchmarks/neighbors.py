"""`statformer bench neighbors`: attention neighbours beside their rivals, into one JSON file.

Parts: (a) time and memory of one nearest neighbour, (b) predictions beside tuned k-NN, (c) the
shifted prompts of the paper.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from statformer.benchmarks import neighbors_cost, neighbors_predictions, neighbors_shifted
from statformer.benchmarks.neighbors_settings import PARTS, Bench, Sizes
from statformer.benchmarks.neighbors_targets import targets
from statformer.benchmarks.parts import Plan
from statformer.benchmarks.settings import Progress, silent
from statformer.runs.machine import sources_digest
from statformer.runs.record import Record

PLAN: Plan[Bench] = Plan(
    "statformer-bench-neighbors/1",
    {"a": neighbors_cost.run, "b": neighbors_predictions.run, "c": neighbors_shifted.run},
    targets,
    ("faiss-cpu",),
)


def bench_neighbors(
    sizes: Sizes,
    parts: Sequence[str] = tuple(PARTS),
    *,
    json_path: Path | None = None,
    force: bool = False,
    tables: Path = Path("examples/data"),
    command: str = "",
    callback: Callable[[Progress], None] = silent,
) -> dict[str, Any]:
    """Run the parts and return what the JSON file holds; finished cells of that file are kept.

    Raises ValueError for an unknown part, FileNotFoundError for a folder without tables, and
    FileExistsError where `json_path` holds another measurement and `force` is False.
    """
    parts = PLAN.checked(parts)
    digest = neighbors_predictions.digest(tables)
    if not digest:
        raise FileNotFoundError(f"tables={tables}: no CSV file in it; pass --tables DIR")
    fingerprint = {
        "schema": PLAN.schema,
        "sizes": vars(sizes),
        "sources": sources_digest(),
        "tables sha256": digest,
    }
    record = Record(json_path, fingerprint, force)
    bench = Bench(sizes, record, tables, callback)
    return PLAN.run(bench, record, parts, mode=sizes.name, command=command)
