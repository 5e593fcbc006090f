"""`statformer bench spectral`: principal components and two classes beside their rivals."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from statformer._extras import require
from statformer.cli.bench_display import display, print_sheets
from statformer.cli.errors import CommandError, one_line


def spectral(
    quick: Annotated[bool, typer.Option("--quick", help="A first look: <= 5 minutes.")] = False,
    full: Annotated[bool, typer.Option("--full", help="The real thing: <= 60 minutes.")] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Where the numbers go.")
    ] = None,
    part: Annotated[
        str, typer.Option(metavar="a,b,...", help="Some of the parts a to e.")
    ] = "a,b,c,d,e",
    weights: Annotated[
        str, typer.Option(metavar="NAME|FILE", help="The network of (c), (d) and (e).")
    ] = "pretrained",
    networks: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder of the networks of (b), eigen_*/.")
    ] = Path("training"),
    images: Annotated[
        Path | None,
        typer.Option(metavar="DIR|FILE", help="Images for (b): mnist.npz, or its folder."),
    ] = None,
    workers: Annotated[int, typer.Option(metavar="N", help="Processes of (a), (c) and (e).")] = 1,
    plots: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where the pictures go.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Begin anew over FILE.")] = False,
) -> None:
    """Measure principal components against LAPACK, the paper's claims and robust rivals.

    A run that was stopped goes on where FILE ends, as long as sizes, weights and code are the same.
    """
    for module in ("torch", "psutil", "threadpoolctl"):
        require(module, "bench")
    from statformer.benchmarks.spectral import bench_spectral
    from statformer.benchmarks.spectral_pictures import draw
    from statformer.benchmarks.spectral_settings import FULL, QUICK
    from statformer.benchmarks.spectral_summary import sheets

    if quick and full:
        raise CommandError("--quick and --full exclude each other; pass one")
    if json_file is None and sys.stdout.isatty():
        raise CommandError("--json FILE is missing; it says where the numbers go")
    try:
        with display() as shown:
            data = bench_spectral(
                FULL if full else QUICK,
                [name.strip() for name in part.split(",") if name.strip()],
                json_path=json_file,
                force=force,
                weights=weights,
                networks=networks,
                images=images,
                n_workers=workers,
                command="statformer " + " ".join(sys.argv[1:]),
                callback=shown,
            )
    except KeyboardInterrupt:
        sys.stderr.write("stopped; the same command goes on with the next cell\n")
        raise typer.Exit(130) from None
    except (ValueError, OSError) as error:
        raise CommandError(one_line(error)) from error
    if plots is not None:
        for path in draw(data, plots):
            sys.stderr.write(f"picture: {path}\n")
    if sys.stdout.isatty():
        print_sheets(sheets(data))
        typer.echo(f"numbers: {json_file}")
    else:
        sys.stdout.write(json.dumps(data) + "\n")
