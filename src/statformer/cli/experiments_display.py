"""Experiments at a terminal: a bar while they run, verdicts in colour, tables."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from statformer.experiments.campaign import Progress

__all__ = ["print_experiment", "print_experiments", "print_results", "progress_display"]

COLOURS = {"holds": "green", "fails": "red", "undecided": "yellow"}


def verdict_line(result: Mapping[str, Any]) -> str:
    """'holds  NAME (quick): measured; threshold (whose), reason, flags', on one line."""
    verdict = result["verdict"]
    words = f"{verdict['status']}  {result['name']} ({result['size']}): {verdict['measured']}"
    words += f"; {verdict['threshold']} ({verdict['threshold_source']})"
    notes = [verdict["reason"], result["provisional"]]
    if result["not_the_authors"]:
        notes.append("not the authors' setting")
    return words + "".join(f"; {note}" for note in notes if note)


def progress_display(*, in_a_bar: bool) -> Lines:
    """A bar with verdicts above it, or a line on standard error for each verdict and failure."""
    return Bar() if in_a_bar else Lines()


class Lines:
    """A line for every verdict, and for every job that broke down."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        sys.stderr.flush()

    def job(self, progress: Progress) -> None:
        """A job has ended."""
        if progress.error:
            self.say(f"{progress.name}: {progress.error}", "red")

    def result(self, result: Mapping[str, Any]) -> None:
        """An experiment has its verdict."""
        self.say(verdict_line(result), COLOURS[result["verdict"]["status"]])

    def say(self, line: str, colour: str) -> None:
        """Write a line."""
        sys.stderr.write(line + "\n")
        sys.stderr.flush()


class Bar(Lines):
    """A bar over all jobs on standard error."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as RichProgress

        self.bar = RichProgress(
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.description}"),
            console=Console(stderr=True),
            transient=True,
        )
        self.row = self.bar.add_task("starting", total=None)

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.stop()

    def job(self, progress: Progress) -> None:
        """Move the bar."""
        super().job(progress)
        self.bar.update(
            self.row, completed=progress.done, total=progress.total, description=progress.name
        )

    def say(self, line: str, colour: str) -> None:
        """Write a line above the bar."""
        from rich.text import Text

        self.bar.console.print(Text(line, style=colour))


def print_results(results: Sequence[Mapping[str, Any]]) -> None:
    """A table of verdicts, and how many hold, fail and stay undecided."""
    rows = [
        (
            result["name"],
            result["paper"],
            result["kind"],
            result["verdict"]["status"],
            "*" if result["not_the_authors"] else "",
            f"{result['core_seconds']:.0f} s",
        )
        for result in results
    ]
    _print_table(("name", "paper", "kind", "verdict", "flag", "one core"), rows)
    statuses = [result["verdict"]["status"] for result in results]
    print_line(", ".join(f"{statuses.count(status)} {status}" for status in COLOURS))


def print_experiments(shown: Sequence[Mapping[str, Any]]) -> None:
    """A table of experiments; a star marks a setting that is not the authors'."""
    header = ("name", "paper", "kind", "flag", "cost")
    rows = [
        (one["name"], one["paper"], one["kind"], "*" if one["not_the_authors"] else "", one["cost"])
        for one in shown
    ]
    _print_table(header, rows)
    print_line("* not the authors' setting; the claim: statformer experiments show NAME")


def print_experiment(shown: Mapping[str, Any]) -> None:
    """All about an experiment, and the verdicts of its runs."""
    for field in ("name", "claim", "paper", "source", "kind", "cost", "not_the_authors"):
        if shown[field]:
            print_line(f"{field.replace('_', ' ')}: {shown[field]}")
    for size, axes in shown["grids"].items():
        cells = "; ".join(f"{axis} {', '.join(map(str, values))}" for axis, values in axes.items())
        print_line(f"{size}: {shown['jobs'][size]} jobs; {cells}")
    for name, says in shown["controls"].items():
        print_line(f"control {name}: {says}")
    if shown["positive"]:
        print_line(f"must hold: {shown['positive']}")
    print_line(f"\n{shown['about']}\n")
    for result in shown["results"]:
        print_line(verdict_line(result), COLOURS[result["verdict"]["status"]])
    if not shown["results"]:
        print_line(f"no results yet; statformer experiments run {shown['name']}")


def print_line(line: str, colour: str = "") -> None:
    """A line that the terminal folds; nothing in it is markup."""
    from rich.console import Console
    from rich.text import Text

    Console().print(Text(line, style=colour))


def _print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table()
    table.add_column(header[0], no_wrap=True)
    for name in header[1:]:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(Text(word, style=COLOURS.get(word, "")) for word in row))
    Console().print(table)
