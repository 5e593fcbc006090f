"""`statformer bench optim`: measure AdaGrad++ and Adam++ beside AdamW and parameter-free rivals."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from statformer._extras import require
from statformer.cli.bench_display import display, print_sheets
from statformer.cli.errors import CommandError, one_line

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

    if quick and full:
        raise CommandError("--quick and --full exclude each other; pass one")
    if json_file is None and sys.stdout.isatty():
        raise CommandError("--json FILE is missing; it says where the numbers go")
    try:
        with display() as shown:
            data = bench_optim(
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
    if plots is not None:
        for path in optim_pictures.draw(data, plots):
            sys.stderr.write(f"picture: {path}\n")
    if sys.stdout.isatty():
        print_sheets(sheets(data))
        typer.echo(f"numbers: {json_file}")
    else:
        sys.stdout.write(json.dumps(data) + "\n")
