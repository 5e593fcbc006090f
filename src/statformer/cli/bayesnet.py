"""`statformer bayesnet TABLE`: fit or find a Bayesian network; complete or sample its rows.

Axes: rows are n, columns are variables v.
"""

from __future__ import annotations

import math
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from statformer.cli.bayesnet_cells import NOT_NAMED, cells_of_network, cells_to_read
from statformer.cli.errors import CommandError, one_line
from statformer.cli.options import Decimal, Delimiter, Encoding, Force, Json

if TYPE_CHECKING:
    import pandas as pd

    from statformer.cli.bayesnet_report import BayesNetReport
    from statformer.cli.reading import Table
    from statformer.estimators.bayes_net import AttentionBayesNet
    from statformer.estimators.bif import Bif

NETWORK_ENDINGS = (".bif",)


def bayesnet(
    table: Annotated[
        str, typer.Argument(metavar="TABLE", help="CSV, TSV, Parquet or .npy; - is standard input.")
    ],
    structure: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.bif",
            help="Variables, their states and parents. Its tables are not read: they are fitted. "
            "Without it the structure is found, too.",
        ),
    ] = None,
    order: Annotated[
        str | None,
        typer.Option(
            metavar="a,b,c",
            help="To find a structure: its columns, causes before effects. Others are left out.",
        ),
    ] = None,
    weights: Annotated[
        str,
        typer.Option(
            metavar="W", help="constructed (counts), pretrained (smoothed), or a weights file."
        ),
    ] = "constructed",
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the new or completed rows (csv, tsv, parquet), or the network (bif).",
        ),
    ] = None,
    sample: Annotated[
        int | None, typer.Option(metavar="N", help="Draw N new rows from the fitted network.")
    ] = None,
    complete: Annotated[
        bool,
        typer.Option("--complete", help="Fill each missing cell with its most probable state."),
    ] = False,
    smoothing: Annotated[
        float, typer.Option(metavar="S", help="Add S to every count, such as 1.")
    ] = 0.0,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the new rows.")] = 0,
    delimiter: Delimiter = None,
    decimal: Decimal = None,
    encoding: Encoding = None,
    force: Force = False,
    as_json: Json = None,
) -> None:
    """Fit a Bayesian network to a table of categories, of a structure that is given or found.

    Without --structure the best network is found among all, exactly, and printed with the strength
    of its edges. Missing cells are summed out. With --sample or --complete, --out receives rows;
    without, the fitted network.
    """
    from statformer.cli.outputs import TABLE_ENDINGS, Outputs
    from statformer.cli.reading import read_table
    from statformer.cli.report import json_wanted, print_json, print_remarks

    if seed < 0:
        raise CommandError(f"--seed {seed} must be 0 or more")
    if sample is not None and sample < 1:
        raise CommandError(f"--sample {sample} must be 1 or more")
    if sample is not None and complete:
        raise CommandError("--sample and --complete both write --out; call the command twice")
    makes_rows = sample is not None or complete
    if structure is not None and order is not None:
        raise CommandError("--order is for finding a structure, and --structure gives one")
    if makes_rows and out is None:
        raise CommandError("--sample and --complete make rows; --out FILE says where to write them")
    with Outputs(force=force) as outputs:
        if out is not None:
            outputs.check("--out", out, TABLE_ENDINGS if makes_rows else NETWORK_ENDINGS)
        network = None if structure is None else _network(structure)
        source = read_table(table, delimiter=delimiter, decimal=decimal, encoding=encoding)
        listed = None if order is None else [name.strip() for name in order.split(",")]
        if network is None or structure is None:
            cells, dropped = cells_to_read(source, listed)
        else:
            cells = cells_of_network(source, network, structure)
            others = [str(name) for name in source.frame.columns if name not in cells.columns]
            dropped = dict.fromkeys(others, NOT_NAMED)
        settings = {"weights": weights, "smoothing": smoothing, "random_state": seed}
        model, report = _fitted(source, structure, listed, cells, settings)
        report.dropped = dropped
        if out is not None:
            _write(source, cells, model, outputs.stage(out), report, sample, complete=complete)
            outputs.commit()
            kinds = {"new rows": sample is not None, "completed table": complete}
            report.written[next((k for k, is_it in kinds.items() if is_it), "network")] = str(out)
    print_remarks(report)
    if json_wanted(as_json):
        print_json(report)
    else:
        from statformer.cli.bayesnet_report import print_network

        print_network(report)


def _network(path: Path) -> Bif:
    from statformer.estimators.bif import BifError, read_bif

    try:
        return read_bif(path)
    except FileNotFoundError:
        raise CommandError(f"--structure: there is no file {str(path)!r}") from None
    except (BifError, OSError) as error:
        raise CommandError(f"--structure {one_line(error)}") from None


def _fitted(
    source: Table,
    structure: Path | None,
    order: list[str] | None,
    cells: pd.DataFrame,
    settings: dict[str, Any],
) -> tuple[AttentionBayesNet, BayesNetReport]:
    from statformer.cli.bayesnet_report import BayesNetReport, Variable, edges_of
    from statformer.estimators.bayes_net import AttentionBayesNet

    started = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            model = AttentionBayesNet(structure, order=order, **settings).fit(cells)
            mean = model.score(cells)
        except (ValueError, FileNotFoundError) as error:
            raise CommandError(f"{source.name} cannot be fitted: {one_line(error)}") from None
    parents, categories = model.structure_, model.categories_
    n_of = {name: len(of_name) for name, of_name in categories.items()}
    variables = []
    for name in cells.columns:
        n_configurations = math.prod(n_of[parent] for parent in parents[name])
        states = [str(value) for value in categories[name]]
        listed = [str(parent) for parent in parents[name]]
        variables.append(
            Variable(str(name), listed, states, n_configurations, model.n_unseen_[name])
        )
    return model, BayesNetReport(
        table=source.name,
        structure=None if structure is None else str(structure),
        order=order,
        weights=settings["weights"],
        n_rows=len(cells),
        n_columns=source.frame.shape[1],
        dropped={},
        missing={str(name): int(n) for name, n in cells.isna().sum().items() if n},
        notes=list(source.notes),
        warnings=_told(caught),
        smoothing=settings["smoothing"],
        n_edges=sum(map(len, parents.values())),
        log_likelihood=mean,
        n_iter=model.n_iter_,
        variables=variables,
        edges=[] if structure is not None else edges_of(model),
        seconds=time.perf_counter() - started,
    )


def _write(
    source: Table,
    cells: pd.DataFrame,
    model: AttentionBayesNet,
    path: Path,
    report: BayesNetReport,
    n: int | None,
    *,
    complete: bool,
) -> None:
    """The fitted network, new rows, or the rows of the table with their gaps filled."""
    from statformer.cli.outputs import write_rows

    if n is None and not complete:
        try:
            model.to_bif(path)
        except ValueError as error:
            raise CommandError(f"--out: {one_line(error)}") from None
        return
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if n is not None:
            rows = model.sample(n)
        else:
            rows = source.original()
            rows[list(cells.columns)] = model.complete(cells)
            report.filled = report.missing
    report.warnings = list(dict.fromkeys([*report.warnings, *_told(caught)]))
    write_rows(source, rows, path)


def _told(caught: list[warnings.WarningMessage]) -> list[str]:
    """What was warned of, each once."""
    return list(dict.fromkeys(" ".join(str(one.message).split()) for one in caught))
