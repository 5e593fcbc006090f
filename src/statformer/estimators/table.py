"""A caller's table to a matrix of numbers: numbers stay, categories become one-hot columns.

Arrays and DataFrames go in, chunk by chunk where they are long; float64 comes out. `encode_cells`
leaves NaN where nothing is known of a cell, which is what the layers read (`estimators.cells`).
`encode` fills: missing numbers with the column's median, missing categories with its most frequent
one, and counts them; a category that the fitted table did not hold has zeros in every column.

Axes: n rows, d columns of the matrix, m columns of the caller's table.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from sklearn.utils import check_array

from statformer.estimators.columns import (
    Column,
    column_values,
    is_categorical,
    is_frame,
    learn_column,
)

Matrix = Float[np.ndarray, "n d"]
LARGEST = 1e153  # squares of larger values leave float64


@dataclass(frozen=True)
class Filled:
    """How many cells of which columns were filled."""

    n_cells: int = 0
    columns: tuple[str, ...] = ()

    def __add__(self, other: Filled) -> Filled:
        new = tuple(name for name in other.columns if name not in self.columns)
        return Filled(self.n_cells + other.n_cells, self.columns + new)

    def message(self) -> str:
        """One sentence for a warning."""
        names = ", ".join(self.columns[:5]) + (", ..." if len(self.columns) > 5 else "")
        return (
            f"{self.n_cells} missing cells in {len(self.columns)} columns ({names}) were filled: "
            "numbers with the median, categories with the most frequent one"
        )


@dataclass(frozen=True)
class TableEncoder:
    """What was learned about each column; `encode` applies it."""

    columns: tuple[Column, ...]

    @property
    def feature_names(self) -> list[str]:
        """Names of the d columns of the matrix, "column" or "column=category"."""
        return [name for column in self.columns for name in column.feature_names]

    @property
    def n_features(self) -> int:
        """d, the number of columns of the matrix."""
        return sum(len(column.feature_names) for column in self.columns)

    def encode(self, X: Any) -> tuple[Matrix, Filled]:
        """The matrix of some rows, and what was filled. Raises ValueError for inf."""
        if isinstance(X, np.ndarray) and X.dtype.kind in "fiub" and self._is_numeric:
            return self._encode_numbers(X)
        parts, filled = [], Filled()
        for j, column in enumerate(self.columns):
            part, n_filled = column.encode(column_values(X, j))
            if n_filled:
                filled = filled + Filled(n_filled, (column.name,))
            parts.append(part)
        matrix = np.concatenate(parts, axis=1)
        self._check_range(matrix)
        return matrix, filled

    def encode_cells(self, X: Any) -> Matrix:
        """The matrix of some rows, NaN where nothing is known of a cell.

        Raises ValueError for inf.
        """
        if isinstance(X, np.ndarray) and X.dtype.kind in "fiub" and self._is_numeric:
            matrix = np.asarray(X, dtype=np.float64)
            if _is_plain(matrix):
                return matrix
        else:
            parts = [
                column.encode_cells(column_values(X, j)) for j, column in enumerate(self.columns)
            ]
            matrix = np.concatenate(parts, axis=1)
        self._check_range(matrix)
        return matrix

    @property
    def _is_numeric(self) -> bool:
        return not any(column.categories for column in self.columns)

    def _encode_numbers(self, X: Any) -> tuple[Matrix, Filled]:
        matrix = np.asarray(X, dtype=np.float64)
        if _is_plain(matrix):
            return matrix, Filled()
        missing = np.isnan(matrix)
        filled = Filled()
        if missing.any():
            fills = np.array([column.fill for column in self.columns])
            matrix = np.where(missing, fills, matrix)
            which = np.flatnonzero(missing.any(axis=0))
            filled = Filled(int(missing.sum()), tuple(self.columns[j].name for j in which))
        self._check_range(matrix)
        return matrix, filled

    def _check_range(self, matrix: Matrix) -> None:
        """Infinite or huge values are refused by name."""
        with np.errstate(invalid="ignore"):
            bad = np.abs(matrix) > LARGEST
        if bad.any():
            i, j = np.argwhere(bad)[0]
            kind = "infinity" if np.isinf(matrix[i, j]) else f"values beyond {LARGEST:g}"
            raise ValueError(
                f"Input X contains {kind}: column {self.feature_names[j]!r}, row {i}, is "
                f"{matrix[i, j]}; remove such rows, or divide the column"
            )


def learn_table(
    X: Any, weight: Float[np.ndarray, " n"], categorical_features: Any, names: Sequence[str]
) -> TableEncoder:
    """Look at the rows of positive weight and decide what each column is."""
    chosen = is_categorical(X, categorical_features, names)
    rows = weight > 0
    every = bool(rows.all())
    weight = weight if every else weight[rows]
    columns = []
    for j, name in enumerate(names):
        values = column_values(X, j)
        values = values if every else values[rows]
        columns.append(learn_column(name, values, weight, chosen[j]))
    return TableEncoder(tuple(columns))


def check_table(X: Any, estimator: Any) -> Any:
    """A DataFrame as it is, anything else as a 2-d array of its own dtype; never sparse."""
    if is_frame(X):
        if 0 in X.shape:
            raise ValueError(
                f"Found array with {X.shape[0]} sample(s) and {X.shape[1]} feature(s) "
                f"(shape={X.shape}) while a minimum of 1 is required."
            )
        return X
    return check_array(X, dtype=None, ensure_all_finite=False, estimator=estimator)


def table_names(X: Any) -> list[str]:
    """Column names of a DataFrame; x0, x1, ... of an array."""
    if is_frame(X):
        return [str(name) for name in X.columns]
    return [f"x{j}" for j in range(X.shape[1])]


def chunks(X: Any, n_rows: int) -> Iterator[tuple[slice, Any]]:
    """Slices of rows and the rows themselves (views of an array)."""
    for first in range(0, X.shape[0], n_rows):
        rows = slice(first, min(first + n_rows, X.shape[0]))
        yield rows, (X.iloc[rows] if hasattr(X, "iloc") else X[rows])


def _is_plain(matrix: Matrix) -> bool:
    """Nothing missing, nothing infinite, nothing huge (a comparison with NaN is false)."""
    return matrix.size == 0 or bool(max(matrix.max(), -matrix.min()) <= LARGEST)
