"""Clusterings of one table side by side, seen along its two principal directions.

Axes: points n, features d, components c. Figures are made without pyplot, so that no global state
of matplotlib is touched; save one with `figure.savefig(path)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment

from statformer._extras import require

# Okabe and Ito's palette (2008), told apart with any colour vision; light yellow is left out.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#4D4D4D")
MARKERS = ("o", "s", "^", "D", "v", "P")
MOST_POINTS = 5000
LEGEND_COLUMNS = 3
STANDARD_DEVIATIONS = 2.0
INK, GREY = "#222222", "#767676"


@dataclass(frozen=True)
class Panel:
    """One clustering of the rows, and its centres in the columns of the table where it has any.

    `certainty` is the probability of each row's own cluster; rows without one are drawn as certain.
    `names` says how the legend calls cluster c. Without it the legend shows numbers, and those of
    later panels are the numbers of the first panel's clusters, as their colours are.
    """

    title: str
    labels: Int[np.ndarray, " n"]
    certainty: Float[np.ndarray, " n"] | None = None
    means: Float[np.ndarray, "c d"] | None = None
    covariances: Float[np.ndarray, "c d d"] | None = None
    names: Sequence[str] | None = None


def plot_clusters(
    X: Float[np.ndarray, "n d"],
    panels: Sequence[Panel],
    *,
    feature_names: Sequence[str] | None = None,
    title: str = "",
) -> Any:
    """Draw each panel in the plane of the principal directions of X; returns a matplotlib Figure.

    Columns are divided by their standard deviation first. A centre (mu, Sigma) appears as the
    ellipse of two standard deviations of its shadow, (P' mu, P' Sigma P) with P (d, 2) the
    directions. Clusters of later panels take the colours of the clusters of the first that they
    share most rows with (Hungarian algorithm). Above 5,000 rows a fixed random part is drawn.

    Raises ValueError where X is not a finite table, MissingExtraError without matplotlib.
    """
    if X.ndim != 2 or X.shape[0] == 0 or X.shape[1] == 0 or not np.isfinite(X).all():
        raise ValueError(f"X must be a finite table of rows and columns, got shape {X.shape}")
    figures = require("matplotlib.figure", "plot")
    view = principal_view(X)
    most = max(int(panel.labels.max()) + 1 for panel in panels)
    size = (4.4 * len(panels) + 0.4, 5.2 + 0.2 * max(0, -(-most // LEGEND_COLUMNS) - 2))
    figure = figures.Figure(figsize=size, dpi=150, layout="constrained")
    axes = figure.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)[0]
    rows = _drawn_rows(len(X))
    for ax, panel in zip(axes, panels, strict=True):
        styles = match_colours(panels[0].labels, panel.labels)
        _draw_centres(ax, view, panel, styles)
        _draw_points(ax, view, panel, styles, rows)
        _dress(ax, panel)
    _frame_on_points(axes[0], view.points)
    _name_axes(axes, view, feature_names)
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.10)
    if title:
        figure.suptitle(title, fontsize=13, color=INK, fontweight="bold")
    return figure


@dataclass(frozen=True)
class View:
    """Where the camera stands: centre, scale and two directions, and the rows seen from there."""

    centre: Float[np.ndarray, " d"]
    scale: Float[np.ndarray, " d"]
    directions: Float[np.ndarray, "d 2"]
    share: Float[np.ndarray, " 2"]
    points: Float[np.ndarray, "n 2"]

    def shadow(
        self, mean: Float[np.ndarray, " d"], covariance: Float[np.ndarray, "d d"]
    ) -> tuple[Float[np.ndarray, " 2"], Float[np.ndarray, "2 2"]]:
        """Mean and covariance of a centre in the plane."""
        P = self.directions / self.scale[:, None]
        return (mean - self.centre) @ P, P.T @ covariance @ P


def principal_view(X: Float[np.ndarray, "n d"]) -> View:
    """The two directions of most variance of the standardised columns; signs by largest loading.

    A table of one column gets a second axis of fixed noise, so that its points do not overprint.
    """
    centre, scale = X.mean(axis=0), X.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    Z = (X - centre) / scale
    _, spread, V = np.linalg.svd(Z, full_matrices=False)
    P = V[:2].T
    P = P * np.sign(P[np.abs(P).argmax(axis=0), np.arange(P.shape[1])])
    total = float((spread**2).sum()) or 1.0
    share, points = spread[:2] ** 2 / total, Z @ P
    if P.shape[1] == 1:
        noise = np.random.default_rng(0).uniform(-1, 1, len(X))
        P, share = np.hstack([P, np.zeros_like(P)]), np.array([share[0], 0.0])
        points = np.column_stack([points, noise])
    return View(centre, scale, P, share, points)


def match_colours(
    reference: Int[np.ndarray, " n"], labels: Int[np.ndarray, " n"]
) -> Int[np.ndarray, " c"]:
    """For each cluster of `labels`, the number of the cluster of `reference` whose style it takes.

    The matching shares as many rows as possible; clusters left over take numbers left over.
    """
    n_reference, n_labels = int(reference.max()) + 1, int(labels.max()) + 1
    shared = np.zeros((n_labels, n_reference))
    np.add.at(shared, (labels, reference), 1)
    mine, theirs = linear_sum_assignment(-shared)
    styles = np.full(n_labels, -1)
    styles[mine] = theirs
    free = iter(range(n_reference, n_reference + n_labels))
    return np.array([style if style >= 0 else next(free) for style in styles])


def _drawn_rows(n: int) -> Int[np.ndarray, " n"]:
    if n <= MOST_POINTS:
        return np.arange(n)
    return np.sort(np.random.default_rng(0).choice(n, MOST_POINTS, replace=False))


def _colour(style: int) -> str:
    return COLOURS[style % len(COLOURS)]


def _marker(style: int) -> str:
    return MARKERS[(style // len(COLOURS)) % len(MARKERS)]


def _draw_points(
    ax: Any, view: View, panel: Panel, styles: Int[np.ndarray, " c"], rows: Int[np.ndarray, " n"]
) -> None:
    size = float(np.clip(9000 / len(rows), 6, 26))
    n_clusters = len(styles)
    for c in np.argsort(styles):
        style = int(styles[c])
        members = rows[panel.labels[rows] == c]
        alpha = np.full(len(members), 0.75)
        if panel.certainty is not None and n_clusters > 1:
            sure = (panel.certainty[members] - 1 / n_clusters) / (1 - 1 / n_clusters)
            alpha = 0.15 + 0.65 * np.clip(sure, 0, 1)
        ax.scatter(
            *view.points[members].T,
            s=size,
            c=_colour(style),
            marker=_marker(style),
            alpha=alpha,
            linewidths=0,
            zorder=2,
        )
        count = int((panel.labels == c).sum())
        name = panel.names[c] if panel.names is not None else str(style)
        ax.scatter(
            [], [], s=30, c=_colour(style), marker=_marker(style), label=f"{name}: {count:,}"
        )


def _draw_centres(ax: Any, view: View, panel: Panel, styles: Int[np.ndarray, " c"]) -> None:
    if panel.means is None or panel.covariances is None:
        return
    patches = require("matplotlib.patches", "plot")
    for c, style in enumerate(styles):
        mean, covariance = view.shadow(panel.means[c], panel.covariances[c])
        variances, axes = np.linalg.eigh(covariance)
        width, height = 2 * STANDARD_DEVIATIONS * np.sqrt(np.maximum(variances[::-1], 0))
        if view.share[1] == 0:
            height = 2.0
        angle = float(np.degrees(np.arctan2(axes[1, 1], axes[0, 1])))
        shape = {"xy": mean, "width": width, "height": height, "angle": angle}
        colour = _colour(style)
        ax.add_patch(patches.Ellipse(**shape, facecolor=colour, alpha=0.10, zorder=1))
        ax.add_patch(patches.Ellipse(**shape, fill=False, edgecolor=colour, lw=1.8, zorder=3))
        ax.plot(*mean, marker="+", ms=11, mew=4.5, color="white", zorder=4)
        ax.plot(*mean, marker="+", ms=9, mew=2.2, color=colour, zorder=5)


def _dress(ax: Any, panel: Panel) -> None:
    ax.set_title(panel.title, fontsize=10.5, color=INK, pad=8)
    ax.tick_params(labelsize=8, colors=GREY, length=3)
    for side, spine in ax.spines.items():
        spine.set_visible(side in {"left", "bottom"})
        spine.set_color("#BBBBBB")
    n_clusters = int(panel.labels.max()) + 1
    ax.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, -0.17),
        ncols=min(n_clusters, LEGEND_COLUMNS),
        frameon=False,
        fontsize=8.5,
        labelcolor=INK,
        handletextpad=0.2,
        columnspacing=1.2,
        title="rows in each cluster" if panel.names is None else "rows with each label",
        title_fontproperties={"size": 8.5},
    )


def _frame_on_points(ax: Any, points: Float[np.ndarray, "n 2"]) -> None:
    """Limits that show every row; an ellipse may leave the frame, a row may not."""
    low, high = points.min(axis=0), points.max(axis=0)
    room = 0.10 * np.maximum(high - low, 1e-9)
    ax.set_xlim(low[0] - room[0], high[0] + room[0])
    ax.set_ylim(low[1] - room[1], high[1] + room[1])


def _name_axes(axes: Any, view: View, feature_names: Sequence[str] | None) -> None:
    for ax in axes:
        ax.set_xlabel(_axis_name(view, 0, feature_names), fontsize=8.5, color=GREY)
    if view.share[1] == 0:
        axes[0].set_yticks([])
        axes[0].set_ylabel("noise, to part the points", fontsize=8.5, color=GREY)
    else:
        axes[0].set_ylabel(_axis_name(view, 1, feature_names), fontsize=8.5, color=GREY)


def _axis_name(view: View, axis: int, feature_names: Sequence[str] | None) -> str:
    """'principal direction 1 (58 %): + flipper_length_mm, - bill_depth_mm'."""
    name = f"principal direction {axis + 1} ({view.share[axis]:.0%} of variance)"
    if feature_names is None:
        return name
    loadings = view.directions[:, axis]
    foremost = np.argsort(-np.abs(loadings))[:2]
    foremost = foremost[np.abs(loadings[foremost]) >= 0.3]
    terms = [f"{'+' if loadings[j] > 0 else '−'} {feature_names[j]}" for j in foremost]
    return f"{name}\n{'  '.join(terms)}" if terms else name
