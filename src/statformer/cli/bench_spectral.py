"""`statformer bench spectral`: principal components and two classes beside their rivals."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from statformer._extras import require
from statformer.cli.bench_display import Asked, run_bench


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

    run_bench(
        Asked(quick, full, part, json_file, force, plots),
        bench_spectral,
        (QUICK, FULL),
        sheets,
        draw,
        weights=weights,
        networks=networks,
        images=images,
        n_workers=workers,
    )
