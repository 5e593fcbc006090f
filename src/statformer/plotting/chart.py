"""A figure as plain data: panels of curves, points, bars or a heat map. Nothing is drawn here.

Whoever measures makes a `Chart`; `plotting.chart_drawing` draws it. A chart passes through JSON, so
that a page can be built of recorded results alone. Numbers that are not finite are gaps.

Axes: q places along a curve.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Style = Literal["line", "points", "dashed", "bars"]
STYLES: tuple[Style, ...] = ("line", "points", "dashed", "bars")


@dataclass(frozen=True)
class Series:
    """Values y "q" at places x "q", with the ends of their intervals where there are any.

    Raises ValueError where lengths differ or only one end is given.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None
    style: Style = "line"

    def __post_init__(self) -> None:
        if self.style not in STYLES:
            raise ValueError(f"style must be one of {STYLES}, got {self.style!r}")
        if (self.low is None) != (self.high is None):
            raise ValueError(f"series {self.label!r} has one of low and high; pass both or none")
        for name, values in (("y", self.y), ("low", self.low), ("high", self.high)):
            if values is not None and len(values) != len(self.x):
                raise ValueError(
                    f"{name} of series {self.label!r} has {len(values)} numbers for "
                    f"{len(self.x)} places x; pass one for each"
                )


@dataclass(frozen=True)
class HeatMap:
    """z[i][j] is the value at y[i] and x[j], the centres of its cell; `label` says what it is.

    log_z     colours by the logarithm; values of at most 0 stay blank
    contours  adds contour lines (needs at least two rows and two columns)
    classes   names of the values 0, 1, ... where the map tells kinds, not amounts, such as one side
              of a threshold from the other

    Raises ValueError where z is not a table of len(y) rows and len(x) columns, or where there are
    classes and a finite z is none of them.
    """

    x: Sequence[float]
    y: Sequence[float]
    z: Sequence[Sequence[float]]
    label: str
    log_z: bool = False
    contours: bool = False
    classes: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not len(self.x) or not len(self.y):
            raise ValueError("a HeatMap needs at least one x and one y")
        widths = {len(row) for row in self.z}
        if len(self.z) != len(self.y) or widths != {len(self.x)}:
            raise ValueError(
                f"z must have {len(self.y)} rows (y) of {len(self.x)} numbers (x), "
                f"got {len(self.z)} rows of {sorted(widths)}"
            )
        numbers = {value for row in self.z for value in row if math.isfinite(value)}
        if self.classes and not numbers <= set(range(len(self.classes))):
            raise ValueError(
                f"z must have values 0 to {len(self.classes) - 1} for classes={self.classes}, got "
                f"{sorted(numbers)[:5]}"
            )


@dataclass(frozen=True)
class Panel:
    """One pair of axes.

    heat        a heat map below the series; lines end where it ends
    categories  names under the places 0, 1, ... of the x axis, for bars and points
    rule        a horizontal dashed line, such as a threshold, and what it is
    """

    title: str
    x_label: str
    y_label: str
    series: Sequence[Series] = ()
    log_x: bool = False
    log_y: bool = False
    heat: HeatMap | None = None
    categories: Sequence[str] | None = None
    rule: float | None = None
    rule_label: str = ""


