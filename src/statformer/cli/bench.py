"""`statformer bench mixture`: measure the network beside its rivals, at several sizes."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer

from statformer._extras import require
from statformer.cli.errors import CommandError, one_line

if TYPE_CHECKING:
    from statformer.benchmarks.settings import Progress
    from statformer.benchmarks.summary import Sheet

bench = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Measure against the rivals (extra: bench)."
)
VERDICTS = {"reached": "green", "short": "red", "invalid": "yellow", "not measured": "yellow"}


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
        with _display() as display:
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
                callback=display,
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
        _print(sheets(data))
        typer.echo(f"numbers: {json_file}")
    else:
        sys.stdout.write(json.dumps(data) + "\n")


def _print(found: list[Sheet]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    for sheet in found:
        table = Table(title=sheet.title, title_justify="left")
        for name in sheet.header:
            table.add_column(name, overflow="fold")
        for row in sheet.rows:
            table.add_row(*(Text(word, style=VERDICTS.get(word, "")) for word in row))
        console.print(table)


def _display() -> Any:
    """A bar at a terminal; one line per finished cell on standard error in a pipe."""
    return _Bar() if sys.stdout.isatty() else _Lines()


class _Lines:
    """A line when a cell is done."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        sys.stderr.flush()

    def __call__(self, progress: Progress) -> None:
        if progress.done == progress.total or progress.part == "e":
            sys.stderr.write(f"({progress.part}) {progress.cell}: done\n")
            sys.stderr.flush()


class _Bar:
    """A bar for the cell that is being measured."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as RichProgress

        self.bar = RichProgress(
            BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}")
        )
        self.row = self.bar.add_task("starting", total=None)

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.stop()

    def __call__(self, progress: Progress) -> None:
        self.bar.update(
            self.row,
            completed=progress.done,
            total=progress.total,
            description=f"({progress.part}) {progress.cell}",
        )
