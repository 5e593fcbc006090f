"""What a command has to say, for the terminal and as JSON.

Axes: rows are points n, columns are features d, clusters c. The report goes to standard output;
notes and warnings go to standard error, one line each.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from statformer.cli.profiles import Difference
from statformer.cli.records import Cluster, ClusterReport, PredictReport, Report

BAR_WIDTH = 24
EIGHTHS = " ▏▎▍▌▋▊▉█"
# From which expected ARI on what may be said; 1 is the true partition, 0 is what chance gives.
EXPECTATIONS = (
    (0.9, "nearly all of the structure"),
    (0.7, "most of the structure"),
    (0.4, "a good part of the structure"),
    (0.2, "some structure, loosely"),
    (-1.0, "little more than chance"),
)
# P(K) below this is not drawn, but for the K between two that are.
SMALLEST_BAR = 0.005


def print_json(report: Any) -> None:
    """Print the report, a dataclass, as one JSON object."""
    json.dump(asdict(report), sys.stdout, indent=2, ensure_ascii=False, allow_nan=False)
    sys.stdout.write("\n")


def print_remarks(report: Report) -> None:
    """Print what was dropped, encoded, filled and doubted to standard error."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    for kind, style, lines in (
        ("note", "dim", [*report.treatment(), *report.notes]),
        ("warning", "yellow", report.warnings),
    ):
        for line in lines:
            console.print(Text(" ".join(f"{kind}: {line}".split()), style=style))


def print_clusters(report: ClusterReport) -> None:
    """Print K and its probability, the clusters, and the scores for a reader at a terminal."""
    console = Console(highlight=False)
    used = f"{len(report.columns)} of {report.n_columns} columns"
    console.print(
        Text.assemble(
            (report.table, "bold"), f": {report.n_rows:,} rows, {used}, {report.seconds:.1f} s"
        ),
        soft_wrap=True,
    )
    console.print()
    _print_count(console, report)
    if report.k > 1 or report.k_asked is not None:
        console.print(_cluster_grid(report.clusters))
    if report.expected_ari is not None:
        console.print()
        console.print(expectation(report.expected_ari), soft_wrap=True)
    if report.scores:
        console.print()
        _print_scores(console, report)
    print_written(console, report.written)


def expectation(ari: float) -> str:
    """The expected adjusted Rand index in plain words; the bounds between the words are ours."""
    words = next(words for least, words in EXPECTATIONS if ari >= least)
    return f"expected agreement with the true classes (ARI): {ari:.2f}, {words}"


def print_prediction(report: PredictReport) -> None:
    """Print how the rows fell to the clusters of the model."""
    console = Console(highlight=False)
    console.print(
        Text.assemble(
            (report.table, "bold"),
            f": {report.n_rows:,} rows, {report.k} clusters of {report.model}",
        ),
        soft_wrap=True,
    )
    console.print()
    console.print(_cluster_grid(report.clusters))
    print_written(console, report.written)


def print_written(console: Console, written: dict[str, str]) -> None:
    """Print where each output lies."""
    if written:
        console.print()
    for what, path in written.items():
        console.print(Text(f"{what}: {path}"), soft_wrap=True)


def bar(share: float, width: int = BAR_WIDTH) -> str:
    """A bar of block characters, in steps of an eighth of a character."""
    eighths = round(share * width * 8)
    full, rest = divmod(eighths, 8)
    return EIGHTHS[8] * full + (EIGHTHS[rest] if rest else "")


def amount(value: float) -> str:
    """A number in the caller's units with about three digits: 4,207, 38.8, 0.0213."""
    if value == 0 or not 1e-3 <= abs(value) < 1e6:
        return f"{value:.3g}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    text = f"{value:.3g}"
    return f"{value:.1f}" if abs(value) >= 100 and value != round(value) else text


def describe(difference: Difference) -> str:
    """'flipper_length_mm 217 (others 192)' or 'island Biscoe 98 % (others 31 %)'."""
    if difference.value is None:
        here, elsewhere = amount(difference.here), amount(difference.elsewhere)
        return f"{difference.column} {here} (others {elsewhere})"
    shares = f"{difference.here:.0%} (others {difference.elsewhere:.0%})"
    return f"{difference.column} {difference.value} {shares}"


def _print_count(console: Console, report: ClusterReport) -> None:
    if report.k_asked is not None:
        console.print(clusters(report.k) + as_asked(report), style="bold")
        console.print()
        return
    shown = [k for k, p in enumerate(report.k_probability, start=1) if p >= SMALLEST_BAR]
    if report.clear_clusters:
        console.print(clusters(report.k), style="bold")
    else:
        console.print("no clear clusters", style="bold")
    for k in range(min(shown), max(shown) + 1):
        p = report.k_probability[k - 1]
        style = "bold cyan" if k == report.k else "dim"
        console.print(
            Text.assemble(f"  P(K = {k}) ".rjust(13), f"{p:.2f} ", (bar(p), style)), soft_wrap=True
        )
    if not report.clear_clusters:
        console.print("one cluster is more probable than any other number; --k 2 asks for two")
    console.print()


def as_asked(report: ClusterReport) -> str:
    """What became of the number that was asked for; clusters without rows are not kept."""
    if report.k == report.k_asked:
        return ", as asked"
    return f" of {report.k_asked} asked for; the others stayed empty"


def weights_name(report: ClusterReport) -> str:
    """'pretrained weights', or the name of the file they came from."""
    return f"{Path(report.weights).stem} weights"


def clusters(k: int) -> str:
    """'1 cluster' or '3 clusters'."""
    return "1 cluster" if k == 1 else f"{k} clusters"


def _cluster_grid(clusters: Sequence[Cluster]) -> Grid:
    grid = Grid(box=None, pad_edge=False, header_style="dim")
    grid.add_column("cluster", justify="right")
    grid.add_column("rows", justify="right")
    grid.add_column("share", justify="right")
    telling = any(cluster.set_apart_by for cluster in clusters)
    if telling:
        grid.add_column("set apart by", overflow="fold")
    for cluster in clusters:
        cells = [str(cluster.cluster), f"{cluster.size:,}", f"{cluster.share:.0%}"]
        if telling:
            lines = [describe(one) for one in cluster.set_apart_by]
            cells.append("\n".join(lines) or "nothing in particular")
        grid.add_row(*(Text(cell) for cell in cells))
    return grid


def _print_scores(console: Console, report: ClusterReport) -> None:
    rows = f"{report.n_compared:,} rows"
    grid = Grid(box=None, pad_edge=False, header_style="dim")
    grid.add_column(f"beside {report.compared_with} ({rows})", overflow="fold")
    for heading in ("K", "ARI", "AMI", "seconds"):
        grid.add_column(heading, justify="right")
    for score in report.scores:
        if score.failure is not None:
            grid.add_row(Text(f"{score.method}: {score.failure}"))
            continue
        grid.add_row(
            Text(score.method),
            str(score.k),
            _decimals(score.ari),
            _decimals(score.ami),
            _decimals(score.seconds),
        )
    console.print(grid)


def _decimals(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def json_wanted(asked: bool | None) -> bool:
    """JSON where it was asked for, and where standard output is no terminal."""
    return asked if asked is not None else not sys.stdout.isatty()
