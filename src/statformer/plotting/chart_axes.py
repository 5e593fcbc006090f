"""Axes of a chart's panel: scales, ticks that read as numbers, names of categories, frame."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from statformer._extras import require
from statformer.plotting.chart import Panel
from statformer.plotting.chart_text import number_text, printable, wrapped

_MOST_PLACES = 7  # so many places on a logarithmic axis are ticks themselves


def linear_or_log(ax: Any, panel: Panel) -> None:
    """Set the scales; an axis without a positive number stays linear, as it could not be drawn."""
    if panel.log_x and any(x > 0 for x in _places(panel)):
        ax.set_xscale("log")
    heights: list[float] = [y for one in panel.series for y in one.y]
    heights += list(panel.heat.y) if panel.heat is not None else []
    if panel.log_y and any(y > 0 for y in heights):
        ax.set_yscale("log")


def dress_axes(ax: Any, panel: Panel, *, ink: str, muted: str, frame: str) -> None:
    """Ticks, names and frame, after all data is drawn."""
    if panel.categories is not None:
        _name_categories(ax, panel.categories)
    else:
        label_ticks(ax.xaxis, sorted(set(_places(panel))))
    label_ticks(ax.yaxis, sorted(set(panel.heat.y)) if panel.heat is not None else ())
    if panel.title:
        ax.set_title(wrapped(panel.title, 44), fontsize=10.5, color=ink, pad=7, loc="left")
    zeros = any(y == 0 for one in panel.series for y in one.y) and ax.get_yscale() == "log"
    x_label = f"{panel.x_label} (▽ is 0)" if zeros else panel.x_label
    ax.set_xlabel(wrapped(x_label, 44), fontsize=9.5, color=ink)
    ax.set_ylabel(wrapped(panel.y_label, 32), fontsize=9.5, color=ink)
    ax.tick_params(colors=muted, length=3, width=0.8, labelsize=9)
    if panel.heat is None:
        ax.grid(axis="y", color=frame, alpha=0.45, lw=0.6, zorder=0)
        ax.set_axisbelow(True)
    for side, spine in ax.spines.items():
        spine.set_visible(side in {"left", "bottom"})
        spine.set_color(frame)


def _places(panel: Panel) -> list[float]:
    places = [float(x) for one in panel.series for x in one.x]
    places += [float(x) for x in panel.heat.x] if panel.heat is not None else []
    return [x for x in places if math.isfinite(x)]


def label_ticks(axis: Any, places: Iterable[float] = ()) -> None:
    """Round numbers as ticks; on a logarithmic axis with few places, these places themselves."""
    ticker = require("matplotlib.ticker", "plot")
    axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: number_text(value)))
    axis.set_minor_locator(ticker.NullLocator())
    places = list(places)
    if axis.get_scale() != "log" and len(places) == 1:
        axis.set_major_locator(ticker.FixedLocator(places))
        return
    if axis.get_scale() != "log":
        axis.set_major_locator(ticker.MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
        return
    places = [place for place in places if place > 0]
    low, high = axis.get_view_interval()
    if 1 < len(places) <= _MOST_PLACES and _apart(places):
        axis.set_major_locator(ticker.FixedLocator(places))
    elif high / low < 20.0:
        axis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
    else:
        axis.set_major_locator(ticker.LogLocator(numticks=7))


def _apart(places: list[float]) -> bool:
    """Whether ticks at these places leave room for their numbers."""
    steps = np.diff(np.log(places))
    return bool(steps.min() >= 0.11 * steps.sum())


def _name_categories(ax: Any, categories: Iterable[str]) -> None:
    names = [name if len(name) <= 28 else f"{name[:27]}…" for name in map(printable, categories)]
    if max((len(name) for name in names), default=0) * len(names) > 44:
        ax.set_xticks(range(len(names)), names, rotation=30, ha="right", rotation_mode="anchor")
    else:
        ax.set_xticks(range(len(names)), names)
    ax.set_xlim(-0.6, len(names) - 0.4)
