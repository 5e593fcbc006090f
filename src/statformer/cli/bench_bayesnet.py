"""`statformer bench bayesnet`: Bayesian networks beside pgmpy, pomegranate and pyAgrum."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Annotated

import typer

from statformer._extras import require
from statformer.cli.bench_display import display, print_sheets
from statformer.cli.errors import CommandError, one_line


def bayesnet(
    quick: Annotated[bool, typer.Option("--quick", help="A first look: <= 5 minutes.")] = False,
    full: Annotated[bool, typer.Option("--full", help="The real thing: <= 60 minutes.")] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Where the numbers go.")
    ] = None,
    part: Annotated[str, typer.Option(metavar="a,b,c", help="Some of the parts.")] = "a,b,c",
    force: Annotated[bool, typer.Option("--force", help="Begin anew over FILE.")] = False,
) -> None:
    """Measure Bayesian networks: distance to the truth, equality with pgmpy, rows per second.

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

    if quick and full:
        raise CommandError("--quick and --full exclude each other; pass one")
    if json_file is None and sys.stdout.isatty():
        raise CommandError("--json FILE is missing; it says where the numbers go")
    try:
        with display() as shown:
            data = bench_bayesnet(
                FULL if full else QUICK,
                [name.strip() for name in part.split(",") if name.strip()],
                json_path=json_file,
                force=force,
                command="statformer " + " ".join(sys.argv[1:]),
                callback=shown,
            )
    except KeyboardInterrupt:
        sys.stderr.write("stopped; the same command goes on with the next cell\n")
        raise typer.Exit(130) from None
    except (ValueError, OSError) as error:
        raise CommandError(one_line(error)) from error
    if sys.stdout.isatty():
        print_sheets(sheets(data))
        typer.echo(f"numbers: {json_file}")
    else:
        sys.stdout.write(json.dumps(data) + "\n")
