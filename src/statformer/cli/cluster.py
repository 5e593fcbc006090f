"""`statformer cluster TABLE`: read a table, cluster its rows, say what was found.

Axes: rows are points n, columns are features d, clusters c.
"""

from __future__ import annotations

import math
import re
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from statformer.cli.errors import CommandError, one_line
from statformer.cli.options import Decimal, Delimiter, Encoding, Force, Json, names_in

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from statformer.cli.columns import Selection
    from statformer.cli.encoding import Encoded
    from statformer.cli.outputs import Outputs
    from statformer.cli.reading import Table
    from statformer.cli.records import Cluster, ClusterReport, Likeness, Score
    from statformer.cli.rivals import Rival
    from statformer.estimators import AttentionMixture

DEFAULT_RIVALS = "em,em-bic,kmeans"
PICTURE_ENDINGS = (".png", ".svg", ".pdf")


def cluster(
    table: Annotated[
        str, typer.Argument(metavar="TABLE", help="CSV, TSV, Parquet or .npy; - is standard input.")
    ],
    k: Annotated[
        int | None, typer.Option("--k", help="Number of clusters; estimated where not given.")
    ] = None,
    label_column: Annotated[
        str | None,
        typer.Option(help="Known answer: never clustered, only compared with."),
    ] = None,
    columns: Annotated[
        str | None, typer.Option(metavar="A,B", help="Cluster these columns and no others.")
    ] = None,
    drop: Annotated[
        str | None, typer.Option(metavar="A,B", help="Leave these columns out.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the rows with their cluster: csv, tsv, parquet."),
    ] = None,
    save: Annotated[
        Path | None, typer.Option(metavar="MODEL", help="Keep the model for statformer predict.")
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE.png", help="Draw the clusters beside those of EM."),
    ] = None,
    versus: Annotated[
        str | None,
        typer.Option(
            metavar="em,kmeans",
            help="Methods to compare with: em (full covariances), em-bic (the best of four types), "
            f"kmeans. With a label column {DEFAULT_RIVALS}.",
        ),
    ] = None,
    weights: Annotated[
        str,
        typer.Option(
            metavar="NAME|PATH",
            help="pretrained, constructed (robust EM), or a weights file.",
        ),
    ] = "pretrained",
    effort: Annotated[
        str,
        typer.Option(metavar="fast|balanced|best", help="How many clusterings are tried."),
    ] = "balanced",
    fallback: Annotated[
        str,
        typer.Option(
            metavar="warn|constructed|raise",
            help="What to do with a table unlike all that the weights were trained on.",
        ),
    ] = "warn",
    like: Annotated[
        Path | None,
        typer.Option(
            metavar="MODEL",
            help="Number the clusters as in this model, kept by --save; it also chooses the "
            "columns.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the random starts.")] = 0,
    delimiter: Delimiter = None,
    decimal: Decimal = None,
    encoding: Encoding = None,
    force: Force = False,
    as_json: Json = None,
) -> None:
    """Cluster the rows of a table.

    Prints the probable number of clusters, their sizes and what sets each apart.

    Says which columns were set aside, what was missing, and how good the clusters may be.
    """
    from statformer.cli.columns import select_columns
    from statformer.cli.models import columns_like, load_model
    from statformer.cli.outputs import TABLE_ENDINGS, Outputs, refuse_taken_names
    from statformer.cli.reading import read_table
    from statformer.cli.rivals import checked_rivals

    if like is not None and (columns is not None or drop is not None):
        raise CommandError("--like chooses the columns; leave --columns and --drop out")
    if seed < 0:
        raise CommandError(f"--seed {seed} must be 0 or more")
    wanted = names_in(columns, "--columns") if columns is not None else None
    unwanted = names_in(drop, "--drop")
    if versus is None and label_column is not None:
        versus = DEFAULT_RIVALS
    rivals = checked_rivals(names_in(versus, "--versus"))
    with Outputs(force=force) as outputs:
        for option, path, endings in (
            ("--out", out, TABLE_ENDINGS),
            ("--save", save, ()),
            ("--plot", plot, PICTURE_ENDINGS),
        ):
            if path is not None:
                outputs.check(option, path, endings)
        previous = None if like is None else load_model(like)
        source = read_table(table, delimiter=delimiter, decimal=decimal, encoding=encoding)
        if out is not None:
            refuse_taken_names(source)
        if previous is None:
            selection = select_columns(
                source.frame, columns=wanted, drop=unwanted, label_column=label_column
            )
        else:
            selection = columns_like(source.frame, previous, source.name, label_column)
        params = {"weights": weights, "effort": effort, "fallback": fallback, "random_state": seed}
        answer = _cluster(source, selection, k, params, previous)
        if previous is not None:
            answer.report.like = _likeness(answer.model, previous, str(like))
        _compare(answer, rivals, seed=seed, draws=plot is not None)
        _write(answer, outputs, out=out, save=save, plot=plot)
    _print(answer.report, as_json)


