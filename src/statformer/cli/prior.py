"""`statformer prior show` and `statformer prior ordinary`: what the training tables look like."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import pandas as pd
import typer
from jaxtyping import Float

from statformer._extras import require
from statformer.cli.columns import ANSWER_NAMES, select_columns
from statformer.cli.errors import CommandError, one_line
from statformer.cli.outputs import Outputs
from statformer.cli.reading import Table, read_table

if TYPE_CHECKING:
    from statformer.plotting.prior import Specimen

prior = typer.Typer(
    add_completion=False, no_args_is_help=True, help="Look at the tables of the training prior."
)
PICTURES = (".png", ".pdf", ".svg")
FEWEST_TABLES = 50
_N_DRAWS = 8
_CHOICES = 24
_ROWS = 400


@prior.callback()
def _prior() -> None:
    """Look at the tables of the training prior."""


@prior.command()
def show(
    out: Annotated[
        Path, typer.Option(metavar="FILE", help=f"The picture: {', '.join(PICTURES)}.")
    ] = Path("prior.png"),
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the tables.")] = 0,
    pieces: Annotated[
        str, typer.Option(metavar="a,b,...", help="Pieces or groups to show. Default: all.")
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="Replace FILE.")] = False,
) -> None:
    """Draw a gallery of the prior: one table per piece, coloured by the truth.

    A piece is shown on a plain table of three clusters and two columns. Where every piece is
    shown, tables with all pieces at their rates follow.
    """
    require("torch", "torch")
    from statformer.plotting.prior import plot_specimens
    from statformer.tasks.wide import WIDE_RATES
    from statformer.tasks.wide import pieces as pieces_of

    try:
        named = [name.strip() for name in pieces.split(",") if name.strip()]
        chosen = pieces_of(*named) if named else set(WIDE_RATES)
    except ValueError as error:
        raise CommandError(f"--pieces: {one_line(error)}") from error
    with Outputs(force=force) as outputs:
        outputs.check("--out", out, PICTURES)
        specimens = [_specimen(name, seed) for name in WIDE_RATES if name in chosen]
        if not named:
            specimens = [_specimen(None, seed), *specimens, *_draws(seed)]
        figure = plot_specimens(specimens, title=f"The wide prior, seed {seed}")
        figure.savefig(outputs.stage(out))
        outputs.commit()
    typer.echo(f"{len(specimens)} tables: {out}")


def _specimen(piece: str | None, seed: int) -> Specimen:
    """The first table that shows a piece well, on two of its columns.

    It has three clusters of some size before the piece acts, and looks otherwise after.
    """
    from statformer.plotting.prior import Specimen
    from statformer.tasks.stream import TaskStream
    from statformer.tasks.wide import LEAST_COLUMNS, WIDE_RATES, WidePrior

    d = max(2, LEAST_COLUMNS.get(piece or "", 1))
    family = WidePrior(
        (_ROWS, _ROWS), (d, d), (3, 3), separation=(5.0, 8.0), single=0.0, cell_budget=None
    )
    plain = family.only().sample(TaskStream(seed, 0, range(_CHOICES)))
    shares = np.stack([(plain.y.numpy() == k).mean(axis=1) for k in range(3)], axis=1)
    merit = 2.0 * (shares.min(axis=1) > 0.15)
    batch = plain
    if piece is not None:
        batch = family.only(piece).sample(TaskStream(seed, 0, range(_CHOICES)))
        changed = plain.X.numpy() != batch.X.numpy()  # a missing cell differs from everything
        merit += changed.any(axis=1).mean(axis=1)
        merit += 3.0 * (changed.any(axis=(1, 2)) | (plain.y != batch.y).any(-1).numpy())
    i = int(merit.argmax())
    X, codes = batch.X[i].double().numpy(), batch.latent["is_categorical"][i].numpy()
    # copies beside what they are copies of
    related = np.abs(np.corrcoef(np.nan_to_num(X).T)) - np.eye(d)
    pair = sorted(np.unravel_index(related.argmax(), related.shape)) if d > 2 else [0, 1]
    grades = np.array([len(np.unique(x[~np.isnan(x)])) <= 8 for x in X.T])
    note = "" if piece is None else f"in {WIDE_RATES[piece]:.0%} of tables"
    title = "a plain mixture" if piece is None else piece
    return Specimen(title, X[:, pair], batch.y[i].numpy(), (codes | grades)[pair], note)


def _draws(seed: int) -> list[Specimen]:
    """Tables of the prior as it is, with the names of the pieces in them."""
    from statformer.plotting.prior import Specimen
    from statformer.tasks.stream import TaskStream
    from statformer.tasks.wide import WIDE_RATES, WidePrior

    specimens = []
    for step in range(1, _N_DRAWS + 1):
        batch = WidePrior(n_points=(100, 2000), n_features=(2, 32)).sample(
            TaskStream(seed, step, range(1))
        )
        names = [name for name in WIDE_RATES if batch.latent[name][0]]
        X, K = batch.X[0].double().numpy(), int(batch.n_components[0])
        n, d = X.shape
        codes = batch.latent["is_categorical"][0].numpy()
        lines = [", ".join(names[i : i + 3]) for i in range(0, len(names), 3)]
        title = f"{n} × {d}, K = {K}"
        specimens.append(Specimen(title, X, batch.y[0].numpy(), codes, "\n".join(lines) or "plain"))
    return specimens


@prior.command()
def ordinary(
    tables: Annotated[
        list[str], typer.Argument(metavar="TABLE...", help="CSV, TSV, Parquet or .npy tables.")
    ],
    label_column: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The column with the answer. Default: label or class."),
    ] = None,
    n: Annotated[
        int, typer.Option("--draws", metavar="N", help="Tables of the prior to compare with.")
    ] = 2000,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the prior's tables.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say how ordinary tables look among those of the prior, by the distance of their features.

    The distance is 1 for the median table of the prior. A table whose percentile is near 100 is
    unlike what the weights were trained on. The answer column is left out.
    """
    require("torch", "torch")
    if n < FEWEST_TABLES:
        raise CommandError(
            f"--draws {n} are too few to compare with; pass at least {FEWEST_TABLES}"
        )
    from statformer.pretraining.ordinariness import reference_of
    from statformer.proposals.table_features import table_features
    from statformer.tasks.wide import WidePrior

    matrices = [(table, _matrix(read_table(table), label_column)) for table in tables]
    reference = reference_of(WidePrior(), n, seed)
    found: list[dict[str, Any]] = []
    for name, X in matrices:
        place = reference.place(table_features(X))
        found.append(
            {
                "table": Path(name).name,
                "n_rows": X.shape[0],
                "n_columns": X.shape[1],
                "distance": round(place.distance, 3),
                "percentile": round(100.0 * place.percentile, 1),
                "unusual": [
                    {"feature": feature, "value": round(value, 3), "percentile": round(100 * p, 1)}
                    for feature, value, p in place.unusual
                ],
            }
        )
    if as_json:
        sys.stdout.write(json.dumps({"draws": n, "seed": seed, "tables": found}) + "\n")
    else:
        typer.echo("\n".join(_lines(found)))


