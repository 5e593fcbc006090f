"""What `statformer bayesnet` found, as a record, and in words on the terminal.

The fields of the record are the keys of the JSON object.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from statformer.cli.errors import listing
from statformer.cli.records import column_remarks
from statformer.cli.report import print_written


@dataclass
class Variable:
    """A variable: its parents and states, and how many configurations of the parents were seen."""

    variable: str
    parents: list[str]
    states: list[str]
    n_configurations: int
    n_unseen: int


@dataclass
class BayesNetReport:
    """The answer of `statformer bayesnet`; `log_likelihood` is the mean per row, in nats."""

    table: str
    structure: str
    n_rows: int
    n_columns: int
    dropped: dict[str, str]
    missing: dict[str, int]
    notes: list[str]
    warnings: list[str]
    smoothing: float
    n_edges: int
    log_likelihood: float
    n_iter: int
    variables: list[Variable]
    seconds: float
    filled: dict[str, int] = field(default_factory=dict)
    written: dict[str, str] = field(default_factory=dict)

    def treatment(self) -> list[str]:
        """Columns set aside, missing cells."""
        return column_remarks(self.dropped, {}, self.missing, filled=bool(self.filled))


def print_network(report: BayesNetReport) -> None:
    """Print the variables with their parents, and how well the tables are covered by the rows."""
    console = Console(highlight=False)
    size = f"{len(report.variables)} variables, {report.n_edges} edges"
    console.print(
        Text.assemble(
            (report.table, "bold"), f": {report.n_rows:,} rows, {size}, {report.seconds:.1f} s"
        ),
        soft_wrap=True,
    )
    console.print()
    grid = Grid(box=None, pad_edge=False, header_style="dim")
    grid.add_column("variable", overflow="fold")
    grid.add_column("parents", overflow="fold")
    grid.add_column("states", overflow="fold")
    grid.add_column("configurations", justify="right")
    grid.add_column("never seen", justify="right")
    for one in report.variables:
        grid.add_row(
            Text(one.variable),
            Text(", ".join(one.parents)),
            Text(listing(one.states)),
            f"{one.n_configurations:,}",
            f"{one.n_unseen:,}" if one.n_unseen else "",
        )
    console.print(grid)
    console.print()
    console.print(f"mean log-likelihood of a row: {report.log_likelihood:.3f} nats", soft_wrap=True)
    if report.n_iter:
        cells = sum(report.missing.values())
        console.print(f"{cells:,} missing cells, {report.n_iter} steps of EM", soft_wrap=True)
    print_written(console, report.written)
