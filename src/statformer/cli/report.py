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
from typing import Any, Protocol

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from statformer.cli.errors import listing
from statformer.cli.profiles import Difference

BAR_WIDTH = 24
EIGHTHS = " ▏▎▍▌▋▊▉█"
# Columns that nobody needs to be told of: they were left out by request.
UNREMARKED = {"--drop", "--like was fitted without it"}
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
class Likeness:
    """What became of the clusters of an earlier model: its file, and the names of the clusters.

    `overlap` is that of each cluster in `kept`, 1 for the same cluster.
    """

    model: str
    kept: list[int]
    overlap: list[float]
    new: list[int]
    gone: list[int]


@dataclass
class ClusterReport:
    """The answer of `statformer cluster`; its fields are the keys of the JSON object."""

    table: str
    n_rows: int
    n_columns: int
    columns: list[str]
    dropped: dict[str, str]
    encoded: dict[str, int]
    missing: dict[str, int]
    filled: bool
    notes: list[str]
    warnings: list[str]
    weights: str
    effort: str
    k: int
    k_asked: int | None
    k_probability: list[float]
    clear_clusters: bool
    expected_ari: float | None
    out_of_depth: float | None
    fell_back: bool
    clusters: list[Cluster]
    seconds: float
    like: Likeness | None = None
    compared_with: str | None = None
    n_compared: int | None = None
    scores: list[Score] = field(default_factory=list)
    written: dict[str, str] = field(default_factory=dict)

    def treatment(self) -> list[str]:
        """Columns set aside, text, missing cells; a fallback; how clusters were numbered."""
        lines = column_remarks(self.dropped, self.encoded, self.missing, filled=self.filled)
        return lines + _remarks_of_fit(self)


@dataclass
class PredictReport:
    """The answer of `statformer predict`; its fields are the keys of the JSON object."""

    table: str
    model: str
    n_rows: int
    k: int
    missing: dict[str, int]
    filled: bool
    ignored: list[str]
    notes: list[str]
    warnings: list[str]
    clusters: list[Cluster]
    seconds: float
    written: dict[str, str] = field(default_factory=dict)

    def treatment(self) -> list[str]:
        """Columns that the model does not know, and missing cells."""
        unknown = "ignored columns that the model does not know"
        lines = [f"{unknown}: {listing(self.ignored)}"] if self.ignored else []
        return lines + missing_cells(self.missing, filled=self.filled)


class Report(Protocol):
    """A record of an answer, for `print_remarks`."""

    notes: list[str]
    warnings: list[str]

    def treatment(self) -> list[str]:
        """What was done with the columns and cells of the table, a line each."""


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


def column_remarks(
    dropped: dict[str, str], encoded: dict[str, int], missing: dict[str, int], *, filled: bool
) -> list[str]:
    """One line for each column set aside, one for text columns, one for missing cells."""
    lines = [f"dropped {name!r}: {why}" for name, why in dropped.items() if why not in UNREMARKED]
    if encoded:
        columns = listing([f"{name} ({count} values)" for name, count in encoded.items()])
        lines.append(f"read as categories, which may part the rows by themselves: {columns}")
    return lines + missing_cells(missing, filled=filled)


def missing_cells(missing: dict[str, int], *, filled: bool) -> list[str]:
    """How many cells of which columns are missing, and how they were read."""
    if not missing:
        return []
    columns = listing([f"{name} ({count})" for name, count in missing.items()])
    total = sum(missing.values())
    cells = "1 missing cell" if total == 1 else f"{total} missing cells"
    if filled:
        return [f"filled {cells}: {columns}"]
    return [f"{cells}, read as missing, not filled: {columns}"]


def _remarks_of_fit(report: ClusterReport) -> list[str]:
    lines = []
    if report.fell_back:
        lines.append(
            "the table is unlike all that the pretrained weights were trained on; constructed "
            "weights answered in their place, as --fallback constructed asks"
        )
    if report.like is not None:
        parts = [f"clusters {_names(report.like.kept)} go on"] if report.like.kept else []
        parts += [f"new: {_names(report.like.new)}"] if report.like.new else []
        parts += [f"gone: {_names(report.like.gone)}"] if report.like.gone else []
        lines.append(f"numbered like {report.like.model}; {'; '.join(parts)}")
    return lines


def _names(clusters: Sequence[int]) -> str:
    return listing([str(cluster) for cluster in clusters])


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
