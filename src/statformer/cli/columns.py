"""Which columns of a table say something about clusters, which are set aside, and why.

Axes: rows are points n, columns are features d. Numbers come out as float64, text as categories;
missing cells stay missing, for the estimator reads them as such, and so does a saved model.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from statformer.cli.errors import CommandError, listing, unknown_column

# Text with more values than this, or with a value of its own for most rows, tells rows apart and
# not groups of rows.
MOST_CATEGORIES = 30
# A column that is nearly all numbers is a column of numbers with some cells spoilt.
SHARE_OF_NUMBERS = 0.95
# Below this many rows, a run such as 1, 2, 3 may well be a measurement.
ROWS_FOR_A_RUN = 10

IDENTIFIER_NAME = re.compile(
    r"(?:.*[_\-. ])?(?:id|ids|uuid|guid|index|idx|key|row|rownames?|row[_ ]?(?:id|number|name)|"
    r"unnamed_\d+)(?:[_\-. ](?:no|nr|num|number))?|id[_\-. ].*|.*[a-z](?:Id|ID)"
)
DATE_NAME = re.compile(r"(?:.*[_\-. ])?(?:date|datetime|timestamp)(?:[_\-. ].*)?", re.IGNORECASE)
MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
CLOCK = r"\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?: ?[ap]m)?"
ZONE = r"(?:z|utc|gmt| ?[+-]\d{2}:?\d{2})?"
DATE = re.compile(
    rf"(?:(?:\d{{4}}([-/.])\d{{1,2}}\1\d{{1,2}}|\d{{1,2}}([-/.])\d{{1,2}}\2\d{{2,4}}|"
    rf"\d{{1,2}}[-. ]+{MONTH}[-., ]+\d{{2,4}}|{MONTH}[-. ]+\d{{1,2}},?[- ]+\d{{4}}|"
    rf"\d{{4}}-\d{{2}}(?:-\d{{2}})?)(?:[t ,]+{CLOCK})?{ZONE}|{CLOCK})",
    re.IGNORECASE,
)

EARLIER_RUN = re.compile(r"cluster|cluster_probability|probability_\d+")
ANSWER_NAMES = {"label", "class"}


@dataclass
class Selection:
    """The columns to cluster, and what a user should know about the choice."""

    frame: pd.DataFrame
    label: pd.Series | None = None
    dropped: dict[str, str] = field(default_factory=dict)
    encoded: dict[str, int] = field(default_factory=dict)
    missing: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def select_columns(
    frame: pd.DataFrame,
    *,
    columns: Sequence[str] | None = None,
    drop: Sequence[str] = (),
    label_column: str | None = None,
) -> Selection:
    """Choose the columns of `frame` to cluster.

    `columns` asks for exactly these: an identifier asked for by name is kept. Raises CommandError
    for names that the table lacks and where no column is left.
    """
    names = [str(name) for name in frame.columns]
    for option, wanted in (("--columns", columns or ()), ("--drop", drop)):
        for name in wanted:
            if name not in names:
                raise unknown_column(name, option, names)
    if label_column is not None and label_column not in names:
        raise unknown_column(label_column, "--label-column", names)
    asked = set(columns) if columns is not None else None
    earlier = {"cluster", "cluster_probability"} <= set(names)
    kept: dict[str, pd.Series] = {}
    chosen = Selection(pd.DataFrame())
    for name in names:
        if name == label_column or (asked is not None and name not in asked):
            continue
        column, reason = _kept(name, frame[name], asked_for=asked is not None, earlier=earlier)
        if name in drop:
            chosen.dropped[name] = "--drop"
        elif column is None:
            chosen.dropped[name] = reason
        else:
            kept[name] = column
            if reason:
                chosen.warnings.append(f"column {name!r}: {reason}")
    if not kept:
        raise _nothing_left(chosen.dropped)
    chosen.frame = pd.DataFrame(kept, index=frame.index)
    chosen.label = frame[label_column] if label_column is not None else None
    return described(chosen, label_column)


def as_numbers(column: pd.Series) -> tuple[pd.Series, int]:
    """The column as float64, and how many cells held something that is no finite number."""
    numbers = pd.to_numeric(column.astype(object).where(column.notna(), np.nan), errors="coerce")
    numbers = numbers.astype(np.float64)
    numbers = numbers.where(np.isfinite(numbers), np.nan)
    return numbers, int(column.notna().sum() - numbers.notna().sum())


def as_categories(column: pd.Series) -> pd.Series:
    """The column as text, missing cells as None."""
    text = column.astype(object)
    return text.where(text.isna(), text.astype(str)).where(text.notna(), None)


def _kept(
    name: str, column: pd.Series, *, asked_for: bool, earlier: bool
) -> tuple[pd.Series | None, str]:
    """The column as it is clustered and a remark, or None and the reason why it is dropped."""
    if earlier and not asked_for and EARLIER_RUN.fullmatch(name):
        return None, "written by an earlier run"
    present = column.dropna()
    if present.empty:
        return None, "empty"
    kind = pd.api.types
    if kind.is_datetime64_any_dtype(column) or kind.is_timedelta64_dtype(column):
        return None, "dates"
    if isinstance(column.dtype, pd.PeriodDtype):
        return None, "dates"
    if kind.is_complex_dtype(column):
        return None, "complex numbers"
    if kind.is_bool_dtype(column) or kind.is_numeric_dtype(column):
        return _kept_numbers(name, column, asked_for=asked_for)
    return _kept_text(name, column, asked_for=asked_for)


def _kept_numbers(name: str, column: pd.Series, *, asked_for: bool) -> tuple[pd.Series | None, str]:
    numbers, spoilt = as_numbers(column)
    remark = f"{spoilt} cells that are no finite number count as missing" if spoilt else ""
    present = numbers.dropna().to_numpy()
    if present.size == 0:
        return None, "no finite number"
    if present.min() == present.max():
        return None, f"constant ({present[0]:g})"
    if asked_for:
        return numbers, remark
    whole = bool((present == np.round(present)).all())
    if whole and IDENTIFIER_NAME.fullmatch(_plain(name)):
        return None, "looks like an identifier (its name)"
    if whole and DATE_NAME.fullmatch(name) and present.min() >= 10_000:
        return None, "dates"
    if whole and _is_run(present, n_rows=len(column)):
        return None, "looks like an identifier (it counts the rows)"
    return numbers, remark


def _kept_text(name: str, column: pd.Series, *, asked_for: bool) -> tuple[pd.Series | None, str]:
    present = column.dropna()
    if not all(isinstance(cell, str | bool | int | float) for cell in present.head(1000)):
        numbers = pd.to_numeric(present, errors="coerce")  # decimals of a Parquet file
        if numbers.isna().any():
            return None, "neither numbers nor text"
        return _kept_numbers(name, as_numbers(column)[0], asked_for=asked_for)
    if present.isin([True, False]).all():
        return _kept_numbers(name, as_numbers(column)[0], asked_for=asked_for)
    numbers, spoilt = as_numbers(column)
    if spoilt <= (1 - SHARE_OF_NUMBERS) * len(present):
        kept, remark = _kept_numbers(name, numbers, asked_for=asked_for)
        if kept is None:
            return None, remark
        return kept, f"{spoilt} cells that are no number count as missing" if spoilt else ""
    text = present.astype(str).str.strip()
    if text.head(1000).str.fullmatch(DATE).mean() >= SHARE_OF_NUMBERS:
        return None, "dates"
    n_values = int(text.nunique())
    if n_values == 1:
        return None, f"constant ({text.iloc[0]!r})"
    telling = n_values > MOST_CATEGORIES or 2 * n_values > max(len(text), 4)
    if telling and not asked_for:
        return None, f"looks like an identifier ({n_values} values in {len(text)} rows)"
    if telling and n_values == len(text):
        raise CommandError(
            f"--columns names {name!r}, whose {n_values} texts all differ; "
            "leave it out, for it can say nothing about groups"
        )
    if IDENTIFIER_NAME.fullmatch(_plain(name)) and not asked_for:
        return None, "looks like an identifier (its name)"
    return as_categories(column.where(column.isna(), column.astype(str).str.strip())), ""


def _plain(name: str) -> str:
    """The name in lower case, but for a closing Id or ID that marks a word of its own."""
    return name if re.search(r"[a-z](?:Id|ID)$", name) else name.lower()


def _is_run(values: np.ndarray, *, n_rows: int) -> bool:
    """Whether whole numbers are a, a + 1, ..., a + n - 1 in any order."""
    if values.size != n_rows or n_rows < ROWS_FOR_A_RUN:
        return False
    return bool(values.max() - values.min() == n_rows - 1 and np.unique(values).size == n_rows)


def _nothing_left(dropped: dict[str, str]) -> CommandError:
    why = listing([f"{name}: {reason}" for name, reason in dropped.items()], at_most=4)
    remedy = "--columns NAME keeps a column that was set aside" if dropped else "check --columns"
    return CommandError(f"no usable column is left ({why or 'none was asked for'}); {remedy}")


def described(chosen: Selection, label_column: str | None) -> Selection:
    """The selection with its text columns and missing cells counted, and a doubt about answers."""
    for name in chosen.frame.columns:
        column = chosen.frame[name]
        if not pd.api.types.is_numeric_dtype(column):
            chosen.encoded[name] = int(column.nunique())
        missing = int(column.isna().sum())
        if missing:
            chosen.missing[name] = missing
        if label_column is None and name.lower() in ANSWER_NAMES:
            chosen.warnings.append(
                f"column {name!r} looks like the answer and is clustered with the rest; "
                f"--label-column {name} compares with it, --drop {name} leaves it out"
            )
    return chosen
