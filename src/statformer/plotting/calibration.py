"""Reliability curves: what was predicted against what came true, by bins of the prediction.

Axes: k bins. Figures are made without pyplot; save one with `figure.savefig(path)`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from statformer._extras import require
from statformer.plotting.mixture import COLOURS, GREY, INK, MARKERS

LEAST_SHARE = 0.002  # bins with a smaller share of all cases are not drawn


@dataclass(frozen=True)
class ReliabilityPanel:
    """Curves by name. A curve is a matrix "k 3": cases, sum of predictions and sum of outcomes."""

    title: str
    curves: Mapping[str, Float[np.ndarray, "k 3"]]
    x: str = "predicted"
    y: str = "came true"


def plot_reliability(panels: Sequence[ReliabilityPanel], *, title: str = "") -> Any:
    """Draw each panel; returns a matplotlib Figure.

    A point is a bin: mean prediction and mean outcome, its area the share of cases. On the
    diagonal, predictions are right on average. The legend has sum_k |prediction - outcome| / cases.

    Raises ValueError without panels, MissingExtraError without matplotlib.
    """
    if not panels:
        raise ValueError("panels is empty; pass at least one ReliabilityPanel")
    figures = require("matplotlib.figure", "plot")
    size = (4.2 * len(panels) + 0.4, 4.9)
    figure = figures.Figure(figsize=size, dpi=150, layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for ax, panel in zip(axes, panels, strict=True):
        _draw(ax, panel)
    if title:
        figure.suptitle(title, fontsize=13, color=INK, fontweight="bold")
    return figure


def _draw(ax: Any, panel: ReliabilityPanel) -> None:
    ax.plot([0, 1], [0, 1], color=GREY, lw=1.0, ls="--", zorder=1)
    for i, (name, curve) in enumerate(panel.curves.items()):
        bins = np.asarray(curve, dtype=np.float64)
        total = bins[:, 0].sum()
        seen = bins[bins[:, 0] > LEAST_SHARE * max(total, 1.0)]
        if not len(seen):
            continue
        at, came = seen[:, 1] / seen[:, 0], seen[:, 2] / seen[:, 0]
        gap = np.abs(bins[:, 1] - bins[:, 2]).sum() / total
        colour = COLOURS[i % len(COLOURS)]
        label = f"{name}: {gap:.3f}"
        ax.plot(at, came, color=colour, lw=1.6, zorder=2, label=label)
        area = 12.0 + 140.0 * seen[:, 0] / total
        ax.scatter(at, came, s=area, color=colour, marker=MARKERS[i % len(MARKERS)], zorder=3)
    ax.set_title(panel.title, fontsize=10.5, color=INK, pad=8)
    ax.set_xlabel(panel.x, fontsize=8.5, color=GREY)
    ax.set_ylabel(panel.y, fontsize=8.5, color=GREY)
    ax.set_xlim(-0.03, 1.03)
    ax.set_ylim(-0.03, 1.03)
    ax.tick_params(labelsize=8, colors=GREY, length=3)
    for side, spine in ax.spines.items():
        spine.set_visible(side in {"left", "bottom"})
        spine.set_color("#BBBBBB")
    if ax.get_legend_handles_labels()[0]:
        ax.legend(frameon=False, fontsize=8, labelcolor=INK, loc="upper left")
