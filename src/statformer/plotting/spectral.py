"""Curves in small multiples: how an error moves with what makes a table harder or larger.

Axes: q places along a curve. Figures are made without pyplot; save one with `figure.savefig(path)`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from statformer._extras import require
from statformer.plotting.mixture import COLOURS, GREY, INK, MARKERS

COLUMNS = 4


@dataclass(frozen=True)
class Curve:
    """Values at places, and the ends of their intervals where there are any; all of length q."""

    at: Sequence[float]
    values: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()


@dataclass(frozen=True)
class CurvePanel:
    """Curves by name on one pair of axes.

    log    which axes are logarithmic: "", "x", "y" or "xy"
    mark   a place on the x axis and what it is; drawn as a vertical line
    names  what to write at places of the x axis instead of numbers
    """

    title: str
    curves: Mapping[str, Curve]
    x: str = ""
    y: str = ""
    log: str = ""
    mark: tuple[float, str] | None = None
    names: Mapping[float, str] = field(default_factory=dict)


def plot_curves(
    panels: Sequence[CurvePanel],
    *,
    ours: Collection[str] = (),
    columns: int = COLUMNS,
    title: str = "",
) -> Any:
    """Draw each panel; returns a matplotlib Figure.

    A name has the same colour and marker in every panel, and one place in the legend below them.
    Names in `ours` are drawn bold and on top. Intervals are shaded for those alone, so that many
    curves stay readable. Raises ValueError without panels, MissingExtraError without matplotlib.
    """
    if not panels:
        raise ValueError("panels is empty; pass at least one CurvePanel")
    figures = require("matplotlib.figure", "plot")
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    size = (3.3 * columns + 0.3, 2.9 * rows + 1.1)
    figure = figures.Figure(figsize=size, dpi=130, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    order = list(dict.fromkeys(name for panel in panels for name in panel.curves))
    handles: dict[str, Any] = {}
    for ax, panel in zip(axes, panels, strict=False):
        for name, curve in panel.curves.items():
            handles[name] = _draw(ax, name, curve, order.index(name), name in ours)
        _frame(ax, panel)
    for ax in axes[len(panels) :]:
        ax.set_axis_off()
    names = [name for name in order if name in handles]
    figure.legend(
        [handles[name] for name in names],
        names,
        loc="outside lower center",
        ncols=min(len(names), columns + 1),
        frameon=False,
        fontsize=8.5,
        labelcolor=INK,
    )
    if title:
        figure.suptitle(title, fontsize=13, color=INK, fontweight="bold")
    return figure


def _draw(ax: Any, name: str, curve: Curve, style: int, is_ours: bool) -> Any:
    colour = COLOURS[style % len(COLOURS)]
    (line,) = ax.plot(
        curve.at,
        curve.values,
        color=colour,
        marker=MARKERS[style % len(MARKERS)],
        ls="-" if style < len(COLOURS) else "--",
        lw=2.4 if is_ours else 1.2,
        ms=5.5 if is_ours else 3.5,
        alpha=1.0 if is_ours else 0.85,
        zorder=3 if is_ours else 2,
        label=name,
    )
    if is_ours and len(curve.low):
        ax.fill_between(curve.at, curve.low, curve.high, color=colour, alpha=0.18, lw=0, zorder=1)
    return line


def _frame(ax: Any, panel: CurvePanel) -> None:
    if "x" in panel.log:
        ax.set_xscale("log")
    if "y" in panel.log:
        ax.set_yscale("log")
    else:
        ax.set_ylim(0.0, 1.05 * max(ax.dataLim.ymax, 1e-9))
    if panel.mark is not None:
        at, words = panel.mark
        ax.axvline(at, color=GREY, lw=1.0, ls="--", zorder=1)
        ax.annotate(
            words,
            (at, 0.98),
            xycoords=("data", "axes fraction"),
            xytext=(-3, 0),
            textcoords="offset points",
            ha="right",
            va="top",
            rotation=90,
            fontsize=7,
            color=GREY,
        )
    if panel.names:
        ax.set_xticks(list(panel.names), list(panel.names.values()))
        ax.minorticks_off()
    ax.set_title(panel.title, fontsize=10, color=INK, pad=6)
    ax.set_xlabel(panel.x, fontsize=8.5, color=GREY)
    ax.set_ylabel(panel.y, fontsize=8.5, color=GREY)
    ax.tick_params(labelsize=8, colors=GREY, length=3)
    for side, spine in ax.spines.items():
        spine.set_visible(side in {"left", "bottom"})
        spine.set_color("#BBBBBB")
