"""What `statformer bayesnet` found, as a record, and in words on the terminal.

The fields of the record are the keys of the JSON object.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from statformer.cli.errors import listing
from statformer.cli.records import column_remarks
from statformer.cli.report import print_written

if TYPE_CHECKING:
    from statformer.estimators.bayes_net import AttentionBayesNet


@dataclass
class Variable:
    """A variable: its parents and states, and how many configurations of the parents were seen."""

    variable: str
    parents: list[str]
    states: list[str]
    n_configurations: int
    n_unseen: int


@dataclass
class Edge:
    """An edge that was found: how many nats it is worth, and its probability in a known order.

    is_directed  False where networks of the same independences turn it the other way; in a known
                 order always True
    """

    parent: str
    child: str
    nats: float
    probability: float | None
    is_directed: bool


@dataclass
class BayesNetReport:
    """The answer of `statformer bayesnet`; `log_likelihood` is the mean per row, in nats."""

    table: str
    structure: str | None  # a file; None where it was found
    order: list[str] | None
    weights: str
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
    edges: list[Edge]  # of a structure that was found, the strongest first
    seconds: float
    filled: dict[str, int] = field(default_factory=dict)
    written: dict[str, str] = field(default_factory=dict)

    def treatment(self) -> list[str]:
        """Columns set aside, missing cells."""
        return column_remarks(self.dropped, {}, self.missing, filled=bool(self.filled))


def edges_of(model: AttentionBayesNet) -> list[Edge]:
    """The edges of a structure that was read from rows, the strongest first."""
    free = {frozenset(pair) for pair in model.equivalence_class_.undirected}
    known = hasattr(model, "edge_probabilities_")
    probabilities = model.edge_probabilities_.to_dict() if known else {}
    strengths = model.edge_strengths_.to_dict()
    found = []
    for child, parents in model.structure_.items():
        for parent in parents:
            nats = float(strengths[parent, child])
            p = float(probabilities[child][parent]) if known else None
            is_directed = known or frozenset((parent, child)) not in free
            found.append(Edge(str(parent), str(child), nats, p, is_directed))
    return sorted(found, key=lambda edge: -edge.nats)


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
    if report.structure is None:
        _print_edges(console, report)
    console.print(f"mean log-likelihood of a row: {report.log_likelihood:.3f} nats", soft_wrap=True)
    if report.n_iter:
        cells = sum(report.missing.values())
        console.print(f"{cells:,} missing cells, {report.n_iter} steps of EM", soft_wrap=True)
    print_written(console, report.written)


def _print_edges(console: Console, report: BayesNetReport) -> None:
    """The edges that were found, with what they are worth."""
    grid = Grid(box=None, pad_edge=False, header_style="dim")
    grid.add_column("edge", overflow="fold")
    grid.add_column("nats", justify="right")
    if report.order is not None:
        grid.add_column("probability", justify="right")
    for edge in report.edges:
        arrow = "->" if edge.is_directed else "-"
        p = [] if edge.probability is None else [f"{edge.probability:.3f}"]
        grid.add_row(Text(f"{edge.parent} {arrow} {edge.child}"), f"{edge.nats:,.1f}", *p)
    console.print(grid)
    if any(not edge.is_directed for edge in report.edges):
        console.print("a - b: networks that fit as well turn it either way", style="dim")
    console.print()
