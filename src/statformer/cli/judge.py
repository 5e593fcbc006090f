"""`statformer judge TABLE --labels COLUMN`: how good is a clustering that the table brings along?

Axes: rows are points n, columns are features d.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from statformer.cli.errors import CommandError, one_line, unknown_column
from statformer.cli.options import Decimal, Delimiter, Encoding, Json, names_in

if TYPE_CHECKING:
    import pandas as pd

    from statformer.cli.columns import Selection
    from statformer.cli.reading import Table


@dataclass
class JudgedLabels:
    """One column of labels: its clusters, the rows it calls noise, the ARI that is expected."""

    labels: str
    k: int
    n_noise: int
    expected_ari: float


@dataclass
class JudgeReport:
    """The answer of `statformer judge`; its fields are the keys of the JSON object."""

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
    judged: list[JudgedLabels]
    seconds: float

    def treatment(self) -> list[str]:
        """Columns set aside, text, missing cells."""
        from statformer.cli.records import column_remarks

        return column_remarks(self.dropped, self.encoded, self.missing, filled=self.filled)


def judge(
    table: Annotated[
        str, typer.Argument(metavar="TABLE", help="CSV, TSV, Parquet or .npy; - is standard input.")
    ],
    labels: Annotated[
        list[str],
        typer.Option(
            metavar="COLUMN",
            help="A column of labels to judge; may be given several times. Empty cells and -1 are "
            "noise.",
        ),
    ],
    columns: Annotated[
        str | None, typer.Option(metavar="A,B", help="Judge by these columns and no others.")
    ] = None,
    drop: Annotated[
        str | None, typer.Option(metavar="A,B", help="Leave these columns out.")
    ] = None,
    weights: Annotated[
        str, typer.Option(metavar="NAME|PATH", help="pretrained, or a weights file with a judge.")
    ] = "pretrained",
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the rows of a long table.")] = 0,
    delimiter: Delimiter = None,
    decimal: Decimal = None,
    encoding: Encoding = None,
    as_json: Json = None,
) -> None:
    """Judge clusterings of a table, made by any method, without the answer.

    Prints the adjusted Rand index that each is expected to reach against the true classes.
    """
    from statformer.cli.reading import read_table
    from statformer.cli.report import json_wanted, print_json, print_remarks

    if seed < 0:
        raise CommandError(f"--seed {seed} must be 0 or more")
    wanted = names_in(columns, "--columns") if columns is not None else None
    unwanted = names_in(drop, "--drop")
    source = read_table(table, delimiter=delimiter, decimal=decimal, encoding=encoding)
    report = _judged(source, list(dict.fromkeys(labels)), wanted, unwanted, weights, seed)
    print_remarks(report)
    if json_wanted(as_json):
        print_json(report)
    else:
        _print(report)


def _judged(
    source: Table,
    labels: Sequence[str],
    wanted: Sequence[str] | None,
    unwanted: Sequence[str],
    weights: str,
    seed: int,
) -> JudgeReport:
    from statformer.estimators import judge as judge_labels

    started = time.perf_counter()
    selection = _selected(source.frame, labels, wanted, unwanted)
    given = [source.frame[name].tolist() for name in labels]
    try:
        expected = judge_labels(selection.frame, given, weights=weights, random_state=seed)
    except (ValueError, TypeError, OSError) as error:
        what = " and ".join(repr(name) for name in labels)
        raise CommandError(f"{source.name}: {what} cannot be judged: {one_line(error)}") from None
    assert not isinstance(expected, float)
    return JudgeReport(
        table=source.name,
        n_rows=len(source.frame),
        n_columns=source.frame.shape[1],
        columns=[str(name) for name in selection.frame.columns],
        dropped=selection.dropped,
        encoded=selection.encoded,
        missing=selection.missing,
        filled=bool(selection.missing),  # the view that labels are judged on is complete
        notes=list(source.notes),
        warnings=selection.warnings,
        weights=weights,
        judged=[
            JudgedLabels(name, *_counts(source.frame[name]), float(ari))
            for name, ari in zip(labels, expected, strict=True)
        ],
        seconds=time.perf_counter() - started,
    )


def _selected(
    frame: pd.DataFrame,
    labels: Sequence[str],
    wanted: Sequence[str] | None,
    unwanted: Sequence[str],
) -> Selection:
    """The columns that the labels are judged by: none of the labels is among them."""
    from statformer.cli.columns import select_columns

    names = [str(name) for name in frame.columns]
    for name in labels:
        if name not in names:
            raise unknown_column(name, "--labels", names)
        if name in (wanted or ()):
            raise CommandError(f"--columns names {name!r}, which --labels asks to judge")
    rest = frame.drop(columns=list(labels[1:]))
    return select_columns(rest, columns=wanted, drop=unwanted, label_column=labels[0])


def _counts(labels: pd.Series) -> tuple[int, int]:
    """Clusters, and rows of noise: -1 or empty."""
    is_noise = labels.isna() | (labels == -1)
    return int(labels[~is_noise].nunique()), int(is_noise.sum())


def _print(report: JudgeReport) -> None:
    from rich.console import Console
    from rich.text import Text

    from statformer.cli.report import clusters, expectation

    console = Console(highlight=False, soft_wrap=True)
    used = f"by {len(report.columns)} of {report.n_columns} columns"
    console.print(Text.assemble((report.table, "bold"), f": {report.n_rows:,} rows, {used}"))
    for one in report.judged:
        noise = f", {one.n_noise:,} rows of noise" if one.n_noise else ""
        console.print()
        console.print(Text.assemble((one.labels, "bold"), f": {clusters(one.k)}{noise}"))
        console.print(Text(f"  {expectation(one.expected_ari)}"))
