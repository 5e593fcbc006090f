"""`statformer bench neighbors`: attention neighbours beside scikit-learn and faiss."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from statformer._extras import require
from statformer.cli.bench_display import display, print_sheets
from statformer.cli.errors import CommandError, one_line


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

    if quick and full:
        raise CommandError("--quick and --full exclude each other; pass one")
    if json_file is None and sys.stdout.isatty():
        raise CommandError("--json FILE is missing; it says where the numbers go")
    try:
        with display() as shown:
            data = bench_neighbors(
                FULL if full else QUICK,
                [name.strip() for name in part.split(",") if name.strip()],
                json_path=json_file,
                force=force,
                tables=tables,
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
