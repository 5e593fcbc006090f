"""Categorical columns as whole numbers, and back in the type that they came in.

Axes: n rows, v variables. A missing cell is -1.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int

MISSING = -1
MAX_CATEGORIES = 1024


@dataclass(frozen=True)
class CategoryColumn:
    """A column: the value of each number, and the type to give values back in."""

    name: Hashable
    categories: pd.Index
    dtype: Any

    def __len__(self) -> int:
        return len(self.categories)

    @classmethod
    def of(cls, column: pd.Series, states: Sequence[Any] | None = None) -> CategoryColumn:
        """The categories of a column: declared `states`, those of its type, or the sorted values.

        States are compared as text, so that the state "1" of a file is the 1 of a column.

        Raises ValueError where there is no value, too many, or one that the states lack.
        """
        values = column.dtype.categories if _is_categorical(column) else _values(column)
        if len(values) == 0 or not column.notna().any():
            raise ValueError(
                f"column {column.name!r} holds no value, so that its categories are unknown; "
                "leave the variable out of the structure"
            )
        if len(values) > MAX_CATEGORIES:
            raise ValueError(
                f"column {column.name!r} has {len(values)} categories; at most {MAX_CATEGORIES} "
                "are possible: cut numbers into intervals first (pandas.cut)"
            )
        if states is not None:
            values = _as_declared(column, values, states)
        return cls(column.name, values, column.dtype)

    def encode(self, column: pd.Series) -> Int[np.ndarray, " n"]:
        """Numbers of the values, -1 where missing.

        Raises ValueError that lists values unknown to the column.
        """
        if _is_categorical(column):
            codes, values = column.cat.codes.to_numpy(), column.cat.categories
        else:
            codes, values = pd.factorize(column)
            values = pd.Index(values)
        place = self.categories.get_indexer(values)
        if (place >= 0).all() and (place == np.arange(len(place))).all():
            return codes.astype(self._code_type, copy=False)
        found = np.append(place, MISSING)[codes]
        unknown = (found < 0) & (codes >= 0)
        if unknown.any():
            new = [values[k] for k in np.unique(codes[unknown])]
            listed = ", ".join(repr(value) for value in new[:5])
            raise ValueError(
                f"column {self.name!r} has categories that were not there when the model was "
                f"fitted: {listed}{', ...' if len(new) > 5 else ''}; known are "
                f"{', '.join(repr(value) for value in self.categories[:8])}"
            )
        return found.astype(self._code_type)

    def decode(self, codes: Int[np.ndarray, " n"]) -> pd.Series:
        """The values as a column of the type of the fitted one."""
        if isinstance(self.dtype, pd.CategoricalDtype):
            kept = self.dtype.categories.get_indexer(self.categories)
            if (kept >= 0).all():
                return pd.Series(pd.Categorical.from_codes(kept[codes], dtype=self.dtype))
            dtype = pd.CategoricalDtype(self.categories, self.dtype.ordered)
            return pd.Series(pd.Categorical.from_codes(codes, dtype=dtype))
        return pd.Series(self.categories.take(codes), dtype=self.dtype)

    @property
    def _code_type(self) -> type[np.signedinteger[Any]]:
        return np.int8 if len(self) <= 127 else np.int16


def _is_categorical(column: pd.Series) -> bool:
    return isinstance(column.dtype, pd.CategoricalDtype)


def _values(column: pd.Series) -> pd.Index:
    """Distinct values, sorted; values that cannot be compared are sorted by their text."""
    values = pd.Index(pd.factorize(column)[1])
    try:
        return values.sort_values()
    except TypeError:
        return pd.Index(sorted(values, key=lambda value: (type(value).__name__, str(value))))


def _as_declared(column: pd.Series, values: pd.Index, states: Sequence[Any]) -> pd.Index:
    """The declared states as values of the column's own kind, in their declared order."""
    by_text = {_text(value): value for value in values}
    present = values
    if _is_categorical(column):  # categories that no row has may be unknown to the states
        present = values[np.unique(column.cat.codes[column.notna()])]
    unknown = [v for v in present if _text(v) not in {_text(state) for state in states}]
    if unknown:
        raise ValueError(
            f"column {column.name!r} holds {unknown[0]!r}, which is none of the states that the "
            f"structure declares: {', '.join(map(str, states))}"
        )
    example = present[0]
    kind = type(example) if isinstance(example, (int, float, bool, np.generic)) else None
    return pd.Index([by_text.get(_text(state), _like(state, kind)) for state in states])


def _text(value: Any) -> str:
    """A value as a file spells it: 1.0 is 1, as a whole number with missing cells is a float."""
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    return str(value)


def _like(state: Any, kind: Any) -> Any:
    """A state that no row has, as a value of the column's kind where it can be one."""
    if kind in {bool, np.bool_}:
        return state in {"True", "true", "1", True}
    try:
        return state if kind is None else kind(state)
    except (TypeError, ValueError):
        return state
