"""`statformer bench bayesnet`: Bayesian networks beside their rivals, into one JSON file.

Parts: (a) total variation to the truth, (b) equality with pgmpy, (c) rows per second,
(d) structures read from rows beside hill-climbing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from statformer.benchmarks import (
    bayesnet_cost,
    bayesnet_equality,
    bayesnet_structures,
    bayesnet_truth,
)
from statformer.benchmarks.bayesnet_settings import PARTS, Bench, Sizes
from statformer.benchmarks.bayesnet_targets import targets
from statformer.benchmarks.parts import Plan
from statformer.benchmarks.settings import Progress, silent
from statformer.runs.machine import sources_digest
from statformer.runs.record import Record

PLAN: Plan[Bench] = Plan(
    "statformer-bench-bayesnet/2",
    {
        "a": bayesnet_truth.run,
        "b": bayesnet_equality.run,
        "c": bayesnet_cost.run,
        "d": bayesnet_structures.run,
    },
    targets,
    ("pgmpy", "pomegranate", "pyagrum"),
)


def bench_bayesnet(
    sizes: Sizes,
    parts: Sequence[str] = tuple(PARTS),
    *,
    json_path: Path | None = None,
    force: bool = False,
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
    bench = Bench(sizes, record, callback)
    return PLAN.run(bench, record, parts, mode=sizes.name, command=command)