def _lines(found: list[dict[str, Any]]) -> list[str]:
    width = max(len("table"), *(len(row["table"]) for row in found))
    lines = [f"{'table':{width}}  rows × columns  distance  percentile  furthest features"]
    for row in found:
        unusual = "; ".join(
            f"{one['feature']} {one['value']:.2f} ({one['percentile']:.0f} %)"
            for one in row["unusual"]
        )
        shape = f"{row['n_rows']} × {row['n_columns']}"
        lines.append(
            f"{row['table']:{width}}  {shape:>14}  {row['distance']:8.2f}  "
            f"{row['percentile']:8.1f} %  {unusual}"
        )
    return lines


def _matrix(table: Table, label_column: str | None) -> Float[np.ndarray, "n d"]:
    """The columns as the features want them: numbers as they are, text as one column per value."""
    from statformer.pretraining.ordinariness import one_hot

    if label_column is None:
        answers = [str(name) for name in table.frame.columns if str(name).lower() in ANSWER_NAMES]
        label_column = answers[-1] if answers else None
    frame = select_columns(table.frame, label_column=label_column).frame
    columns, is_text = [], []
    for name in frame.columns:
        column = frame[name]
        is_text.append(column.dtype.kind != "f")
        codes = pd.Categorical(column).codes.astype(np.float64) if is_text[-1] else None
        columns.append(column.to_numpy() if codes is None else np.where(codes < 0, np.nan, codes))
    return one_hot(np.column_stack(columns), np.array(is_text))
