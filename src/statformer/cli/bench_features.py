"""`statformer bench features`: how fast patch networks train."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from statformer._extras import require
from statformer.cli.bench_display import Asked, run_bench


def features(
    quick: Annotated[bool, typer.Option("--quick", help="A first look: <= 2 minutes.")] = False,
    full: Annotated[bool, typer.Option("--full", help="The real thing: <= 15 minutes.")] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Where the numbers go.")
    ] = None,
    part: Annotated[str, typer.Option(metavar="a,b", help="Some of the parts a and b.")] = "a,b",
    workers: Annotated[int, typer.Option(metavar="N", help="Processes of (b).")] = 2,
    force: Annotated[bool, typer.Option("--force", help="Begin anew over FILE.")] = False,
) -> None:
    """Measure the training of patch networks in inner products against plain descent.

    A run that was stopped goes on where FILE ends, as long as sizes and code are the same.
    """
    for module in ("torch", "psutil", "threadpoolctl"):
        require(module, "bench")
    from statformer.benchmarks.features import bench_features
    from statformer.benchmarks.features_settings import FULL, QUICK
    from statformer.benchmarks.features_summary import sheets

    run_bench(
        Asked(quick, full, part, json_file, force),
        bench_features,
        (QUICK, FULL),
        sheets,
        n_workers=workers,
    )
