"""`statformer bench mixture|bayesnet|neighbors|optim|spectral`: measure beside the rivals."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from statformer._extras import require
from statformer.cli.bench_bayesnet import bayesnet
from statformer.cli.bench_display import display, print_sheets
from statformer.cli.bench_neighbors import neighbors
from statformer.cli.bench_optim import optim
from statformer.cli.bench_spectral import spectral
from statformer.cli.errors import CommandError, one_line

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

    if quick and full:
        raise CommandError("--quick and --full exclude each other; pass one")
    if json_file is None and sys.stdout.isatty():
        raise CommandError("--json FILE is missing; it says where the numbers go")
    try:
        with display() as shown:
            data = bench_mixture(
                FULL if full else QUICK,
                [name.strip() for name in part.split(",") if name.strip()],
                json_path=json_file,
                force=force,
                weights=weights,
                without=without,
                tables=tables,
                n_workers=workers or os.cpu_count() or 1,
                command="statformer " + " ".join(sys.argv[1:]),
                callback=shown,
            )
    except KeyboardInterrupt:
        sys.stderr.write("stopped; the same command goes on with the next cell\n")
        raise typer.Exit(130) from None
    except (ValueError, OSError) as error:
        raise CommandError(one_line(error)) from error
    if plots is not None:
        for path in pictures.draw(data, plots):
            sys.stderr.write(f"picture: {path}\n")
    if sys.stdout.isatty():
        print_sheets(sheets(data))
        typer.echo(f"numbers: {json_file}")
    else:
        sys.stdout.write(json.dumps(data) + "\n")


bench.command("bayesnet")(bayesnet)
bench.command("neighbors")(neighbors)
bench.command("optim")(optim)
bench.command("spectral")(spectral)
