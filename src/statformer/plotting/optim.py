"""Pictures of optimizers: losses along a run, losses by a setting, and times beside a rival's.

Axes: s seeds, p points of a curve, a places on an axis. Figures are made without pyplot; save one
with `figure.savefig(path)`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from statformer._extras import require
from statformer.plotting.mixture import COLOURS, GREY, INK, MARKERS

LINES = ("-", "--", ":")  # colours come back with the next of them
WIDTH, WIDTH_FIRST = 1.3, 2.4
SHADE, SHADE_FIRST = 0.05, 0.18
WIDE = 300.0  # a logarithmic axis that spans more is marked at powers of ten alone


@dataclass(frozen=True)
class CurvePanel:
    """Curves by name over the same x "p"; a curve is a matrix "s p" whose NaNs are not drawn."""

    title: str
    x: Sequence[float]
    curves: Mapping[str, Float[np.ndarray, "s p"]]
    x_label: str = "step"
    y_label: str = "loss"
    is_log_x: bool = False


@dataclass(frozen=True)
class RatioPanel:
    """By name: a ratio and its interval (value, low, high)."""

    title: str
    ratios: Mapping[str, tuple[float, float, float]]
    limit: float | None = None


def plot_curves(
    panels: Sequence[Sequence[CurvePanel]], *, title: str = "", first: Sequence[str] = ()
) -> Any:
    """Draw rows of panels; returns a matplotlib Figure.

    A line is the median of the seeds, its shade their least and greatest; y is logarithmic. Names
    in `first` get thick lines. A colour belongs to one name in all panels.

    Raises ValueError without panels, MissingExtraError without matplotlib.
    """
    if not panels or not panels[0]:
        raise ValueError("panels is empty; pass at least one row of CurvePanels")
    figures = require("matplotlib.figure", "plot")
    names = list(dict.fromkeys(n for row in panels for panel in row for n in panel.curves))
    n_columns = max(len(row) for row in panels)
    size = (3.7 * n_columns + 0.3, 2.9 * len(panels) + 1.0)
    figure = figures.Figure(figsize=size, dpi=130, layout="constrained")
    axes = figure.subplots(len(panels), n_columns, squeeze=False)
    for row, row_axes in zip(panels, axes, strict=True):
        for ax, panel in zip(row_axes, row, strict=False):
            _draw_curves(ax, panel, names, first)
        for ax in row_axes[len(row) :]:
            ax.set_axis_off()
    lines: dict[str, Any] = {}
    for ax in axes.flat:
        handles, labels = ax.get_legend_handles_labels()
        lines |= dict(zip(labels, handles, strict=True))
    shown = [name for name in names if name in lines]
    figure.legend(
        [lines[name] for name in shown],
        shown,
        loc="outside lower center",
        ncols=min(len(shown), 2 * n_columns),
        frameon=False,
        fontsize=8,
        labelcolor=INK,
    )
    if title:
        figure.suptitle(title, fontsize=12, color=INK, fontweight="bold")
    return figure


def plot_ratios(panels: Sequence[RatioPanel], *, title: str = "", x_label: str = "ratio") -> Any:
    """Draw a column of dots with intervals per panel, all on one logarithmic axis of ratios.

    A line stands at 1, a dashed one at the panel's limit. Returns a matplotlib Figure. Raises
    ValueError without panels, MissingExtraError without matplotlib.
    """
    if not panels:
        raise ValueError("panels is empty; pass at least one RatioPanel")
    figures = require("matplotlib.figure", "plot")
    n_columns = min(3, len(panels))
    n_rows = -(-len(panels) // n_columns)
    most = max(len(panel.ratios) for panel in panels)
    size = (3.1 * n_columns + 1.6, n_rows * (0.24 * most + 0.7) + 0.5)
    figure = figures.Figure(figsize=size, dpi=130, layout="constrained")
    axes = figure.subplots(n_rows, n_columns, squeeze=False, sharex=True, sharey=True)
    for ax in axes.flat[len(panels) :]:
        ax.set_axis_off()
    for ax, panel in zip(axes.flat, panels, strict=False):
        _draw_ratios(ax, panel)
    axes[0, 0].invert_yaxis()
    figure.supxlabel(x_label, fontsize=9, color=GREY)
    if title:
        figure.suptitle(title, fontsize=12, color=INK, fontweight="bold")
    return figure


def _draw_curves(ax: Any, panel: CurvePanel, names: Sequence[str], first: Sequence[str]) -> None:
    x = np.asarray(panel.x, dtype=np.float64)
    for name, found in panel.curves.items():
        curve = np.atleast_2d(np.asarray(found, dtype=np.float64))
        is_whole = np.isfinite(curve).all(axis=0)
        if not is_whole.any():
            continue
        place = names.index(name)
        colour = COLOURS[place % len(COLOURS)]
        middle, low, high = (f(curve[:, is_whole], axis=0) for f in (np.median, np.min, np.max))
        ax.plot(
            x[is_whole],
            middle,
            color=colour,
            ls=LINES[(place // len(COLOURS)) % len(LINES)],
            lw=WIDTH_FIRST if name in first else WIDTH,
            marker=MARKERS[place % len(MARKERS)] if panel.is_log_x else None,
            ms=4,
            label=name,
            zorder=3 if name in first else 2,
        )
        alpha = SHADE_FIRST if name in first else SHADE
        ax.fill_between(x[is_whole], low, high, color=colour, alpha=alpha, lw=0, zorder=1)
    _log(ax, "y")
    if panel.is_log_x:
        _log(ax, "x", panel.x)
    ax.set_title(panel.title, fontsize=9.5, color=INK)
    ax.set_xlabel(panel.x_label, fontsize=8, color=GREY)
    ax.set_ylabel(panel.y_label, fontsize=8, color=GREY)
    _plain(ax)


def _draw_ratios(ax: Any, panel: RatioPanel) -> None:
    for i, (value, low, high) in enumerate(panel.ratios.values()):
        colour = COLOURS[0] if panel.limit is None or value <= panel.limit else COLOURS[1]
        ax.plot([low, high], [i, i], color=colour, lw=2.0, alpha=0.5)
        ax.plot([value], [i], color=colour, marker="o", ms=4)
    ax.axvline(1.0, color=GREY, lw=0.8)
    if panel.limit is not None:
        ax.axvline(panel.limit, color=GREY, lw=0.8, ls="--")
    _log(ax, "x")
    ax.set_yticks(range(len(panel.ratios)), list(panel.ratios))
    ax.set_title(panel.title, fontsize=9, color=INK)
    _plain(ax)


def _log(ax: Any, axis: str, ticks: Sequence[float] = ()) -> None:
    """A logarithmic axis with plain numbers: `ticks`, or powers of ten and, if few, 2 and 5 each.

    Call it when all is drawn.
    """
    ticker = require("matplotlib.ticker", "plot")
    ax.set(**{f"{axis}scale": "log"})
    own = ax.xaxis if axis == "x" else ax.yaxis
    low, high = own.get_view_interval()
    subs = (1.0, 2.0, 5.0) if high < WIDE * low else (1.0,)
    own.set_major_locator(ticker.FixedLocator(ticks) if ticks else ticker.LogLocator(subs=subs))
    own.set_major_formatter(ticker.FormatStrFormatter("%g"))
    own.set_minor_locator(ticker.NullLocator())


def _plain(ax: Any) -> None:
    ax.tick_params(which="both", labelsize=7.5, colors=GREY, length=3)
    for side, spine in ax.spines.items():
        spine.set_visible(side in {"left", "bottom"})
        spine.set_color("#BBBBBB")
