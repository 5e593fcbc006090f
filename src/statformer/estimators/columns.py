"""One column of a caller's table: number or category, how it is encoded, how its gaps are filled.

Categories are compared as text (1, 1.0 and "1" are one category), so that a fitted table can be
written as JSON. Axes: n rows, k one-hot columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

MAX_CATEGORIES = 30
_NUMBERS = (int, float, np.integer, np.floating, bool, np.bool_)


@dataclass(frozen=True)
class Column:
    """A column of numbers (no categories), or of categories.

    name        the caller's name
    fill        value for missing numbers, or the place of the category for missing ones
    categories  most frequent first; those beyond `MAX_CATEGORIES` share no column (all zeros)
    """

    name: str
    fill: float
    categories: tuple[str, ...] = ()

    @property
    def feature_names(self) -> list[str]:
        """One name per column of the matrix; two categories need one column only."""
        if not self.categories:
            return [self.name]
        return [f"{self.name}={self.categories[j]}" for j in self._shown]

    @property
    def _shown(self) -> range:
        return range(1, 2) if len(self.categories) == 2 else range(len(self.categories))

    def encode(self, values: Any) -> tuple[Float[np.ndarray, "n k"], int]:
        """Columns of the matrix, and how many cells were filled."""
        if not self.categories:
            numbers = to_numbers(self.name, values)
            missing = np.isnan(numbers)
            return np.where(missing, self.fill, numbers)[:, None], int(missing.sum())
        codes, missing = self._codes(values)
        # a rare category of the fitted table has no column; of an unseen one nothing is known
        codes = np.where(missing, int(self.fill), codes)
        return self._onehot(codes), int(missing.sum())

    def encode_cells(self, values: Any) -> Float[np.ndarray, "n k"]:
        """Columns of the matrix with NaN for missing numbers and for categories without a column.

        Those are missing, unseen, or beyond `MAX_CATEGORIES`.
        """
        if not self.categories:
            return to_numbers(self.name, values)[:, None]
        codes, _ = self._codes(values)
        onehot = self._onehot(codes)
        onehot[codes < 0] = np.nan
        return onehot

    def _onehot(self, codes: Int[np.ndarray, " n"]) -> Float[np.ndarray, "n k"]:
        shown = np.array(list(self._shown))
        return (codes[:, None] == shown[None, :]).astype(np.float64)

    def _codes(self, values: Any) -> tuple[Int[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
        """Place of each cell's category, -1 where it has none; and which cells are missing."""
        text, missing = to_text(self.name, values)
        place = {category: j for j, category in enumerate(self.categories)}
        unique, inverse = np.unique(text, return_inverse=True)
        codes = np.array([place.get(str(word), -1) for word in unique], dtype=np.int64)[inverse]
        return np.where(missing, -1, codes), missing


def learn_column(
    name: str, values: Any, weight: Float[np.ndarray, " n"], categorical: bool
) -> Column:
    """Median or categories of a column, rows counted by weight. Raises where nothing is there."""
    if not categorical:
        numbers = to_numbers(name, values)
        there = ~np.isnan(numbers)
        if there.all() and len(there):
            return Column(name, _median(numbers, weight))
        if not there.any():
            raise ValueError(f"column {name!r} holds no value at all; drop it")
        return Column(name, _median(numbers[there], weight[there]))
    text, missing = to_text(name, values)
    if missing.all():
        raise ValueError(f"column {name!r} holds no value at all; drop it")
    unique, inverse = np.unique(text[~missing], return_inverse=True)
    counts = np.bincount(inverse, weights=weight[~missing])
    order = np.lexsort((np.arange(len(unique)), -counts))[:MAX_CATEGORIES]
    return Column(name, 0.0, tuple(str(unique[j]) for j in order))


def to_numbers(name: str, values: Any) -> Float[np.ndarray, " n"]:
    """float64 with NaN for missing cells. Raises ValueError naming the column."""
    kind = getattr(getattr(values, "dtype", None), "kind", "O")
    if kind in "fiub":
        return np.asarray(values, dtype=np.float64)
    if kind in "Mm":
        raise ValueError(f"column {name!r} holds dates or durations; drop it or turn it to numbers")
    if kind == "c":
        raise ValueError(f"Complex data not supported: column {name!r}")
    cells = np.asarray(values, dtype=object)
    try:
        cells = np.where(_is_missing(cells), np.nan, cells)
        return np.asarray(cells, dtype=np.float64)
    except (TypeError, ValueError):
        _refuse_objects(name, cells)
        raise ValueError(
            f"column {name!r} holds text where numbers are expected; name it in "
            "categorical_features, or leave categorical_features='auto'"
        ) from None


