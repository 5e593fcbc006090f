"""What sets each cluster apart: the columns whose values differ most, in the caller's units.

Axes: rows are points n, columns are features d, clusters c.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Int

# Differences below half a standard deviation of the column are not worth a word.
SMALLEST_EFFECT = 0.5
MOST_COLUMNS = 3


@dataclass(frozen=True)
class Difference:
    """One column in one cluster against all other rows.

    `effect` is (here - elsewhere) / standard deviation of the column. For a category, `value` names
    it, and `here` and `elsewhere` are shares of the rows.
    """

    column: str
    value: str | None
    here: float
    elsewhere: float
    effect: float


def profile(
    frame: pd.DataFrame, labels: Int[np.ndarray, " n"], n_clusters: int
) -> list[list[Difference]]:
    """For each cluster, the few differences with the largest effect, largest first.

    Missing cells are left out. One cluster alone differs from nothing: its list is empty.
    """
    found: list[list[Difference]] = [[] for _ in range(n_clusters)]
    for name in frame.columns:
        column = frame[name]
        if pd.api.types.is_numeric_dtype(column):
            values: dict[str | None, np.ndarray] = {None: column.to_numpy(np.float64)}
        else:
            values = {
                str(level): np.where(column.isna(), np.nan, column == level).astype(np.float64)
                for level in column.dropna().unique()
            }
        for cluster in range(n_clusters):
            differences = [
                difference
                for value, cells in values.items()
                if (difference := _difference(str(name), value, cells, labels == cluster))
            ]
            if differences:  # one line a column: of a category's values, the most telling
                found[cluster].append(max(differences, key=_size))
    return [_foremost(differences) for differences in found]


def _difference(
    name: str, value: str | None, cells: np.ndarray, inside: np.ndarray
) -> Difference | None:
    present = ~np.isnan(cells)
    here, elsewhere = cells[present & inside], cells[present & ~inside]
    if here.size == 0 or elsewhere.size == 0:
        return None
    # Scaled first, for the squares of values near 1e300 would overflow.
    scale = float(np.abs(cells[present]).max()) or 1.0
    spread = float(np.std(cells[present] / scale)) * scale
    gap = float(here.mean() - elsewhere.mean())
    effect = gap / spread if spread > 0 else 0.0
    return Difference(name, value, float(here.mean()), float(elsewhere.mean()), effect)


def _size(difference: Difference) -> float:
    return abs(difference.effect)


def _foremost(differences: list[Difference]) -> list[Difference]:
    ordered = sorted(differences, key=_size, reverse=True)
    return [one for one in ordered if _size(one) >= SMALLEST_EFFECT][:MOST_COLUMNS]
