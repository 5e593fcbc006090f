"""Pictures of what the bench measured: reliability of the judge, of responsibilities, of P(K).

Axes: k bins.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from statformer.benchmarks import calibration, judging, unknown_k
from statformer.benchmarks.battery_targets import in_prior_and_left_out, measured
from statformer.benchmarks.sheet import Cells
from statformer.plotting.calibration import ReliabilityPanel, plot_reliability


def draw(data: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write a PNG per kind of picture that the cells allow; returns their paths.

    Raises MissingExtraError without matplotlib.
    """
    cells: Cells = data["cells"]
    makers = {
        "expected-ari": _expected_ari(cells),
        "responsibilities": _responsibilities(cells),
        "number-of-clusters": _numbers(cells),
    }
    found = []
    for name, panels in makers.items():
        if panels:
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"{name}.png"
            plot_reliability(panels).savefig(path)
            found.append(path)
    return found


def _expected_ari(cells: Cells) -> list[ReliabilityPanel]:
    panels = []
    for group, mine in in_prior_and_left_out(cells, "h").items():
        if mine:
            curves = {n: judging.pooled_bins(mine, n) for n in (judging.JUDGE, judging.ALONE)}
            words = ("expected ARI", "mean ARI")
            panels.append(ReliabilityPanel(f"labelings, {group}", curves, *words))
    return panels


def _responsibilities(cells: Cells) -> list[ReliabilityPanel]:
    panels = []
    for group, mine in in_prior_and_left_out(cells, "i").items():
        if mine:
            curves = {
                name: np.sum([np.array(cell["reliability"][name]) for cell in mine], axis=0)
                for name in calibration.METHODS
            }
            words = ("largest responsibility", "share of rows that are right")
            panels.append(ReliabilityPanel(f"responsibilities, {group}", curves, *words))
    return panels


def _numbers(cells: Cells) -> list[ReliabilityPanel]:
    if not measured(cells, "g"):
        return []
    panels = []
    for group, mine in in_prior_and_left_out(cells, "g").items():
        if mine:
            curves = {name: unknown_k.reliability(mine, name) for name in unknown_k.METHODS}
            words = ("probability of the mode", "share of tables where it is right")
            panels.append(ReliabilityPanel(f"P(K), {group}", curves, *words))
    return panels