def to_text(name: str, values: Any) -> tuple[Any, Bool[np.ndarray, " n"]]:
    """Cells as text, and which are missing. Raises TypeError for cells that are no text or number.

    Whole numbers lose their ".0", so that a column read as int and as float is the same.
    """
    kind = getattr(getattr(values, "dtype", None), "kind", "O")
    if kind in "Mm":
        raise ValueError(f"column {name!r} holds dates or durations; drop it or turn it to numbers")
    cells = np.asarray(values, dtype=object)
    missing = _is_missing(cells)
    _refuse_objects(name, cells[~missing])
    text = np.array(["" if gone else _word(v) for v, gone in zip(cells, missing, strict=True)])
    return text.astype(object), missing


def is_categorical(X: Any, categorical_features: Any, names: Sequence[str]) -> list[bool]:
    """Which columns are categories, from `categorical_features` or from what they hold."""
    if categorical_features is None:
        return [False] * len(names)
    if isinstance(categorical_features, str):
        if categorical_features != "auto":
            raise ValueError(
                f"categorical_features={categorical_features!r} is unknown; give 'auto', None, "
                "a list of columns or a mask"
            )
        return [_holds_categories(column_values(X, j), is_frame(X)) for j in range(len(names))]
    wanted = list(categorical_features)
    if len(wanted) == len(names) and all(isinstance(v, (bool, np.bool_)) for v in wanted):
        return [bool(v) for v in wanted]
    places = {_place(item, names) for item in wanted}
    return [j in places for j in range(len(names))]


def is_frame(X: Any) -> bool:
    """Whether X is a DataFrame (pandas, or anything with columns, shape and dtypes)."""
    return hasattr(X, "columns") and hasattr(X, "dtypes") and hasattr(X, "shape")


def column_values(X: Any, j: int) -> Any:
    """Column j as a 1-d array; categorical and nullable columns as objects or float64."""
    if not is_frame(X):
        return X[:, j]
    series = X.iloc[:, j] if hasattr(X, "iloc") else X[:, j]
    dtype = series.dtype
    kind = getattr(dtype, "kind", "O")
    if kind in "fiub" and not isinstance(dtype, np.dtype) and hasattr(series, "isna"):
        return series.to_numpy(dtype=np.float64, na_value=np.nan)  # pandas' nullable numbers
    return np.asarray(series) if kind in "fiubMmc" else np.asarray(series, dtype=object)


def _holds_categories(values: Any, in_frame: bool) -> bool:
    kind = values.dtype.kind
    if kind in "fiubMmc":
        return False
    cells = np.asarray(values, dtype=object)
    cells = cells[~_is_missing(cells)]
    if kind in "US" and not in_frame:  # numpy turns a row of numbers and text into text
        return not _all_parse(cells)
    return any(not isinstance(v, _NUMBERS) for v in cells)


def _all_parse(cells: Any) -> bool:
    try:
        np.asarray(cells, dtype=np.float64)
    except ValueError:
        return False
    return True


def _place(item: Any, names: Sequence[str]) -> int:
    if isinstance(item, (int, np.integer)) and not isinstance(item, bool):
        if -len(names) <= item < len(names):
            return int(item) % len(names)
    elif str(item) in names:
        return list(names).index(str(item))
    raise ValueError(
        f"categorical_features names {item!r}, but the table has the columns {list(names)[:10]}"
    )


def _is_missing(cells: Any) -> Bool[np.ndarray, " n"]:
    import pandas as pd

    return np.asarray(pd.isna(cells), dtype=bool)


def _refuse_objects(name: str, cells: Any) -> None:
    for value in cells:
        if not isinstance(value, (str, bytes, *_NUMBERS)):
            raise TypeError(
                f"column {name!r}: a cell's argument must be a string or a number, "
                f"not {type(value).__name__!r}"
            )


def _word(value: Any) -> str:
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    return value.decode() if isinstance(value, bytes) else str(value)


def _median(values: Float[np.ndarray, " n"], weight: Float[np.ndarray, " n"]) -> float:
    """The smallest value that has half of the weight at or below it."""
    if (weight == weight[0]).all():
        half = (len(values) + 1) // 2 - 1
        return float(np.partition(values, half)[half])
    order: Int[np.ndarray, " n"] = np.argsort(values)
    reached = np.cumsum(weight[order])
    return float(values[order][np.searchsorted(reached, 0.5 * reached[-1])])
