"""What a benchmark shows while it runs and at its end: a bar or lines, then tables."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from statformer.benchmarks.settings import Progress
    from statformer.benchmarks.sheet import Sheet

__all__ = ["display", "print_sheets"]

VERDICTS = {"reached": "green", "short": "red", "invalid": "yellow", "not measured": "yellow"}


def print_sheets(found: list[Sheet]) -> None:
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


def display() -> Any:
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
