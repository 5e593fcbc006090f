"""What all benchmarks do: check the options, show a bar or lines, then pictures and tables."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import typer

from statformer.cli.errors import CommandError, one_line

if TYPE_CHECKING:
    from statformer.benchmarks.settings import Progress
    from statformer.benchmarks.sheet import Sheet

__all__ = ["Asked", "run_bench"]

VERDICTS = {"reached": "green", "short": "red", "invalid": "yellow", "not measured": "yellow"}


@dataclass(frozen=True)
class Asked:
    """The options that all benchmarks have."""

    quick: bool
    full: bool
    part: str
    json_file: Path | None
    force: bool
    plots: Path | None = None


def run_bench(
    asked: Asked,
    bench: Callable[..., Mapping[str, Any]],
    sizes: tuple[Any, Any],
    sheets: Callable[[Any], list[Sheet]],
    draw: Callable[[Any, Path], list[Path]] | None = None,
    **options: Any,
) -> None:
    """Run `bench` at one of (quick, full) sizes, then draw its pictures and print its sheets.

    Raises CommandError for options that contradict each other and for what `bench` refuses.
    """
    if asked.quick and asked.full:
        raise CommandError("--quick and --full exclude each other; pass one")
    if asked.json_file is None and sys.stdout.isatty():
        raise CommandError("--json FILE is missing; it says where the numbers go")
    try:
        with _display() as shown:
            data = bench(
                sizes[1] if asked.full else sizes[0],
                [name.strip() for name in asked.part.split(",") if name.strip()],
                json_path=asked.json_file,
                force=asked.force,
                command="statformer " + " ".join(sys.argv[1:]),
                callback=shown,
                **options,
            )
    except KeyboardInterrupt:
        sys.stderr.write("stopped; the same command goes on with the next cell\n")
        raise typer.Exit(130) from None
    except (ValueError, OSError) as error:
        raise CommandError(one_line(error)) from error
    if asked.plots is not None and draw is not None:
        for path in draw(data, asked.plots):
            sys.stderr.write(f"picture: {path}\n")
    if sys.stdout.isatty():
        _print_sheets(sheets(data))
        typer.echo(f"numbers: {asked.json_file}")
    else:
        sys.stdout.write(json.dumps(data) + "\n")


def _print_sheets(found: list[Sheet]) -> None:
    """Print `found` as tables; verdicts are coloured."""
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
