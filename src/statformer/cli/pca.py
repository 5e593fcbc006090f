"""`statformer pca TABLE`: principal components of the columns of numbers, outlying rows told apart.

Axes: rows are points n, columns are features d, components k.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from statformer.cli.errors import CommandError, listing
from statformer.cli.options import Decimal, Delimiter, Encoding, Force, Json, names_in

if TYPE_CHECKING:
    import pandas as pd

    from statformer.cli.columns import Selection
    from statformer.cli.outputs import Outputs
    from statformer.cli.pca_answer import PcaAnswer
    from statformer.cli.reading import Table

PICTURE_ENDINGS = (".png", ".svg", ".pdf")
SCORE_DIGITS = 6
WEIGHT = "row_weight"


def pca(
    table: Annotated[
        str, typer.Argument(metavar="TABLE", help="CSV, TSV, Parquet or .npy; - is standard input.")
    ],
    components: Annotated[
        str | None,
        typer.Option(
            metavar="K|SHARE",
            help="How many components, or the share of the variance to explain, such as 0.8. "
            "Where not given, as many as explain 90%, and two at least.",
        ),
    ] = None,
    columns: Annotated[
        str | None, typer.Option(metavar="A,B", help="Read these columns and no others.")
    ] = None,
    drop: Annotated[
        str | None, typer.Option(metavar="A,B", help="Leave these columns out.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the rows with their scores and their weight: csv, tsv, parquet.",
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE.png", help="Draw rows, shares of variance and loadings."),
    ] = None,
    robust: Annotated[
        str,
        typer.Option(
            metavar="cells|rows", help="What may be wrong: single cells too, or rows as a whole."
        ),
    ] = "cells",
    scale: Annotated[
        bool,
        typer.Option(
            "--scale/--no-scale",
            help="Divide each column by a robust standard deviation first, so that units do not "
            "matter.",
        ),
    ] = True,
    weights: Annotated[
        str,
        typer.Option(
            metavar="NAME|PATH",
            help="pretrained, constructed (every row counts alike), or a weights file.",
        ),
    ] = "pretrained",
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the rows of a long table.")] = 0,
    delimiter: Delimiter = None,
    decimal: Decimal = None,
    encoding: Encoding = None,
    force: Force = False,
    as_json: Json = None,
) -> None:
    """Find the principal components of a table.

    Prints the variance that each explains and the columns that lead it.

    Says which rows are unlike the others and count little, and what is strange about them.
    """
    from statformer.cli.outputs import TABLE_ENDINGS, Outputs
    from statformer.cli.pca_answer import analysed
    from statformer.cli.reading import read_table
    from statformer.cli.report import json_wanted, print_json, print_remarks

    if seed < 0:
        raise CommandError(f"--seed {seed} must be 0 or more")
    asked = _asked(components)
    wanted = names_in(columns, "--columns") if columns is not None else None
    unwanted = names_in(drop, "--drop")
    with Outputs(force=force) as outputs:
        if out is not None:
            outputs.check("--out", out, TABLE_ENDINGS)
        if plot is not None:
            outputs.check("--plot", plot, PICTURE_ENDINGS)
        source = read_table(table, delimiter=delimiter, decimal=decimal, encoding=encoding)
        if out is not None:
            _refuse_taken_names(source)
        selection = _numbers(source.frame, wanted, unwanted)
        model = {"weights": weights, "robust": robust, "random_state": seed}
        answer = analysed(source, selection, asked, scale, model)
        _write(answer, outputs, out=out, plot=plot)
    print_remarks(answer.report)
    if json_wanted(as_json):
        print_json(answer.report)
    else:
        from statformer.cli.pca_report import print_components

        print_components(answer.report)


def _asked(text: str | None) -> int | float | None:
    """--components as a whole number from 1, a share between 0 and 1, or None."""
    if text is None:
        return None
    try:
        value = float(text.replace("%", "e-2"))
    except ValueError:
        value = 0.0
    if 0.0 < value < 1.0:
        return value
    if value >= 1.0 and value == int(value):
        return int(value)
    raise CommandError(
        f"--components {text!r} must be a whole number from 1, or a share of the variance "
        "between 0 and 1"
    )


def _numbers(frame: pd.DataFrame, wanted: list[str] | None, unwanted: list[str]) -> Selection:
    """The columns of numbers; text, identifiers, dates and constants are set aside."""
    import pandas as pd

    from statformer.cli.columns import select_columns

    own = [] if wanted is not None else _own_columns([str(name) for name in frame.columns])
    selection = select_columns(frame.drop(columns=own), columns=wanted, drop=unwanted)
    selection.dropped |= dict.fromkeys(own, "written by an earlier run")
    text = [name for name in selection.encoded if name in selection.frame]
    if wanted is not None and text:
        raise CommandError(
            f"--columns names {text[0]!r}, which holds text; components are of columns of numbers"
        )
    kept = selection.frame.drop(columns=text)
    if kept.shape[1] == 0:
        raise CommandError(f"no column of numbers is left; text: {listing(text)}")
    selection.dropped |= dict.fromkeys(text, "text")
    selection.frame, selection.encoded = kept.astype("float64"), {}
    selection.missing = {n: c for n, c in selection.missing.items() if n not in text}
    answers = [w for w in selection.warnings if "looks like the answer" in w]
    selection.warnings = [w for w in selection.warnings if w not in answers]
    for name in kept.columns:
        if any(f"column {name!r}" in one for one in answers):
            selection.warnings.append(
                f"column {name!r} looks like an answer and is read with the rest; "
                f"--drop {name} leaves it out"
            )
    assert isinstance(selection.frame, pd.DataFrame)
    return selection


def _own_columns(names: list[str]) -> list[str]:
    """Columns that --out of an earlier run added: scores from pc1 on, and the weight."""
    scores = [name for name in names if re.fullmatch(r"pc\d+", name)]
    return [*scores, WEIGHT] if "pc1" in scores and WEIGHT in names else []


def _refuse_taken_names(table: Table) -> None:
    names = [str(name) for name in table.frame.columns]
    taken = [name for name in names if re.fullmatch(rf"pc\d+|{WEIGHT}", name)]
    if taken and not _own_columns(names):
        raise CommandError(
            f"--out adds a column {taken[0]!r}, which the table has; rename it in the table"
        )


def _write(answer: PcaAnswer, outputs: Outputs, *, out: Path | None, plot: Path | None) -> None:
    report = answer.report
    if plot is not None:
        _draw(answer, outputs.stage(plot))
    if out is not None:
        _write_scores(answer, outputs.stage(out))
    outputs.commit()
    for what, path in (("picture", plot), ("table with scores", out)):
        if path is not None:
            report.written[what] = str(path)


def _write_scores(answer: PcaAnswer, path: Path) -> None:
    """The rows of the table with `pc1`, `pc2`, ... and `row_weight`."""
    import numpy as np
    import pandas as pd

    from statformer.cli.outputs import write_rows

    table = answer.table
    rows = table.frame.copy() if path.suffix.lower() == ".parquet" else table.original()
    rows = rows.drop(columns=_own_columns([str(name) for name in rows.columns]))
    names = [f"pc{j + 1}" for j in range(answer.scores.shape[1])]
    values = np.column_stack([answer.scores, answer.weight])
    added = pd.DataFrame(
        np.round(values, SCORE_DIGITS), columns=pd.Index([*names, WEIGHT]), index=rows.index
    )
    write_rows(table, pd.concat([rows, added], axis=1), path)


def _draw(answer: PcaAnswer, path: Path) -> None:
    import numpy as np

    from statformer.plotting.pca import ComponentView, plot_components

    report, model, k = answer.report, answer.model, answer.scores.shape[1]
    there = ~np.isnan(answer.weight)
    weight, name = answer.weight[there], "weight of the row"
    if report.robust == "cells":
        cells = model.cell_weights_[there]
        weight = weight * (cells.sum(axis=1) / (cells > 0).sum(axis=1))
        name = "weight of the row and its cells"
    view = ComponentView(
        scores=answer.scores[there],
        row_weights=weight,
        shares=model.explained_variance_ratio_[:k],
        loadings=model.components_[:k],
        feature_names=report.columns,
        n_rest=min(int(there.sum()), len(report.columns)) - k,
        weight_name=name,
    )
    table = report.table if report.table == "standard input" else Path(report.table).name
    figure: Any = plot_components(view, title=f"{table}: principal components")
    figure.savefig(path)
