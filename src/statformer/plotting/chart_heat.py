"""The heat map of a chart's panel: amounts on a continuous scale, or classes with their names."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from statformer._extras import require
from statformer.plotting.chart import HeatMap, Panel
from statformer.plotting.chart_axes import label_ticks
from statformer.plotting.chart_text import wrapped

_MAP = "viridis"
_CLASS_ENDS = (0.22, 0.96)  # within the map: dark enough and light enough for curves in between


def draw_heat(part: Any, ax: Any, panel: Panel, *, ink: str, muted: str) -> None:
    """Cells about their centres, half way to the next on the scale of the axis; a colour bar."""
    heat = panel.heat
    assert heat is not None
    colors = require("matplotlib.colors", "plot")
    z = np.asarray(heat.z, dtype=np.float64)
    z = np.where(z > 0, z, np.nan) if heat.log_z else z
    seen = np.ma.masked_invalid(z)
    spread = bool(seen.count()) and float(seen.max()) > float(seen.min())
    style: dict[str, Any] = {"cmap": _MAP, "norm": None}
    if heat.classes:
        style = _classes(len(heat.classes))
    elif heat.log_z and spread:
        style["norm"] = colors.LogNorm()
    mesh = ax.pcolormesh(
        *_edges_of(panel, heat), seen, rasterized=True, zorder=0, **style
    )  # as an image: cells drawn side by side show hair lines
    if heat.contours and spread and min(z.shape) >= 2:
        space = np.geomspace if heat.log_z else np.linspace
        levels = space(float(seen.min()), float(seen.max()), 9)[1:-1]
        ax.contour(heat.x, heat.y, seen, levels, colors="white", linewidths=0.7, alpha=0.75)
    bar = part.colorbar(mesh, ax=ax, pad=0.02, aspect=28)
    bar.set_label(wrapped(heat.label, 34), fontsize=9, color=ink)
    bar.ax.tick_params(labelsize=8.5, colors=muted, length=2.5)
    bar.solids.set_rasterized(True)
    if heat.classes:
        names = [wrapped(name, 18) for name in heat.classes]
        bar.set_ticks(range(len(names)), labels=names, rotation=90, va="center")
        bar.ax.tick_params(length=0)
    else:
        label_ticks(bar.ax.yaxis)
    bar.outline.set_visible(False)


def end_at_heat(ax: Any, panel: Panel) -> None:
    """Limits of the map, which curves do not widen; points do, as each of them counts."""
    assert panel.heat is not None
    points = [one for one in panel.series if one.style == "points"]
    ends = _edges_of(panel, panel.heat)
    for axis, edges, set_limits in (("x", ends[0], ax.set_xlim), ("y", ends[1], ax.set_ylim)):
        is_log = (ax.get_xscale() if axis == "x" else ax.get_yscale()) == "log"
        seen = [float(value) for one in points for value in getattr(one, axis)]
        seen = [value for value in seen if math.isfinite(value) and (value > 0 or not is_log)]
        set_limits(min(*edges, *seen), max(*edges, *seen))


def _classes(n: int) -> dict[str, Any]:
    """One colour for each of n classes, and borders half way between their numbers."""
    matplotlib, colors = require("matplotlib", "plot"), require("matplotlib.colors", "plot")
    chosen = matplotlib.colormaps[_MAP](np.linspace(*_CLASS_ENDS, n))
    norm = colors.BoundaryNorm(np.arange(n + 1) - 0.5, n)
    return {"cmap": colors.ListedColormap(chosen), "norm": norm}


def _edges_of(
    panel: Panel, heat: HeatMap
) -> tuple[Float[np.ndarray, " e"], Float[np.ndarray, " e"]]:
    return _edges(heat.x, panel.log_x), _edges(heat.y, panel.log_y)


def _edges(centres: Sequence[float], log: bool) -> Float[np.ndarray, " e"]:
    """Borders half way between neighbours; those at the ends as far out as the next ones in."""
    at = np.asarray(centres, dtype=np.float64)
    at = np.log(at) if log else at
    if len(at) == 1:
        edges = np.array([at[0] - 0.5, at[0] + 0.5])
    else:
        half = np.diff(at) / 2.0
        edges = np.concatenate([[at[0] - half[0]], at[:-1] + half, [at[-1] + half[-1]]])
    return np.exp(edges) if log else edges
