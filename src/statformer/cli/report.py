"""What a command has to say, once as a record, once for the terminal and once as JSON.

Axes: rows are points n, columns are features d, clusters c. The report goes to standard output;
notes and warnings go to standard error, one line each.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from statformer.cli.errors import listing
from statformer.cli.profiles import Difference

BAR_WIDTH = 24
EIGHTHS = " ▏▎▍▌▋▊▉█"
# P(K) below this is not drawn, but for the K between two that are.
SMALLEST_BAR = 0.005


@dataclass
class Cluster:
    """One cluster: its number of rows, their share, and what sets it apart."""

    cluster: int
    size: int
    share: float
    set_apart_by: list[Difference]


@dataclass
class Score:
    """One method beside the label column, or beside our clusters where there is none."""

    method: str
    k: int
    ari: float | None
    ami: float | None
    seconds: float | None
    failure: str | None = None


@dataclass
class ClusterReport:
    """The answer of `statformer cluster`; its fields are the keys of the JSON object."""

    table: str
    n_rows: int
    n_columns: int
    columns: list[str]
    dropped: dict[str, str]
    encoded: dict[str, int]
    filled: dict[str, int]
    notes: list[str]
    warnings: list[str]
    weights: str
    k: int
    k_asked: int | None
    k_probability: list[float]
    clear_clusters: bool
    clusters: list[Cluster]
    seconds: float
    compared_with: str | None = None
    n_compared: int | None = None
    scores: list[Score] = field(default_factory=list)
    written: dict[str, str] = field(default_factory=dict)


@dataclass
class PredictReport:
    """The answer of `statformer predict`; its fields are the keys of the JSON object."""

    table: str
    model: str
    n_rows: int
    k: int
    filled: dict[str, int]
    ignored: list[str]
    notes: list[str]
    warnings: list[str]
    clusters: list[Cluster]
    seconds: float
    written: dict[str, str] = field(default_factory=dict)


def print_json(report: ClusterReport | PredictReport) -> None:
    """Print the report as one JSON object."""
    json.dump(asdict(report), sys.stdout, indent=2, ensure_ascii=False, allow_nan=False)
    sys.stdout.write("\n")


def print_remarks(report: ClusterReport | PredictReport) -> None:
    """Print what was dropped, encoded, filled and doubted to standard error."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    for kind, style, lines in (
        ("note", "dim", [*_treatment(report), *report.notes]),
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
    if report.scores:
        console.print()
        _print_scores(console, report)
    print_written(console, report.written)


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


def _treatment(report: ClusterReport | PredictReport) -> list[str]:
    lines = []
    if isinstance(report, ClusterReport):
        lines += [
            f"dropped {name!r}: {reason}"
            for name, reason in report.dropped.items()
            if reason != "--drop"
        ]
        if report.encoded:
            encoded = [f"{name} ({count} values)" for name, count in report.encoded.items()]
            lines.append(
                f"encoded as categories, which may part the rows by themselves: {listing(encoded)}"
            )
    elif report.ignored:
        lines.append(f"ignored columns that the model does not know: {listing(report.ignored)}")
    if report.filled:
        filled = [f"{name} ({count})" for name, count in report.filled.items()]
        total = sum(report.filled.values())
        lines.append(f"filled {total} missing cells: {listing(filled)}")
    return lines


def _print_count(console: Console, report: ClusterReport) -> None:
    if report.k_asked is not None:
        console.print(_clusters(report.k) + as_asked(report), style="bold")
        console.print()
        return
    shown = [k for k, p in enumerate(report.k_probability, start=1) if p >= SMALLEST_BAR]
    if report.clear_clusters:
        console.print(_clusters(report.k), style="bold")
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


def _clusters(k: int) -> str:
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