@dataclass
class _Answer:
    """All that one run knows: what it read, what it fitted, what it will say."""

    table: Table
    selection: Selection
    model: AttentionMixture
    labels: np.ndarray
    report: ClusterReport
    encoded: Encoded | None = None
    drawn: Rival | None = None

    @cached_property
    def proba(self) -> np.ndarray:
        """(n, c) probability of each cluster for each row; only files and pictures ask for it."""
        import numpy as np

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # missing cells were reported before
            return np.asarray(self.model.predict_proba(self.selection.frame))


def _cluster(
    table: Table,
    selection: Selection,
    k: int | None,
    params: dict[str, Any],
    previous: AttentionMixture | None,
) -> _Answer:
    import numpy as np

    from statformer.cli.records import ClusterReport
    from statformer.cli.rivals import threads_for
    from statformer.estimators import AttentionMixture, MissingValuesWarning

    n_rows = len(selection.frame)
    if k is not None and not 1 <= k <= n_rows:
        raise CommandError(f"--k {k} must be from 1 to the number of rows, {n_rows}")
    started = time.perf_counter()
    model = AttentionMixture(k, **params)
    with warnings.catch_warnings(record=True) as caught, threads_for(selection.frame.size):
        warnings.simplefilter("always")
        try:
            model.fit(selection.frame, like=previous)
        except (ValueError, OSError) as error:
            reason = as_options(one_line(error))
            raise CommandError(f"{table.name} cannot be clustered: {reason}") from None
    labels = np.asarray(model.labels_)
    fell_back = model.weights_sha256_ == "constructed" != params["weights"]
    report = ClusterReport(
        table=table.name,
        n_rows=n_rows,
        n_columns=table.frame.shape[1],
        columns=[str(name) for name in selection.frame.columns],
        dropped=selection.dropped,
        encoded=selection.encoded,
        missing=selection.missing,
        filled=any(issubclass(one.category, MissingValuesWarning) for one in caught),
        notes=list(table.notes),
        warnings=[*selection.warnings, *_remarks(caught)],
        weights="constructed" if fell_back else params["weights"],
        effort=params["effort"],
        k=int(model.n_components_),
        k_asked=k,
        k_probability=[float(p) for p in model.n_components_proba_],
        clear_clusters=k is not None or int(model.n_components_) > 1,
        expected_ari=_number(getattr(model, "expected_ari_", np.nan)),
        out_of_depth=_number(model.out_of_depth_),
        fell_back=fell_back,
        clusters=describe_clusters(selection.frame, labels, model.cluster_names_),
        seconds=time.perf_counter() - started,
    )
    return _Answer(table, selection, model, labels, report)


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _likeness(model: AttentionMixture, previous: AttentionMixture, path: str) -> Likeness:
    from statformer.cli.records import Likeness

    is_kept = model.matched_ >= 0
    names = model.cluster_names_
    return Likeness(
        path,
        names[is_kept].tolist(),
        model.match_overlap_[is_kept].tolist(),
        names[~is_kept].tolist(),
        sorted(set(previous.cluster_names_.tolist()) - set(names.tolist())),
    )


