"""`statformer bench bayesnet`: Bayesian networks beside pgmpy, pomegranate and pyAgrum."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Annotated

import typer

from statformer._extras import require
from statformer.cli.bench_display import Asked, run_bench


def bayesnet(
    quick: Annotated[bool, typer.Option("--quick", help="A first look: <= 5 minutes.")] = False,
    full: Annotated[bool, typer.Option("--full", help="The real thing: <= 60 minutes.")] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Where the numbers go.")
    ] = None,
    part: Annotated[str, typer.Option(metavar="a,b,c,d", help="Some of the parts.")] = "a,b,c,d",
    force: Annotated[bool, typer.Option("--force", help="Begin anew over FILE.")] = False,
) -> None:
    """Measure Bayesian networks: distance to the truth, equality with pgmpy, speed, structures.

    A run that was stopped goes on where FILE ends, as long as sizes and code are the same.
    """
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # pyAgrum crashes where the warning of its import is an error
        for module in ("torch", "psutil", "threadpoolctl", "pgmpy", "pomegranate", "pyagrum"):
            require(module, "bench")
    from statformer.benchmarks.bayesnet import bench_bayesnet
    from statformer.benchmarks.bayesnet_settings import FULL, QUICK
    from statformer.benchmarks.bayesnet_summary import sheets

    run_bench(
        Asked(quick, full, part, json_file, force),
        bench_bayesnet,
        (QUICK, FULL),
        sheets,
    )
