"""Draws a `Chart`: curves, points, bars and heat maps that read the same without colour.

A label has one colour, marker and dash in all panels of a chart. Text is plain: no markup is read
in it. Figures are made without pyplot; `plotting.chart_svg` turns them into SVG.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from jaxtyping import Float

from statformer._extras import require
from statformer.plotting.chart import Chart, Panel, Series
from statformer.plotting.chart_axes import dress_axes, linear_or_log
from statformer.plotting.chart_heat import draw_heat, end_at_heat
from statformer.plotting.chart_text import wrapped
from statformer.plotting.mixture import MARKERS

# After Okabe and Ito (2008), in their order; the lighter ones are darkened to a contrast of 3 : 1
# against white. Each has a partner for a dark page in `chart_svg`.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#B8558F", "#9A6B00", "#3A93C6", "#4D4D4D")
INK, MUTED, FRAME = "#1F2328", "#59616B", "#B4B9C0"
COLUMNS = 3
PANEL_INCHES = (4.0, 2.9)
_LEGEND_INCHES = 0.19  # of one line
_MOST_MARKED = 30  # a curve with more places has no markers
_GAP = 0.14  # between points over one name
_STYLE = {"text.parse_math": False, "axes.unicode_minus": True, "font.size": 9.0}


def draw_chart(chart: Chart) -> Any:
    """All panels side by side, at most three in a row; returns a matplotlib Figure.

    Lines have a band, points and bars a whisker where low and high are given. On a logarithmic
    axis a value of 0 is a hollow triangle at the edge, and a negative one is left out. Raises
    MissingExtraError without matplotlib.
    """
    columns = min(COLUMNS, len(chart.panels))
    rows = [chart.panels[at : at + columns] for at in range(0, len(chart.panels), columns)]
    heights = [max(_panel_height(panel) for panel in row) for row in rows]
    with plain_text():
        figure = _figure(PANEL_INCHES[0] * columns, sum(heights))
        parts = figure.subfigures(len(rows), columns, squeeze=False, height_ratios=heights)
        order = _labels(chart)
        for part, panel in zip(parts.ravel(), chart.panels, strict=False):
            _draw_panel(part, panel, order)
        _lay_out(figure)
    return figure


def draw_panels(chart: Chart) -> list[Any]:
    """A Figure for each panel, with the colours that `draw_chart` gives its labels.

    Narrow pages put them below each other. Raises MissingExtraError without matplotlib.
    """
    figures = []
    for panel in chart.panels:
        with plain_text():
            figure = _figure(PANEL_INCHES[0], _panel_height(panel))
            _draw_panel(figure, panel, _labels(chart))
            _lay_out(figure)
        figures.append(figure)
    return figures


@contextmanager
def plain_text() -> Iterator[None]:
    """No "$...$"; and no complaint where the font lacks a letter, as browsers have others."""
    matplotlib = require("matplotlib", "plot")
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        warnings.filterwarnings("ignore", message="Matplotlib currently does not support")
        yield


def _figure(width: float, height: float) -> Any:
    figures = require("matplotlib.figure", "plot")
    figure = figures.Figure(figsize=(width, height), dpi=100, layout="constrained")
    figure.patch.set_alpha(0.0)
    figure.get_layout_engine().set(w_pad=0.06, h_pad=0.06)
    return figure


def _lay_out(figure: Any) -> None:
    """Fix the layout now, so that a later save measures no text again."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")


def _labels(chart: Chart) -> list[str]:
    return list(dict.fromkeys(one.label for panel in chart.panels for one in panel.series))


def _panel_height(panel: Panel) -> float:
    return PANEL_INCHES[1] + _LEGEND_INCHES * _legend_lines(panel)


def _legend_names(panel: Panel) -> list[str]:
    names = [wrapped(one.label, 46) for one in panel.series]
    if panel.rule is not None and panel.rule_label:
        names.append(wrapped(panel.rule_label, 46))
    return names


def _legend_columns(names: Sequence[str]) -> int:
    longest = max((len(name) for name in names), default=0)
    most = 3 if longest <= 11 and len(names) != 4 else 2 if longest <= 20 else 1
    return max(1, min(len(names), most))


def _legend_lines(panel: Panel) -> int:
    names = _legend_names(panel)
    lines = sum(name.count("\n") + 1 for name in names)
    return math.ceil(lines / _legend_columns(names))


