"""`statformer bench optim`: measure AdaGrad++ and Adam++ beside AdamW and parameter-free rivals."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from statformer._extras import require
from statformer.cli.bench_display import Asked, run_bench

MODULES = ("torch", "psutil", "prodigyopt", "dadaptation", "schedulefree", "dog")


def optim(
    quick: Annotated[bool, typer.Option("--quick", help="A first look: <= 10 minutes.")] = False,
    full: Annotated[bool, typer.Option("--full", help="The real thing: <= 60 minutes.")] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Where the numbers go.")
    ] = None,
    part: Annotated[str, typer.Option(metavar="a,b,...", help="Some of the parts a to d.")] = (
        "a,b,c,d"
    ),
    plots: Annotated[Path | None, typer.Option(metavar="DIR", help="Where pictures go.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Begin anew over FILE.")] = False,
) -> None:
    """Time steps, train small networks and vary settings; say what was reached and what not.

    A run that was stopped goes on where FILE ends, as long as sizes and code are the same. Small
    tasks decide no superiority.
    """
    for module in MODULES:
        require(module, "bench")
    from statformer.benchmarks import optim_pictures
    from statformer.benchmarks.optim import bench_optim
    from statformer.benchmarks.optim_settings import FULL, QUICK
    from statformer.benchmarks.optim_sheets import sheets

    run_bench(
        Asked(quick, full, part, json_file, force, plots),
        bench_optim,
        (QUICK, FULL),
        sheets,
        optim_pictures.draw,
    )