@dataclass(frozen=True)
class Chart:
    """Panels side by side and one caption. Raises ValueError without panels."""

    panels: Sequence[Panel]
    caption: str = ""

    def __post_init__(self) -> None:
        if not len(self.panels):
            raise ValueError("panels is empty; pass at least one Panel")

    def in_words(self) -> str:
        """What is drawn, for those who do not see it: each panel's axes, curves and their ends."""
        return " ".join(_panel_in_words(panel) for panel in self.panels)

    def to_json(self) -> dict[str, Any]:
        """Lists, texts and numbers only; `from_json` reverses it. What is not finite is None."""
        return {"caption": self.caption, "panels": [_panel_json(panel) for panel in self.panels]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Chart:
        """The chart that `to_json` wrote. Raises KeyError or TypeError where it is another's."""
        return cls([_read_panel(panel) for panel in data["panels"]], data["caption"])


def _numbers(values: Sequence[float] | None) -> list[float | None] | None:
    """Python's own numbers, also from numpy's and torch's; None for what is not finite."""
    if values is None:
        return None
    return [float(value) if math.isfinite(value) else None for value in values]


def _read_numbers(values: Sequence[float | None] | None) -> list[float] | None:
    return None if values is None else [math.nan if value is None else value for value in values]


def _panel_json(panel: Panel) -> dict[str, Any]:
    heat = panel.heat
    return {
        "title": panel.title,
        "x_label": panel.x_label,
        "y_label": panel.y_label,
        "series": [
            {
                "label": series.label,
                "style": series.style,
                **{name: _numbers(getattr(series, name)) for name in ("x", "y", "low", "high")},
            }
            for series in panel.series
        ],
        "log_x": bool(panel.log_x),
        "log_y": bool(panel.log_y),
        "heat": None if heat is None else _heat_json(heat),
        "categories": None if panel.categories is None else [str(one) for one in panel.categories],
        "rule": None if panel.rule is None else float(panel.rule),
        "rule_label": panel.rule_label,
    }


def _heat_json(heat: HeatMap) -> dict[str, Any]:
    return {
        "x": _numbers(heat.x),
        "y": _numbers(heat.y),
        "z": [_numbers(row) for row in heat.z],
        "label": heat.label,
        "log_z": bool(heat.log_z),
        "contours": bool(heat.contours),
        "classes": [str(one) for one in heat.classes],
    }


def _read_panel(data: Mapping[str, Any]) -> Panel:
    series = [
        Series(
            label=one["label"],
            x=_read_numbers(one["x"]) or [],
            y=_read_numbers(one["y"]) or [],
            low=_read_numbers(one["low"]),
            high=_read_numbers(one["high"]),
            style=one["style"],
        )
        for one in data["series"]
    ]
    heat = data["heat"]
    if heat is not None:
        rows = [_read_numbers(row) or [] for row in heat["z"]]
        x, y = _read_numbers(heat["x"]) or [], _read_numbers(heat["y"]) or []
        options = heat["log_z"], heat["contours"], heat.get("classes", ())
        heat = HeatMap(x, y, rows, heat["label"], *options)
    return Panel(**{**data, "series": series, "heat": heat})


def _panel_in_words(panel: Panel) -> str:
    words = f"{panel.title}: " if panel.title else ""
    if panel.heat is not None:
        cells = [value for row in panel.heat.z for value in row if math.isfinite(value)]
        ends = f" from {min(cells):.3g} to {max(cells):.3g}" if cells else ""
        if panel.heat.classes:
            parts = [f"{name} in {cells.count(i)}" for i, name in enumerate(panel.heat.classes)]
            ends = f" ({', '.join(parts)} of {len(cells)} cells)"
        words += f"map of {panel.heat.label}{ends}, {panel.y_label} over {panel.x_label}."
    else:
        words += f"{panel.y_label} over {panel.x_label}."
    return words + "".join(f" {_series_in_words(one, panel)}" for one in panel.series)


def _series_in_words(series: Series, panel: Panel) -> str:
    seen = [(x, y) for x, y in zip(series.x, series.y, strict=True) if math.isfinite(y)]
    if not seen:
        return f"{series.label}: no values."

    def place(x: float) -> str:
        names, at = panel.categories, int(x) if math.isfinite(x) else -1
        return names[at] if names is not None and 0 <= at < len(names) else f"{x:.3g}"

    if panel.categories is not None:
        return f"{series.label}: " + ", ".join(f"{y:.3g} at {place(x)}" for x, y in seen) + "."
    (first, start), (last, end) = seen[0], seen[-1]
    return f"{series.label}: {start:.3g} at {place(first)}, {end:.3g} at {place(last)}."
