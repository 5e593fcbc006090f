"""`statformer bench mixture|bayesnet|features|neighbors|optim|spectral`: beside the rivals."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from statformer._extras import require
from statformer.cli.bench_bayesnet import bayesnet
from statformer.cli.bench_display import Asked, run_bench
from statformer.cli.bench_features import features
from statformer.cli.bench_neighbors import neighbors
from statformer.cli.bench_optim import optim
from statformer.cli.bench_spectral import spectral

bench = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Measure against the rivals (extra: bench)."
)


@bench.callback()
def _bench() -> None:
    """Measure against the rivals."""


@bench.command()
def mixture(
    quick: Annotated[bool, typer.Option("--quick", help="A first look: <= 10 minutes.")] = False,
    full: Annotated[bool, typer.Option("--full", help="The real thing: <= 60 minutes.")] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Where the numbers go.")
    ] = None,
    part: Annotated[
        str, typer.Option(metavar="c,d,...", help="Some of the parts c to j.")
    ] = "c,d,e,f,g,h,i,j",
    weights: Annotated[
        str, typer.Option(metavar="NAME|FILE", help="The network under test.")
    ] = "pretrained",
    without: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder of judge_without_<family>/ and selector/.")
    ] = Path("training"),
    tables: Annotated[
        Path, typer.Option(metavar="DIR", help="Labelled CSV files, last column the label.")
    ] = Path("examples/data"),
    workers: Annotated[
        int, typer.Option(metavar="N", help="Processes of all parts but (e). Default: the cores.")
    ] = 0,
    plots: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where reliability curves go.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Begin anew over FILE.")] = False,
) -> None:
    """Cluster many tables with the network and its rivals; say what was reached and what not.

    A run that was stopped goes on where FILE ends, as long as sizes, weights and code are the same.
    """
    for module in ("torch", "psutil", "threadpoolctl", "genieclust", "stepmix"):
        require(module, "bench")
    from statformer.benchmarks import pictures
    from statformer.benchmarks.mixture import bench_mixture
    from statformer.benchmarks.settings import FULL, QUICK
    from statformer.benchmarks.summary import sheets

    run_bench(
        Asked(quick, full, part, json_file, force, plots),
        bench_mixture,
        (QUICK, FULL),
        sheets,
        pictures.draw,
        weights=weights,
        without=without,
        tables=tables,
        n_workers=workers or os.cpu_count() or 1,
    )


bench.command("bayesnet")(bayesnet)
bench.command("neighbors")(neighbors)
bench.command("optim")(optim)
bench.command("features")(features)
bench.command("spectral")(spectral)