def _draw_panel(part: Any, panel: Panel, order: Sequence[str]) -> None:
    effects = require("matplotlib.patheffects", "plot")
    ax = part.subplots()
    ax.patch.set_alpha(0.0)
    linear_or_log(ax, panel)
    if panel.heat is not None:
        draw_heat(part, ax, panel, ink=INK, muted=MUTED)
    bars = [one for one in panel.series if one.style == "bars"]
    points = [one for one in panel.series if one.style == "points"]
    handles = []
    for series in panel.series:
        number = order.index(series.label)
        if series.style == "bars":
            handles.append(_draw_bars(ax, series, number, bars.index(series), len(bars)))
        else:
            is_named = panel.categories is not None and series in points
            aside = _GAP * (points.index(series) - (len(points) - 1) / 2) if is_named else 0.0
            handles.append(_draw_curve(ax, series, number, aside))
            if panel.heat is not None:
                is_points = series.style == "points"
                width = 2.0 if is_points else 3.4
                handles[-1].set_path_effects(
                    [effects.withStroke(linewidth=width, foreground="white")]
                )
                if is_points:
                    handles[-1].set(markersize=3.8, alpha=1.0)
                elif series.style == "line":
                    handles[-1].set_marker("none")
    if panel.rule is not None and (panel.rule > 0 or ax.get_yscale() == "linear"):
        rule = ax.axhline(panel.rule, color=INK, lw=1.1, ls=(0, (4, 3)), zorder=1.5)
        handles += [rule] if panel.rule_label else []
    if panel.heat is not None:
        end_at_heat(ax, panel)
    dress_axes(ax, panel, ink=INK, muted=MUTED, frame=FRAME)
    names = _legend_names(panel)
    if names:
        part.legend(
            handles,
            names,
            loc="outside lower center",
            ncols=_legend_columns(names),
            frameon=False,
            fontsize=9,
            labelcolor=INK,
            handlelength=2.2,
            columnspacing=1.4,
            labelspacing=0.35,
        )


def _draw_curve(ax: Any, series: Series, number: int, aside: float) -> Any:
    """`aside` moves it along x, so that points over one name do not cover each other."""
    colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
    x, y = (np.asarray(values, dtype=np.float64) for values in (series.x, series.y))
    x = x + aside
    shown = _positive_where_log(ax, y)
    dash: Any = "-" if number < len(COLOURS) else (0, (5, 1.5, 1, 1.5))
    style: dict[str, Any] = {"color": colour, "lw": 1.7, "ls": dash, "zorder": 3, "ms": 4.8}
    if series.style == "dashed":
        style |= {"ls": (0, (5, 2.5)), "lw": 1.5}
    elif series.style == "points" or len(x) <= _MOST_MARKED:
        style |= {"marker": marker, "markeredgewidth": 0}
    if series.style == "points":
        style |= {"ls": "none", "ms": 5.5 if len(x) <= _MOST_MARKED else 3.5, "alpha": 0.85}
    (line,) = ax.plot(x, shown, **style)
    if series.low is not None and series.high is not None:
        low, high = (np.asarray(end, dtype=np.float64) for end in (series.low, series.high))
        if series.style == "points":
            _draw_whiskers(ax, x, shown, low, high, colour)
        else:
            low = _floored_where_log(ax, low, shown)
            ax.fill_between(x, low, high, color=colour, alpha=0.16, lw=0, zorder=2)
    if ax.get_yscale() == "log" and (y == 0).any():
        _mark_zeros(ax, x[y == 0], colour)
    return line


def _draw_bars(ax: Any, series: Series, number: int, place: int, n_series: int) -> Any:
    x, y = (np.asarray(values, dtype=np.float64) for values in (series.x, series.y))
    steps = np.diff(np.unique(x[np.isfinite(x)]))
    room = 0.8 * (float(steps.min()) if len(steps) else 1.0)
    width = room / n_series
    at = x - room / 2 + width * (place + 0.5)
    colour = COLOURS[number % len(COLOURS)]
    shown = _positive_where_log(ax, y)
    bars = ax.bar(at, shown, width=0.92 * width, color=colour, linewidth=0, zorder=2)
    if series.low is not None and series.high is not None:
        low, high = (np.asarray(end, dtype=np.float64) for end in (series.low, series.high))
        _draw_whiskers(ax, at, shown, low, high, INK)
    if ax.get_yscale() == "log" and (y == 0).any():
        _mark_zeros(ax, at[y == 0], colour)
    return bars


def _draw_whiskers(
    ax: Any,
    x: Float[np.ndarray, " q"],
    y: Float[np.ndarray, " q"],
    low: Float[np.ndarray, " q"],
    high: Float[np.ndarray, " q"],
    colour: str,
) -> None:
    low = _floored_where_log(ax, low, y)
    seen = np.isfinite(x) & np.isfinite(low) & np.isfinite(high)
    ax.vlines(x[seen], low[seen], high[seen], color=colour, lw=1.1, zorder=3)


def _positive_where_log(ax: Any, y: Float[np.ndarray, " q"]) -> Float[np.ndarray, " q"]:
    return np.where(y > 0, y, np.nan) if ax.get_yscale() == "log" else y


def _floored_where_log(
    ax: Any, low: Float[np.ndarray, " q"], y: Float[np.ndarray, " q"]
) -> Float[np.ndarray, " q"]:
    """A lower end of at most 0 has no place on a logarithmic axis; a decade below will do."""
    return np.where(low > 0, low, y / 10.0) if ax.get_yscale() == "log" else low


def _mark_zeros(ax: Any, x: Float[np.ndarray, " q"], colour: str) -> None:
    style = {"transform": ax.get_xaxis_transform(), "color": colour, "clip_on": False, "zorder": 4}
    ax.plot(x, np.full(len(x), 0.0), ls="none", marker="v", ms=6, mfc="none", mew=1.2, **style)
