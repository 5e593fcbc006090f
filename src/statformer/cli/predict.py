"""`statformer predict MODEL TABLE --out FILE`: label new rows with a model kept by cluster --save.

Axes: rows are points n, columns are features d, clusters c.
"""

from __future__ import annotations

import time
import warnings
from pathlib import Path
from typing import Annotated

import typer

from statformer.cli.errors import CommandError, one_line
from statformer.cli.options import Decimal, Delimiter, Encoding, Force, Json


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

    from statformer.cli.models import load_model, matched_columns
    from statformer.cli.outputs import TABLE_ENDINGS, Outputs, refuse_taken_names, write_table
    from statformer.cli.reading import read_table
    from statformer.cli.records import Cluster, PredictReport
    from statformer.cli.report import (
        json_wanted,
        print_json,
        print_prediction,
        print_remarks,
    )
    from statformer.estimators import MissingValuesWarning

    with Outputs(force=force) as outputs:
        outputs.check("--out", out, TABLE_ENDINGS)
        fitted = load_model(model)
        source = read_table(table, delimiter=delimiter, decimal=decimal, encoding=encoding)
        refuse_taken_names(source)
        started = time.perf_counter()
        frame, doubts = matched_columns(source.frame, fitted, source.name)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                proba = np.asarray(fitted.predict_proba(frame))
                labels = np.asarray(fitted.predict(frame))
            except ValueError as error:
                raise CommandError(f"{source.name} cannot be labelled: {one_line(error)}") from None
        names = fitted.cluster_names_
        write_table(source, labels, proba, outputs.stage(out), names)
        outputs.commit()
    sizes = np.bincount(labels, minlength=proba.shape[1])
    missing = {str(name): int(count) for name, count in frame.isna().sum().items() if count}
    report = PredictReport(
        table=source.name,
        model=str(model),
        n_rows=len(frame),
        k=proba.shape[1],
        missing=missing,
        filled=any(issubclass(one.category, MissingValuesWarning) for one in caught),
        ignored=[str(name) for name in source.frame.columns if name not in frame.columns],
        notes=list(source.notes),
        warnings=doubts,
        clusters=[
            Cluster(int(name), int(size), float(size / len(frame)), [])
            for name, size in zip(names, sizes, strict=True)
        ],
        seconds=time.perf_counter() - started,
        written={"labelled table": str(out)},
    )
    print_remarks(report)
    if json_wanted(as_json):
        print_json(report)
    else:
        print_prediction(report)
