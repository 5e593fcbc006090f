"""A gallery of tables whose clusters are known: one panel per piece of a prior.

Axes: points n, features d.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from statformer._extras import require
from statformer.plotting.mixture import COLOURS, GREY, INK, MARKERS, principal_view

COLUMNS = 6
_NOISE = "#9A9A9A"
_MANY_COLUMNS = 2  # a wider table is seen along its two principal directions
_LARGEST = 4.0  # a frame reaches at most this many times as far as the central 90 % of the rows


@dataclass(frozen=True)
class Specimen:
    """A table and its truth: X is NaN where missing, y is -1 for a point of no component."""

    title: str
    X: Float[np.ndarray, "n d"]
    y: Int[np.ndarray, " n"]
    is_categorical: Bool[np.ndarray, " d"]
    note: str = ""


def plot_specimens(specimens: Sequence[Specimen], *, title: str = "") -> Any:
    """Draw each table in a panel, coloured by its truth; returns a matplotlib Figure.

    Tables of two columns are drawn as they are, wider ones along their two principal directions
    (standardised columns, missing cells at the median), tables of one column against fixed noise.
    Points of no component are grey crosses. In tables of two columns a row with a missing cell is a
    tick on the axis of the cell that it has, in wider ones a ring; codes get a little noise, so
    that equal ones do not overprint. Frames leave out what lies very far away.

    Raises ValueError where there is nothing to draw, MissingExtraError without matplotlib.
    """
    if not specimens:
        raise ValueError("specimens is empty; pass at least one table")
    figures = require("matplotlib.figure", "plot")
    columns = min(COLUMNS, len(specimens))
    rows = -(-len(specimens) // columns)
    size = (2.5 * columns + 0.3, 2.65 * rows + 0.6)
    figure = figures.Figure(figsize=size, dpi=120, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax, specimen in zip(axes, specimens, strict=False):
        _draw(ax, specimen)
    for ax in axes[len(specimens) :]:
        ax.set_axis_off()
    if title:
        figure.suptitle(title, fontsize=13, color=INK, fontweight="bold")
    return figure


def _draw(ax: Any, specimen: Specimen) -> None:
    X, y = specimen.X, specimen.y
    missing = np.isnan(X).any(axis=1)
    as_it_is = X.shape[1] == _MANY_COLUMNS
    points = _jittered(X, specimen.is_categorical) if as_it_is else _projected(X)
    size = float(np.clip(2500 / len(X), 3, 12))
    for c in range(-1, int(y.max()) + 1):
        style: dict[str, Any] = {"s": size, "linewidths": 0, "alpha": 0.8}
        style |= {"c": COLOURS[c % len(COLOURS)], "marker": MARKERS[c // len(COLOURS) % 6]}
        if c < 0:
            style = {"s": 1.5 * size, "linewidths": 0.7, "c": _NOISE, "marker": "x", "alpha": 0.9}
        own = y == c
        ax.scatter(*points[own & ~missing].T, zorder=1 if c < 0 else 2, **style)
        if as_it_is:
            _draw_ticks(ax, points[own & missing], style["c"])
        elif c >= 0:
            style |= {"facecolors": "none", "edgecolors": style.pop("c"), "linewidths": 0.6}
            ax.scatter(*points[own & missing].T, zorder=2, **style)
        else:
            ax.scatter(*points[own & missing].T, zorder=1, **style)
    _frame(ax, points)
    ax.set_title(specimen.title, fontsize=9.5, color=INK, pad=4)
    if specimen.note:
        ax.set_xlabel(specimen.note, fontsize=7, color=GREY, labelpad=3)
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_color("#CCCCCC")


def _jittered(
    X: Float[np.ndarray, "n d"], is_categorical: Bool[np.ndarray, " d"]
) -> Float[np.ndarray, "n d"]:
    noise = np.random.default_rng(0).uniform(-0.28, 0.28, X.shape)
    return X + noise * is_categorical


def _projected(X: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n 2"]:
    """Principal directions; columns are filled, and cut off 5 mean deviations from the middle."""
    middle = np.nanmedian(X, axis=0)
    away = np.nan_to_num(X - middle)
    scale = np.abs(away).mean(axis=0)
    view = principal_view(np.clip(away / np.where(scale > 0, scale, 1.0), -5.0, 5.0))
    points: Float[np.ndarray, "n 2"] = view.points
    return points


def _draw_ticks(ax: Any, points: Float[np.ndarray, "n 2"], colour: str) -> None:
    """Rows with one cell of two: a tick on the axis of the cell that is there."""
    style: dict[str, Any] = {"s": 14, "c": colour, "linewidths": 0.6, "alpha": 0.7, "zorder": 3}
    has_x, has_y = ~np.isnan(points[:, 0]), ~np.isnan(points[:, 1])
    low = np.full(int(has_x.sum()), 0.02)
    ax.scatter(points[has_x, 0], low, marker="|", transform=ax.get_xaxis_transform(), **style)
    left = np.full(int(has_y.sum()), 0.02)
    ax.scatter(left, points[has_y, 1], marker="_", transform=ax.get_yaxis_transform(), **style)


def _frame(ax: Any, points: Float[np.ndarray, "n 2"]) -> None:
    low, high = np.nanquantile(points, (0.05, 0.95), axis=0)
    middle, half = (low + high) / 2.0, (high - low) / 2.0 + 1e-9
    least = np.maximum(np.nanmin(points, axis=0), middle - _LARGEST * half)
    most = np.minimum(np.nanmax(points, axis=0), middle + _LARGEST * half)
    room = 0.08 * np.maximum(most - least, 1e-9)
    ax.set_xlim(least[0] - room[0], most[0] + room[0])
    ax.set_ylim(least[1] - room[1], most[1] + room[1])
