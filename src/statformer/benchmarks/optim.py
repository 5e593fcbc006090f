"""`statformer bench optim`: our optimizers beside their rivals, part by part, into one JSON file.

Parts: (a) time and memory of a step, (b) training, (c) sensitivity, (d) the same on a GPU.
What it can show is that the algorithms are what they claim and how they depend on their settings;
the tasks are far too small to call one optimizer better than another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from statformer.benchmarks import optim_gpu, optim_sensitivity, optim_step_time, optim_training
from statformer.benchmarks.optim_language import text_sha256
from statformer.benchmarks.optim_methods import ADVICE
from statformer.benchmarks.optim_settings import PARTS, Bench, Sizes
from statformer.benchmarks.optim_targets import targets
from statformer.benchmarks.parts import checked_parts
from statformer.benchmarks.settings import Progress, silent
from statformer.runs.machine import PACKAGES, commit, machine, sources_digest, versions
from statformer.runs.record import Record
from statformer.runs.timing import LoadWatch

SCHEMA = "statformer-bench-optim/1"
RIVALS = ("dadaptation", "dog-optimizer", "prodigyopt", "schedulefree")
RUNNERS: dict[str, Callable[[Bench], None]] = {
    "a": optim_step_time.run,
    "b": optim_training.run,
    "c": optim_sensitivity.run,
    "d": optim_gpu.run,
}


def bench_optim(
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
    parts = checked_parts(parts, PARTS)
    fingerprint = {
        "schema": SCHEMA,
        "sizes": vars(sizes),
        "sources": sources_digest(),
        "text sha256": text_sha256(),
    }
    record = Record(json_path, fingerprint, force)
    watch = LoadWatch()
    record.update(
        schema=SCHEMA,
        mode=sizes.name,
        command=command,
        commit=commit(),
        versions=versions((*PACKAGES, *RIVALS)),
        machine=machine(),
        advice=ADVICE,
        began=record.data.get("began", _now()),
    )
    bench = Bench(sizes, record, callback)
    for part in PARTS:
        if part in parts:
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
