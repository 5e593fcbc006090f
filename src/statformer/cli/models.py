"""Saved models, and the columns of a new table as such a model was fitted on them.

Axes: rows are points n, columns are features d.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from statformer.cli.columns import Selection, as_categories, as_numbers, described
from statformer.cli.errors import CommandError, listing, nearest_name, one_line, unknown_column
from statformer.estimators import AttentionMixture


def load_model(path: Path) -> AttentionMixture:
    """The model that `statformer cluster --save` wrote; CommandError where there is none."""
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


def columns_like(
    frame: pd.DataFrame, model: AttentionMixture, name: str, label_column: str | None
) -> Selection:
    """The columns of an earlier model, to cluster a new table like it."""
    if label_column is not None and label_column not in frame.columns:
        raise unknown_column(label_column, "--label-column", [str(c) for c in frame.columns])
    matched, doubts = matched_columns(frame, model, name)
    if label_column in matched.columns:
        raise CommandError(f"--label-column {label_column} is a column that --like was fitted on")
    chosen = Selection(matched, warnings=doubts)
    chosen.label = frame[label_column] if label_column is not None else None
    chosen.dropped = {
        str(column): "--like was fitted without it"
        for column in frame.columns
        if column not in matched.columns and column != label_column
    }
    return described(chosen, label_column or "")


def _with_guess(column: str, free: list[str]) -> str:
    guess = nearest_name(column, free)
    return f"column {column!r} (is it {guess!r}?)" if guess else f"column {column!r}"
