"""What `statformer pca` found, as a record, and in words on the terminal.

The fields of the record are the keys of the JSON object. Axes: rows are points n, columns are
features d, components k.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from statformer.cli.records import column_remarks
from statformer.cli.report import amount, bar, print_written

BAR_WIDTH = 16
MOST_LED = 4  # columns that are named beside a component
LEADS = 0.3  # loadings that are named
SMALLEST_SHARE = 0.005


@dataclass
class Component:
    """One component: its variance, shares, and its loadings by column."""

    component: int
    variance: float
    share: float
    cumulative: float
    loadings: dict[str, float]


@dataclass
class LightRow:
    """A row that counts little (1 is the first), and its columns that stand out, in their units."""

    row: int
    weight: float
    stands_out: dict[str, float]


@dataclass
class LightCell:
    """A cell that counts little, and what the others of its row say of it, in the table's units."""

    row: int
    column: str
    value: float
    expected: float
    weight: float


@dataclass
class PcaReport:
    """The answer of `statformer pca`; its fields are the keys of the JSON object."""

    table: str
    n_rows: int
    n_columns: int
    columns: list[str]
    dropped: dict[str, str]
    missing: dict[str, int]
    notes: list[str]
    warnings: list[str]
    weights: str
    robust: str
    centre: dict[str, float]
    scale: dict[str, float] | None
    components: list[Component]
    n_light_rows: int
    light_rows: list[LightRow]
    n_light_cells: int | None
    light_cells: list[LightCell] | None
    seconds: float
    written: dict[str, str] = field(default_factory=dict)

    def treatment(self) -> list[str]:
        """Columns set aside, missing cells."""
        return column_remarks(self.dropped, {}, self.missing, filled=False)


def print_components(report: PcaReport) -> None:
    """Print the components, then the rows and cells that count little."""
    console = Console(highlight=False)
    used = f"{len(report.columns)} of {report.n_columns} columns"
    console.print(
        Text.assemble(
            (report.table, "bold"), f": {report.n_rows:,} rows, {used}, {report.seconds:.1f} s"
        ),
        soft_wrap=True,
    )
    if report.scale is None:
        how = "columns as they are: those of large variance lead"
    else:
        how = "each column divided by a robust standard deviation; --no-scale leaves them as are"
    console.print(Text(how, style="dim"), soft_wrap=True)
    console.print()
    console.print(_component_grid(report.components))
    _print_light_rows(console, report)
    _print_light_cells(console, report)
    print_written(console, report.written)


def _component_grid(components: Sequence[Component]) -> Grid:
    grid = Grid(box=None, pad_edge=False, header_style="dim")
    grid.add_column("component", justify="right")
    grid.add_column("share of variance")
    grid.add_column("together", justify="right")
    grid.add_column("led by", overflow="fold")
    largest = max([one.share for one in components] + [SMALLEST_SHARE])
    for one in components:
        share = Text.assemble(f"{one.share:4.0%} ", (bar(one.share / largest, BAR_WIDTH), "cyan"))
        grid.add_row(str(one.component), share, f"{one.cumulative:.0%}", Text(led_by(one.loadings)))
    return grid


def led_by(loadings: dict[str, float]) -> str:
    """'+0.71 length, −0.55 width': the columns with the largest loadings, at least one."""
    ordered = sorted(loadings.items(), key=lambda item: -abs(item[1]))
    named = [item for item in ordered[:MOST_LED] if abs(item[1]) >= LEADS] or ordered[:1]
    return ", ".join(f"{_signed(value)} {name}" for name, value in named)


def _signed(value: float) -> str:
    return f"{'−' if value < 0 else '+'}{abs(value):.2f}"


def _print_light_rows(console: Console, report: PcaReport) -> None:
    if not report.n_light_rows:
        return
    console.print()
    rows = "1 row counts" if report.n_light_rows == 1 else f"{report.n_light_rows:,} rows count"
    lightest = "" if report.n_light_rows <= len(report.light_rows) else "; the lightest"
    console.print(f"{rows} less than half{lightest}:", soft_wrap=True)
    grid = Grid(box=None, pad_edge=False, header_style="dim")
    grid.add_column("row", justify="right")
    grid.add_column("weight", justify="right")
    grid.add_column("stands out by", overflow="fold")
    for one in report.light_rows:
        what = ", ".join(f"{name} {amount(value)}" for name, value in one.stands_out.items())
        row = f"{one.row:,}"
        grid.add_row(row, f"{one.weight:.2f}", Text(what or "how its columns go together"))
    console.print(grid)


def _print_light_cells(console: Console, report: PcaReport) -> None:
    if not report.n_light_cells or not report.light_cells:
        return
    console.print()
    cells = (
        "1 cell counts" if report.n_light_cells == 1 else f"{report.n_light_cells:,} cells count"
    )
    lightest = "" if report.n_light_cells <= len(report.light_cells) else "; the lightest"
    console.print(f"{cells} less than half{lightest}:", soft_wrap=True)
    grid = Grid(box=None, pad_edge=False, header_style="dim")
    for heading in ("row", "weight", "column", "is", "expected"):
        grid.add_column(heading, justify="left" if heading == "column" else "right")
    for one in report.light_cells:
        grid.add_row(
            f"{one.row:,}",
            f"{one.weight:.2f}",
            Text(one.column),
            amount(one.value),
            amount(one.expected),
        )
    console.print(grid)