def describe_clusters(frame: pd.DataFrame, labels: np.ndarray, names: np.ndarray) -> list[Cluster]:
    """The size of each cluster and what sets it apart."""
    import numpy as np

    from statformer.cli.profiles import profile
    from statformer.cli.records import Cluster

    sizes = np.bincount(labels, minlength=len(names))
    differences = profile(frame, labels, len(names))
    return [
        Cluster(int(name), int(sizes[c]), float(sizes[c] / len(labels)), differences[c])
        for c, name in enumerate(names)
    ]


def _remarks(caught: Sequence[warnings.WarningMessage]) -> list[str]:
    """What the estimator warned of, but for missing cells, which the report counts itself."""
    from statformer.estimators import MissingValuesWarning

    return list(
        dict.fromkeys(
            as_options(one_line(one.message))
            for one in caught
            if isinstance(one.message, Warning)
            and not isinstance(one.message, MissingValuesWarning)
        )
    )


def as_options(message: str) -> str:
    """A message of the library in the words of the command line: name='value' as --name value."""
    return re.sub(r"\b(weights|fallback|effort)='(\w+)'", r"--\1 \2", message)


def _compare(answer: _Answer, names: Sequence[str], *, seed: int, draws: bool) -> None:
    """Run the rivals and score all methods against the label column, or else against us."""
    from statformer.cli.encoding import encode
    from statformer.cli.rivals import run_rivals

    if not names and not draws:
        return
    answer.encoded = encode(answer.selection.frame, answer.model)
    X = answer.encoded.standardised()
    k = answer.report.k
    rivals = dict(zip(names, run_rivals(names, X, k, seed), strict=True))
    if draws:
        answer.drawn = rivals.get("em") or run_rivals(["em"], X, k, seed)[0]
    if names:
        _score_all(answer, list(rivals.values()))


def _score_all(answer: _Answer, rivals: Sequence[Rival]) -> None:
    import numpy as np

    from statformer.cli.records import Score
    from statformer.cli.report import weights_name
    from statformer.cli.rivals import agreement

    report, label = answer.report, answer.selection.label
    truth, scored = answer.labels, np.ones(report.n_rows, dtype=bool)
    report.compared_with = "these clusters"
    if label is not None:
        scored = label.notna().to_numpy()
        if not scored.any():
            raise CommandError(f"--label-column {str(label.name)!r} holds no label at all")
        truth = label[scored].astype(str).to_numpy()
        report.compared_with = f"label column {str(label.name)!r}"
        ari, ami = agreement(truth, answer.labels[scored])
        ours = f"AttentionMixture, {weights_name(report)}"
        report.scores.append(Score(ours, report.k, ari, ami, report.seconds))
    report.n_compared = int(scored.sum())
    report.scores += [_score(rival, truth, scored, report.k) for rival in rivals]


def _score(rival: Rival, truth: np.ndarray, scored: np.ndarray, k: int) -> Score:
    from statformer.cli.records import Score
    from statformer.cli.rivals import agreement

    if rival.labels is None:
        return Score(rival.name, k, None, None, None, rival.failure)
    ari, ami = agreement(truth, rival.labels[scored])
    return Score(rival.name, k, ari, ami, rival.seconds)


def _write(
    answer: _Answer, outputs: Outputs, *, out: Path | None, save: Path | None, plot: Path | None
) -> None:
    from statformer.cli.outputs import write_table

    if plot is not None:
        from statformer.cli.picture import draw

        assert answer.encoded is not None
        assert answer.drawn is not None
        draw(
            answer.encoded,
            answer.model,
            answer.proba,
            answer.drawn,
            answer.selection.label,
            answer.report,
            outputs.stage(plot),
        )
    if out is not None:
        names = answer.model.cluster_names_
        write_table(answer.table, answer.labels, answer.proba, outputs.stage(out), names)
    if save is not None:
        answer.model.save(outputs.stage(save))
    outputs.commit()
    for what, path in (("picture", plot), ("labelled table", out), ("model", save)):
        if path is not None:
            answer.report.written[what] = str(path)


def _print(report: ClusterReport, as_json: bool | None) -> None:
    from statformer.cli.report import json_wanted, print_clusters, print_json, print_remarks

    print_remarks(report)
    if json_wanted(as_json):
        print_json(report)
    else:
        print_clusters(report)
