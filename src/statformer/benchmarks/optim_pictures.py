"""Pictures of what the optimizer bench measured: step times, curves of losses, sensitivity."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from statformer.benchmarks.optim_methods import OURS, TUNED
from statformer.benchmarks.optim_run import SCHEDULES
from statformer.benchmarks.optim_step_time import FOREACH
from statformer.benchmarks.optim_targets import MOST_OVER
from statformer.benchmarks.optim_training import losses
from statformer.benchmarks.sheet import Cells
from statformer.plotting.optim import CurvePanel, RatioPanel, plot_curves, plot_ratios

KINDS = {"train": "training", "test": "held out"}


def draw(data: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write a PNG per kind of picture that the cells allow; returns their paths.

    Raises MissingExtraError without matplotlib.
    """
    cells: Cells = data["cells"]
    figures: dict[str, Any] = {}
    if timed := _step_time(cells):
        title = "Time of an optimizer's step over that of torch's AdamW (foreach)"
        words = "ratio: median of rounds and its interval; dashed: the limit set for AdamPP"
        figures["optim-step-time"] = plot_ratios(timed, title=title, x_label=words)
    if curves := _curves(cells):
        title = "Losses along a run: median, least and greatest of the seeds"
        figures["optim-curves"] = plot_curves(curves, title=title, first=(OURS, TUNED))
    if swept := _sensitivity(cells):
        title = "Final training loss by one setting, all else at its default"
        figures["optim-sensitivity"] = plot_curves(swept, title=title, first=(OURS,))
    found = []
    for name, figure in figures.items():
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}.png"
        figure.savefig(path)
        found.append(path)
    return found


def _step_time(cells: Cells) -> list[RatioPanel]:
    """A panel per size, of AdamW's and our forms and the rivals."""
    panels = []
    for key, cell in cells.items():
        if "ratio" not in cell:
            continue
        ratios = {
            name: (ratio["value"], ratio["low"], ratio["high"])
            for name, ratio in cell["ratio"][FOREACH].items()
            if name != FOREACH
        }
        title = key.partition(": ")[2].replace(", ", ",\n")
        if cell["device"] != "cpu":
            title += f",\n{cell['device']}"
        panels.append(RatioPanel(title, ratios, limit=MOST_OVER[FOREACH]))
    return panels


def _curves(cells: Cells) -> list[list[CurvePanel]]:
    """A row per task; in it the schedules, training and held out."""
    mine = [cell for cell in cells.values() if cell["part"] == "b" and "method" in cell]
    rows = []
    for task in dict.fromkeys(cell["task"] for cell in mine):
        row = []
        for schedule in SCHEDULES:
            some = [c for c in mine if (c["task"], c["schedule"]) == (task, schedule)]
            for kind, words in KINDS.items():
                if some:
                    found = {cell["method"]: losses(cell, kind) for cell in some}
                    title = f"{task}\n{schedule}, {words}"
                    row.append(CurvePanel(title, some[0]["steps"], found))
        rows.append(row)
    return rows


def _sensitivity(cells: Cells) -> list[list[CurvePanel]]:
    """A row per task; in it the axes."""
    mine = [cell for cell in cells.values() if cell["part"] == "c"]
    rows = []
    for task in dict.fromkeys(cell["task"] for cell in mine):
        row = []
        for axis in dict.fromkeys(cell["axis"] for cell in mine):
            some = [cell for cell in mine if (cell["task"], cell["axis"]) == (task, axis)]
            if some:
                found = {
                    cell["method"]: np.array(cell["final train"], dtype=np.float64).T
                    for cell in some
                }
                words = {"x_label": axis, "y_label": "final training loss", "is_log_x": True}
                row.append(CurvePanel(task, some[0]["at"], found, **words))
        rows.append(row)
    return rows
