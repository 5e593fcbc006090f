"""`statformer bench neighbors`: attention neighbours beside scikit-learn and faiss."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from statformer._extras import require
from statformer.cli.bench_display import Asked, run_bench


def neighbors(
    quick: Annotated[bool, typer.Option("--quick", help="A first look: <= 5 minutes.")] = False,
    full: Annotated[bool, typer.Option("--full", help="The real thing: <= 60 minutes.")] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Where the numbers go.")
    ] = None,
    part: Annotated[str, typer.Option(metavar="a,b,c", help="Some of the parts.")] = "a,b,c",
    tables: Annotated[
        Path, typer.Option(metavar="DIR", help="Labelled CSV files, last column the label.")
    ] = Path("examples/data"),
    force: Annotated[bool, typer.Option("--force", help="Begin anew over FILE.")] = False,
) -> None:
    """Measure neighbours by attention: speed, memory, predictions, the paper's shifted prompts.

    A run that was stopped goes on where FILE ends, as long as sizes, tables and code are the same.
    """
    for module in ("torch", "psutil", "threadpoolctl", "faiss"):
        require(module, "bench")
    from statformer.benchmarks.neighbors import bench_neighbors
    from statformer.benchmarks.neighbors_settings import FULL, QUICK
    from statformer.benchmarks.neighbors_summary import sheets

    run_bench(
        Asked(quick, full, part, json_file, force),
        bench_neighbors,
        (QUICK, FULL),
        sheets,
        tables=tables,
    )
