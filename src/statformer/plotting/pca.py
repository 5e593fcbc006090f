"""Principal components in one picture: the rows along two of them, shares of variance, loadings.

Axes: points n, features d, components k. Figures are made without pyplot, so that no global state
of matplotlib is touched; save one with `figure.savefig(path)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from statformer._extras import require
from statformer.plotting.mixture import COLOURS, GREY, INK, MOST_POINTS

MOST_BARS = 12
LEAST_SLOTS = 4  # bars that there is room for
MOST_COLUMNS = 16  # of the table, in the panel of loadings
MOST_LOADED = 6  # components there
NOTABLE = 0.5  # rows of a smaller weight are drawn on top
FRAME = 4.0  # how often the half-width of the central 90 % of the rows is in the picture
HEAVY, LIGHT, PALE = COLOURS[0], COLOURS[1], "#F4F4F4"
_NOISE_SEED = 0


@dataclass(frozen=True)
class ComponentView:
    """What there is to draw.

    scores "n k", row_weights "n" between 0 and 1 and what they are, shares "k" of the variance,
    loadings "k d"; n_rest directions that are no component, with the rest of the variance.
    """

    scores: Float[np.ndarray, "n k"]
    row_weights: Float[np.ndarray, " n"]
    shares: Float[np.ndarray, " k"]
    loadings: Float[np.ndarray, "k d"]
    feature_names: Sequence[str]
    n_rest: int = 0
    weight_name: str = "weight of the row"


def plot_components(view: ComponentView, *, title: str = "") -> Any:
    """Draw the three panels; returns a matplotlib Figure.

    Rows are coloured by their weight where weights differ. A row beyond the frame, which reaches 4
    times as far as the central 90 % of the rows, is a triangle on its border. Above 5,000 rows a
    fixed random part is drawn, and the rows of least weight. With one component, fixed noise parts
    the points.

    Raises ValueError where nothing or something that is not finite is to be drawn,
    MissingExtraError without matplotlib.
    """
    if view.scores.size == 0 or not np.isfinite(view.scores).all():
        raise ValueError(f"scores must be a finite table, got shape {view.scores.shape}")
    figures = require("matplotlib.figure", "plot")
    n_loaded = min(MOST_LOADED, len(view.loadings))
    loaded_width = 1.7 + 0.62 * n_loaded
    figure = figures.Figure(figsize=(9.0 + loaded_width, 4.9), dpi=150, layout="constrained")
    widths = [5.0, 3.2, loaded_width]
    points, bars, cells = figure.subplots(1, 3, width_ratios=widths)
    _draw_points(figure, points, view)
    _draw_shares(bars, view)
    _draw_loadings(cells, view, n_loaded)
    figure.get_layout_engine().set(w_pad=0.10, h_pad=0.10)
    if title:
        figure.suptitle(title, fontsize=13, color=INK, fontweight="bold")
    return figure


def chosen_rows(row_weights: Float[np.ndarray, " n"]) -> Int[np.ndarray, " m"]:
    """The rows that are drawn, the lightest last: all, or 5,000, a tenth of them the lightest."""
    order = np.argsort(-row_weights, kind="stable")
    if len(order) <= MOST_POINTS:
        return order
    n_light = MOST_POINTS // 10
    rest = np.random.default_rng(_NOISE_SEED).choice(
        len(order) - n_light, MOST_POINTS - n_light, replace=False
    )
    return np.concatenate([order[np.sort(rest)], order[-n_light:]])


def frame_of(
    points: Float[np.ndarray, "n 2"],
) -> tuple[Float[np.ndarray, " 2"], Float[np.ndarray, " 2"]]:
    """Lower and upper corner of what is shown."""
    low, high = np.quantile(points, (0.05, 0.95), axis=0)
    middle, half = (low + high) / 2.0, (high - low) / 2.0
    half = np.where(half > 0, half, np.abs(points - middle).max(axis=0))
    half = np.where(half > 0, half, 1.0)
    least = np.maximum(points.min(axis=0), middle - FRAME * half)
    most = np.minimum(points.max(axis=0), middle + FRAME * half)
    room = 0.06 * np.maximum(most - least, 1e-3 * half)
    return least - room, most + room


def _draw_points(figure: Any, ax: Any, view: ComponentView) -> None:
    points, weights = _plane(view.scores), view.row_weights
    low, high = frame_of(points)
    rows = chosen_rows(weights)
    inside = np.all((points >= low) & (points <= high), axis=1)
    shown = np.clip(points, low, high)
    differ = bool(np.ptp(weights) > 1e-6)
    colours = _ramp([LIGHT, "#E7B98F", "#9DBFD6", HEAVY])
    size = float(np.clip(7000 / len(rows), 5, 26))
    style: dict[str, Any] = {"cmap": colours, "vmin": 0.0, "vmax": 1.0, "linewidths": 0}
    for part, marker, factor in ((inside, "o", 1.0), (~inside, "^", 1.6)):
        for notable in (False, True):
            is_light = weights[rows] < NOTABLE
            at = rows[part[rows] & (is_light if notable else ~is_light)]
            ax.scatter(
                *shown[at].T,
                c=weights[at],
                marker=marker,
                s=size * factor * (1.5 if notable else 1.0),
                alpha=0.95 if notable else 0.7,
                zorder=3 if notable else 2,
                clip_on=False,
                **style,
            )
    ax.set_xlim(low[0], high[0])
    ax.set_ylim(low[1], high[1])
    _name_axes(ax, view, n_beyond=int((~inside).sum()))
    if differ:
        mappable = require("matplotlib.cm", "plot").ScalarMappable(cmap=colours)
        mappable.set_clim(0.0, 1.0)
        bar = figure.colorbar(mappable, ax=ax, location="right", shrink=0.55, aspect=22, pad=0.02)
        bar.outline.set_visible(False)
        bar.ax.tick_params(labelsize=7.5, colors=GREY, length=0)
        bar.set_label(view.weight_name, fontsize=8.5, color=GREY)


def _plane(scores: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n 2"]:
    if scores.shape[1] > 1:
        return scores[:, :2]
    noise = np.random.default_rng(_NOISE_SEED).uniform(-1, 1, len(scores))
    return np.column_stack([scores[:, 0], noise])


def _name_axes(ax: Any, view: ComponentView, n_beyond: int) -> None:
    ax.set_title(f"{len(view.scores):,} rows", fontsize=10.5, color=INK, pad=8)
    ax.set_xlabel(f"component 1 ({view.shares[0]:.0%} of variance)", fontsize=8.5, color=GREY)
    if view.scores.shape[1] > 1:
        ax.set_ylabel(f"component 2 ({view.shares[1]:.0%} of variance)", fontsize=8.5, color=GREY)
    else:
        ax.set_yticks([])
        ax.set_ylabel("noise, to part the points", fontsize=8.5, color=GREY)
    if n_beyond:
        rows = "1 row" if n_beyond == 1 else f"{n_beyond:,} rows"
        ax.text(
            0.99, 0.99, f"▲ {rows} further out", fontsize=8, color=GREY,
            ha="right", va="top", transform=ax.transAxes,
        )  # fmt: skip
    _plain(ax)


def _draw_shares(ax: Any, view: ComponentView) -> None:
    """Bars of the first components, and the sum of what is left."""
    shown = view.shares[:MOST_BARS]
    names = [str(j + 1) for j in range(len(shown))]
    n_rest = view.n_rest + len(view.shares) - len(shown)
    heights = [float(share) for share in shown]
    if n_rest:
        heights.append(max(1.0 - float(shown.sum()), 0.0))
        names.append(f"{n_rest}\nmore")
    colours = [HEAVY] * len(shown) + ["#C9C9C9"]
    at = np.arange(len(heights))
    ax.bar(at, heights, width=0.72, color=colours[: len(heights)], linewidth=0)
    if len(heights) <= 8:
        for x, height in zip(at, heights, strict=True):
            ax.annotate(
                f"{height:.0%}", (x, height), xytext=(0, 3), textcoords="offset points",
                ha="center", fontsize=8, color=INK,
            )  # fmt: skip
    ax.set_xticks(at, names)
    ax.set_xlim(-0.6, max(len(heights), LEAST_SLOTS) - 0.4)
    ax.set_ylim(0, max(*heights, 1e-9) * 1.12)
    ax.set_yticks([])
    ax.set_title("share of the variance", fontsize=10.5, color=INK, pad=8)
    ax.set_xlabel("component", fontsize=8.5, color=GREY)
    _plain(ax)
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="x", length=0)


def _draw_loadings(ax: Any, view: ComponentView, n_loaded: int) -> None:
    """A cell for each column and component; of many columns those with the largest loadings."""
    loadings = view.loadings[:n_loaded]
    size = np.abs(loadings).max(axis=0)
    kept = np.sort(np.argsort(-size, kind="stable")[:MOST_COLUMNS])
    values = loadings[:, kept].T
    ax.imshow(values, cmap=_ramp([LIGHT, PALE, HEAVY]), vmin=-1.0, vmax=1.0, aspect="auto")
    for (i, j), value in np.ndenumerate(values):
        colour = "white" if abs(value) > 0.6 else INK
        text = f"{value:.2f}".replace("-0.00", "0.00").replace("-", "−")
        ax.text(j, i, text, ha="center", va="center", fontsize=7.5, color=colour)
    names = [_short(view.feature_names[j]) for j in kept]
    ax.set_yticks(np.arange(len(kept)), names, fontsize=8)
    ax.set_xticks(np.arange(n_loaded), [str(j + 1) for j in range(n_loaded)])
    of_all = "" if len(kept) == len(size) else f", {len(kept)} of {len(size)} columns"
    ax.set_title(f"loadings{of_all}", fontsize=10.5, color=INK, pad=8)
    ax.set_xlabel("component", fontsize=8.5, color=GREY)
    _plain(ax)
    ax.tick_params(length=0)
    ax.tick_params(axis="y", labelcolor=INK)
    for spine in ax.spines.values():
        spine.set_visible(False)


def _ramp(colours: Sequence[str]) -> Any:
    colormaps = require("matplotlib.colors", "plot")
    return colormaps.LinearSegmentedColormap.from_list("weights", list(colours))


def _short(name: str, most: int = 22) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"


def _plain(ax: Any) -> None:
    ax.tick_params(labelsize=8, colors=GREY, length=3)
    for side, spine in ax.spines.items():
        spine.set_visible(side in {"left", "bottom"})
        spine.set_color("#BBBBBB")
