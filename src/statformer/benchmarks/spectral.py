"""`statformer bench spectral`: principal components and two classes, part by part, into one file.

Parts: (a) the construction, (b) networks trained as in the paper, (c) corrupted tables, (d) time
and memory, (e) two classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from statformer.benchmarks import (
    spectral_constructed,
    spectral_cost,
    spectral_networks,
    spectral_robust,
    spectral_two_classes,
)
from statformer.benchmarks.parts import checked_parts
from statformer.benchmarks.settings import Progress, silent
from statformer.benchmarks.spectral_settings import LEAST_TABLES, PARTS, Bench, Sizes
from statformer.benchmarks.spectral_targets import targets
from statformer.estimators.principal_weights import resolve_principal
from statformer.runs.machine import commit, machine, sources_digest, versions
from statformer.runs.record import Record
from statformer.runs.timing import LoadWatch
from statformer.runs.workers import workers

SCHEMA = "statformer-bench-spectral/1"
RUNNERS: dict[str, Callable[[Bench], None]] = {
    "a": spectral_constructed.run,
    "b": spectral_networks.run,
    "c": spectral_robust.run,
    "d": spectral_cost.run,
    "e": spectral_two_classes.run,
}


def bench_spectral(
    sizes: Sizes,
    parts: Sequence[str] = tuple(PARTS),
    *,
    json_path: Path | None = None,
    force: bool = False,
    weights: str = "pretrained",
    networks: Path = Path("training"),
    images: Path | None = None,
    n_workers: int = 1,
    command: str = "",
    callback: Callable[[Progress], None] = silent,
) -> dict[str, Any]:
    """Run the parts and return what the JSON file holds; finished cells of that file are kept.

    Raises ValueError for an unknown part, FileNotFoundError for missing weights or images, and
    FileExistsError where `json_path` holds another measurement and `force` is False.
    """
    parts = checked_parts(parts, PARTS)
    digests = {form: resolve_principal(weights, form).sha256 for form in ("rows", "cells")}
    fingerprint = {
        "schema": SCHEMA,
        "sizes": vars(sizes),
        "weights sha256": digests,
        "sources": sources_digest(),
    }
    record = Record(json_path, fingerprint, force)
    watch = LoadWatch()
    with workers(n_workers) as pool:
        bench = Bench(sizes, record, pool, weights, networks, images, callback)
        if images is not None and bench.image_file is None:
            raise FileNotFoundError(
                f"images={images}: no such .npz file, and no folder with mnist.npz; pass --images"
            )
        record.update(
            schema=SCHEMA,
            mode=sizes.name,
            is_first_look=sizes.tables < LEAST_TABLES,
            command=command,
            commit=commit(),
            versions=versions(),
            machine=machine(),
            weights={"name": weights, "sha256": digests},
            judged=spectral_robust.OURS,
            n_workers=n_workers,
            began=record.data.get("began", _now()),
        )
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
