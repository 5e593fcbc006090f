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

from statformer.estimators.bayes_net_words import same_objects, short_words

MISSING = -1
MAX_CATEGORIES = 1024
MOST_FRACTIONS = 32  # different numbers with decimals that may still be categories


@dataclass(frozen=True)
class CategoryColumn:
    """A column: the value of each number, and the type to give values back in."""

    name: Hashable
    categories: pd.Index
    dtype: Any

    def __len__(self) -> int:
        return len(self.categories)

    @classmethod
    def of(
        cls, column: pd.Series, states: Sequence[Any] | None = None
    ) -> tuple[CategoryColumn, Int[np.ndarray, " n"]]:
        """A column and its numbers; categories are the declared `states`, or those of its type, or
        its values, sorted.

        States are compared as text, so that the state "1" of a file is the 1 of a column.

        Raises ValueError where there is no value, too many, many that look measured, or one that
        the states lack.
        """
        codes, values, is_sorted = _factorized(column)
        if not (codes >= 0).any():
            raise ValueError(
                f"column {column.name!r} holds no value, so that its categories are unknown; "
                "leave the variable out of the structure"
            )
        if len(values) > MAX_CATEGORIES:
            raise ValueError(
                f"column {column.name!r} has {len(values)} categories; at most {MAX_CATEGORIES} "
                "are possible: cut numbers into intervals first (pandas.cut)"
            )
        if _are_measured(values):
            raise ValueError(
                f"column {column.name!r} has {len(values)} different numbers with decimals, which "
                "look measured and not like categories: cut them into intervals first (pandas.cut)"
            )
        if states is not None:
            present = values[np.unique(codes[codes >= 0])]
            categories = _as_declared(column.name, present, values, states)
        elif isinstance(column.dtype, pd.CategoricalDtype):
            categories = values
        else:
            categories = values if is_sorted else _sorted(values)
        made = cls(column.name, categories, column.dtype)
        if categories is values:
            return made, codes.astype(made._kind, copy=False)
        return made, made._numbered(codes, values)

    def encode(self, column: pd.Series) -> Int[np.ndarray, " n"]:
        """Numbers of the values, -1 where missing.

        Raises ValueError that lists values unknown to the column.
        """
        codes, values, _ = _factorized(column)
        return self._numbered(codes, values)

    @property
    def _kind(self) -> type[np.signedinteger[Any]]:
        return np.int8 if len(self) <= 127 else np.int16

    def _numbered(self, codes: Int[np.ndarray, " n"], values: pd.Index) -> Int[np.ndarray, " n"]:
        """Numbers of the categories, for numbers of the `values`."""
        place = self.categories.get_indexer(values)
        if (place == np.arange(len(place))).all():
            return codes.astype(self._kind, copy=False)
        found = np.append(place, MISSING).astype(self._kind)[codes]
        if (place < 0).any():
            unknown = np.unique(codes[(found < 0) & (codes >= 0)])
            if len(unknown):
                listed = _listed(values[unknown[:5]])
                raise ValueError(
                    f"column {self.name!r} has categories that were not there when the model was "
                    f"fitted: {listed}{', ...' if len(unknown) > 5 else ''}; known are "
                    f"{_listed(self.categories[:8])}"
                )
        return found

    def decode(self, codes: Int[np.ndarray, " n"]) -> pd.Series:
        """The values as a column of the type of the fitted one."""
        if isinstance(self.dtype, pd.CategoricalDtype):
            kept = self.dtype.categories.get_indexer(self.categories)
            if (kept >= 0).all():
                return pd.Series(pd.Categorical.from_codes(kept[codes], dtype=self.dtype))
            dtype = pd.CategoricalDtype(self.categories, self.dtype.ordered)
            return pd.Series(pd.Categorical.from_codes(codes, dtype=dtype))
        return pd.Series(self.categories.take(codes), dtype=self.dtype)


def _factorized(column: pd.Series) -> tuple[Int[np.ndarray, " n"], pd.Index, bool]:
    """A number for every cell, -1 where missing; the value of each number; whether these ascend."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return column.cat.codes.to_numpy(), column.cat.categories, False
    values = column.to_numpy() if isinstance(column.dtype, np.dtype) else None
    if values is not None and values.dtype.kind in "iu" and len(values):
        low, high = int(values.min()), int(values.max())
        if high - low < MAX_CATEGORIES:  # much quicker than to hash every cell
            return *_small_numbers(values, low, high), True
    words = short_words(column)
    if words is not None:
        return words[0], pd.Index(words[1], dtype=column.dtype), True
    try:
        known = None if values is None else same_objects(values)
        places, distinct = pd.factorize(column) if known is None else known
    except TypeError as error:
        raise ValueError(f"column {column.name!r} holds no categories: {error}") from None
    return places, pd.Index(distinct), False


def _small_numbers(
    values: Int[np.ndarray, " n"], low: int, high: int
) -> tuple[Int[np.ndarray, " n"], pd.Index]:
    """Whole numbers that lie close together: those that occur, and the place of each."""
    # int16 wraps around, and so does the difference: it is right all the same
    codes = values.astype(np.int16) - np.array(low).astype(np.int16)
    if high - low < 16:
        present = np.array([(codes == k).any() for k in range(high - low + 1)])
    else:
        present = np.bincount(codes) > 0
    found = pd.Index((np.flatnonzero(present) + low).astype(values.dtype))
    if present.all():
        return codes, found
    return (np.cumsum(present, dtype=np.int16) - np.int16(1)).take(codes), found


def _listed(values: pd.Index) -> str:
    return ", ".join(repr(value) for value in values.tolist())


def _sorted(values: pd.Index) -> pd.Index:
    """Values that cannot be compared are sorted by their text."""
    try:
        return values.sort_values()
    except TypeError:
        return pd.Index(sorted(values, key=lambda value: (type(value).__name__, str(value))))


def _as_declared(
    name: Hashable, present: pd.Index, values: pd.Index, states: Sequence[Any]
) -> pd.Index:
    """The declared states as values of the column's own kind, in their declared order.

    `present` are values of rows; `values` may hold categories that no row has.
    """
    by_text = {_text(value): value for value in values}
    texts = {_text(state) for state in states}
    unknown = [v for v in present if _text(v) not in texts]
    if unknown:
        raise ValueError(
            f"column {name!r} holds {unknown[0]!r}, which is none of the states that the "
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


def _are_measured(values: pd.Index) -> bool:
    """Whether these are many floating-point numbers that are not all whole."""
    if values.dtype.kind != "f" or len(values) <= MOST_FRACTIONS:
        return False
    return bool((values % 1 != 0).any())
