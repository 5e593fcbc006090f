"""DataFrames of categories in and out of a Bayesian network: checked, numbered, filled.

Axes: n rows, v variables. Codes are "v n", -1 where missing.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int

from statformer.estimators.bayes_net_columns import MISSING, CategoryColumn
from statformer.estimators.bayes_net_tables import Codes


def checked_frame(df: Any) -> pd.DataFrame:
    """The table itself; TypeError for no DataFrame, ValueError for two columns of one name."""
    if not isinstance(df, pd.DataFrame):
        raise TypeError(f"df is a {type(df).__name__}; pass a pandas DataFrame with named columns")
    if df.columns.has_duplicates:
        twice = df.columns[df.columns.duplicated()][0]
        raise ValueError(f"df has two columns {twice!r}; rename one")
    return df


def checked_columns(
    df: Any, names: Sequence[Hashable], *, complete: bool = False, ignored: Hashable = None
) -> pd.DataFrame:
    """The columns of the table that the structure names.

    `complete` asks for all of them and a row; the column `ignored` is left out.
    """
    df = checked_frame(df)
    unknown = [name for name in df.columns if name not in names]
    if unknown:
        raise ValueError(
            f"df has a column {unknown[0]!r} that is no variable of the structure "
            f"({len(unknown)} such); drop it, or add it to the structure"
        )
    absent = [name for name in names if name not in df.columns]
    if complete and absent:
        raise ValueError(f"df has no column {absent[0]!r}, which the structure names")
    if complete and not len(df):
        raise ValueError("df has no rows; at least one is needed")
    return df.drop(columns=[ignored]) if ignored in df.columns else df


def encoded(columns: Sequence[CategoryColumn], frame: pd.DataFrame) -> Codes:
    """Codes "v n" of the smallest type that holds them; an absent column is missing everywhere."""
    kind = np.int8 if max(map(len, columns)) <= 127 else np.int16
    codes = np.full((len(columns), len(frame)), MISSING, dtype=kind)
    for m, column in enumerate(columns):
        if column.name in frame.columns:
            codes[m] = column.encode(frame[column.name])
    return codes


def filled_column(
    given: pd.Series | None, values: pd.Series, gaps: Int[np.ndarray, " k"]
) -> pd.Series:
    """A column with its gaps filled by `values`; an absent one is made of them alone."""
    if given is None:
        return values
    filled = given.copy()
    if isinstance(filled.dtype, pd.CategoricalDtype):
        new = [c for c in values.cat.categories if c not in filled.cat.categories]
        filled = filled.cat.add_categories(new)
    filled.iloc[gaps] = values.array[gaps]
    return filled
