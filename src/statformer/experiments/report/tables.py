"""Rows of a run by cell: means over seeds with their intervals, as a table of a page.

Where several rows share a cell and a seed (a curve over depth), the columns that tell them apart
are found and count as part of the cell.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from statformer.experiments.report.html import Html, element, join
from statformer.plotting.chart_text import number_text
from statformer.runs.intervals import mean_interval

MOST_ROWS = 150


@dataclass(frozen=True)
class Summary:
    """A line per cell: `keys` name the cell, `values` what was measured; cells are ready text."""

    keys: list[str]
    values: list[str]
    lines: list[list[Html]]
    n_cells: int
    n_seeds: int


def summarise(table: pd.DataFrame, axes: Sequence[str], most: int = MOST_ROWS) -> Summary:
    """At most `most` cells in the order of the run: mean over seeds, [95 % bootstrap interval].

    Rows of one seed are averaged first, so the interval is over seeds. Text that differs between
    seeds is counted instead; truth values are given as shares.
    """
    keys = [axis for axis in axes if axis in table.columns]
    keys += _coordinates(table, keys)
    values = [name for name in table.columns if name not in {*keys, "seed"}]
    n_seeds = int(table["seed"].nunique()) if "seed" in table.columns else 1
    if keys:
        groups = [group for _, group in table.groupby(keys, sort=False, dropna=False)]
    else:
        groups = [table]
    lines = [
        [cell_markup(group[key].iloc[0]) for key in keys]
        + [_value_markup(group, name) for name in values]
        for group in groups[:most]
    ]
    return Summary(keys, values, lines, len(groups), n_seeds)


def table_markup(summary: Summary) -> Html:
    """The table in a box that scrolls by itself on narrow pages."""
    heads = [element("th", name, scope="col") for name in summary.keys]
    heads += [element("th", name, scope="col", class_="value") for name in summary.values]
    body = [
        element(
            "tr",
            *(element("td", cell) for cell in line[: len(summary.keys)]),
            *(element("td", cell, class_="value") for cell in line[len(summary.keys) :]),
        )
        for line in summary.lines
    ]
    return scroll_box(
        element("table", element("thead", element("tr", *heads)), element("tbody", *body)),
        "Results by cell",
    )


def scroll_box(table: Html, name: str) -> Html:
    """A region that can be scrolled with the keyboard too."""
    return element("div", table, class_="scroll", tabindex=0, role="region", aria_label=name)


def cell_markup(value: Any) -> Html:
    """One value as text: whole numbers in full, others with four digits."""
    return join(value_text(value))


def value_text(value: Any) -> str:
    """The same without markup."""
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, (int, np.integer)):
        return str(value).replace("-", "−")
    if isinstance(value, (float, np.floating)):
        value = float(value)
        if math.isnan(value):
            return "–"
        if value.is_integer() and abs(value) < 1e7:
            return str(int(value)).replace("-", "−")
        return number_text(value)
    return str(value)


def _coordinates(table: pd.DataFrame, keys: list[str]) -> list[str]:
    """Fewest columns, text and whole numbers first, that make rows of one cell and seed differ."""
    found: list[str] = []
    base = [*keys, *(["seed"] if "seed" in table.columns else [])]
    others = [name for name in table.columns if name not in base]
    candidates = sorted(others, key=lambda name: _measuredness(table, keys, name))

    def n_groups(names: list[str]) -> int:
        by = base + names
        return int(table.groupby(by, dropna=False).ngroups) if by else min(len(table), 1)

    now = n_groups(found)
    while now < len(table) and candidates:
        best = max(candidates, key=lambda name: n_groups([*found, name]) == len(table))
        candidates.remove(best)
        after = n_groups([*found, best])
        if after > now:
            found, now = [*found, best], after
    return found


def _measuredness(table: pd.DataFrame, keys: list[str], name: str) -> int:
    """0 for what looks like a coordinate, up to 3 for what looks measured.

    Coordinates are the same for all seeds of a cell, and seldom fractions.
    """
    is_float = pd.api.types.is_float_dtype(table[name])
    if "seed" not in table.columns:
        return int(is_float)
    sets = table.groupby([*keys, "seed"], dropna=False)[name].agg(frozenset)
    per_cell = sets.groupby(level=list(range(len(keys)))).nunique() if keys else [sets.nunique()]
    return int(is_float) + 2 * int(max(per_cell) > 1)


def _value_markup(group: pd.DataFrame, name: str) -> Html:
    column = group[name]
    if not pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        return _counted(column.dropna())
    seen = group[column.notna()]
    if seen.empty:
        return join("–")
    by_seed = seen.groupby("seed")[name].mean() if "seed" in seen.columns else seen[name]
    numbers = by_seed.to_numpy(dtype=np.float64)
    if len(numbers) == 1 or not np.isfinite(numbers).all():
        return cell_markup(float(numbers.mean()))
    interval = mean_interval([numbers])
    ends = f"[{value_text(interval.low)}, {value_text(interval.high)}]"
    return join(
        value_text(interval.value),
        " ",
        element("span", ends, class_="ends") if interval.high > interval.low else None,
    )


def _counted(column: pd.Series[Any]) -> Html:
    if column.empty:
        return join("–")
    counts = column.value_counts()
    if len(counts) == 1:
        return cell_markup(counts.index[0])
    parts = [
        f"{value_text(value)} {count}/{len(column)}" for value, count in counts.head(3).items()
    ]
    return join(", ".join(parts) + (", …" if len(counts) > 3 else ""))
