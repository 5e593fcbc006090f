"""`statformer predict MODEL TABLE --out FILE`: label new rows with a model kept by cluster --save.

Axes: rows are points n, columns are features d, clusters c.
"""

from __future__ import annotations

import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from statformer.cli.errors import CommandError, listing, nearest_name, one_line
from statformer.cli.options import Decimal, Delimiter, Encoding, Force, Json

if TYPE_CHECKING:
    import pandas as pd

    from statformer.estimators import AttentionMixture


def predict(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A model kept by cluster --save.")],
    table: Annotated[
        str, typer.Argument(metavar="TABLE", help="CSV, TSV, Parquet or .npy; - is standard input.")
    ],
    out: Annotated[
        Path,
        typer.Option(metavar="FILE", help="Write the rows with their cluster: csv, tsv, parquet."),
    ],
    delimiter: Delimiter = None,
    decimal: Decimal = None,
    encoding: Encoding = None,
    force: Force = False,
    as_json: Json = None,
) -> None:
    """Label the rows of a table with a saved model, each row by itself."""
    import numpy as np

    from statformer.cli.outputs import TABLE_ENDINGS, Outputs, refuse_taken_names, write_table
    from statformer.cli.reading import read_table
    from statformer.cli.report import (
        Cluster,
        PredictReport,
        json_wanted,
        print_json,
        print_prediction,
        print_remarks,
    )

    with Outputs(force=force) as outputs:
        outputs.check("--out", out, TABLE_ENDINGS)
        fitted = _load(model)
        source = read_table(table, delimiter=delimiter, decimal=decimal, encoding=encoding)
        refuse_taken_names(source)
        started = time.perf_counter()
        frame, doubts = matched_columns(source.frame, fitted, source.name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # missing cells: counted below
            try:
                proba = np.asarray(fitted.predict_proba(frame))
                labels = np.asarray(fitted.predict(frame))
            except ValueError as error:
                raise CommandError(f"{source.name} cannot be labelled: {one_line(error)}") from None
        write_table(source, labels, proba, outputs.stage(out))
        outputs.commit()
    sizes = np.bincount(labels, minlength=proba.shape[1])
    missing = frame.isna().sum()
    report = PredictReport(
        table=source.name,
        model=str(model),
        n_rows=len(frame),
        k=proba.shape[1],
        filled={str(name): int(count) for name, count in missing.items() if count},
        ignored=[str(name) for name in source.frame.columns if name not in frame.columns],
        notes=list(source.notes),
        warnings=doubts,
        clusters=[
            Cluster(c, int(size), float(size / len(frame)), []) for c, size in enumerate(sizes)
        ],
        seconds=time.perf_counter() - started,
        written={"labelled table": str(out)},
    )
    print_remarks(report)
    if json_wanted(as_json):
        print_json(report)
    else:
        print_prediction(report)


def _load(path: Path) -> AttentionMixture:
    from statformer.estimators import AttentionMixture

    if not path.exists():
        raise CommandError(f"there is no model {str(path)!r}; statformer cluster --save makes one")
    try:
        model = AttentionMixture.load(path)
    except (ValueError, OSError, KeyError) as error:
        raise CommandError(f"{str(path)!r} is not a model: {one_line(error)}") from None
    if not hasattr(model, "feature_names_in_"):
        raise CommandError(
            f"{str(path)!r} was fitted without column names; fit it on a table that names them"
        )
    return model


def matched_columns(
    frame: pd.DataFrame, model: AttentionMixture, name: str
) -> tuple[pd.DataFrame, list[str]]:
    """The columns that the model was fitted on, as it was fitted on them, and what is doubtful.

    Raises CommandError that names every missing column and the likely new name of each.
    """
    import pandas as pd

    from statformer.cli.columns import as_categories, as_numbers

    known = [str(column) for column in model.feature_names_in_]
    missing = [column for column in known if column not in frame.columns]
    if missing:
        free = [str(column) for column in frame.columns if column not in known]
        raise CommandError(
            f"{name} lacks {listing([_with_guess(column, free) for column in missing])}; "
            "rename or add what the model was fitted on"
        )
    categories = categories_of(model)
    matched, doubts = {}, []
    for column in known:
        if column in categories:
            matched[column] = as_categories(frame[column])
            new = set(matched[column].dropna()) - set(categories[column])
            if new:
                doubts.append(
                    f"column {column!r} has values that the model does not know: "
                    f"{listing(sorted(new), at_most=4)}"
                )
            continue
        matched[column], spoilt = as_numbers(frame[column])
        if spoilt == int(frame[column].notna().sum()) > 0:
            raise CommandError(f"{name}: column {column!r} holds no numbers; the model needs them")
        if spoilt:
            doubts.append(f"column {column!r}: {spoilt} cells that are no number count as missing")
    return pd.DataFrame(matched, index=frame.index), doubts


def categories_of(model: AttentionMixture) -> dict[str, tuple[str, ...]]:
    """The values that the model knows of each text column it was fitted on."""
    return {
        column.name: column.categories for column in model._encoder.columns if column.categories
    }


def _with_guess(column: str, free: list[str]) -> str:
    guess = nearest_name(column, free)
    return f"column {column!r} (is it {guess!r}?)" if guess else f"column {column!r}"
