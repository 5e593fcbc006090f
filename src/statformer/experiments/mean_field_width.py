"""At a fixed depth the risk of a trained network nears its limit like M^(-1/2) in the width M.

arXiv 2410.23610, Theorem 3.1: for fixed tau, sup over s <= tau of |R_ML - R| is at most
C (1/L + sqrt((delta + log(L + 1)) / M)). The paper has no numerical check of it. The slope with its
tolerance (-0.5 ± 0.15), the task, the sizes and tau are ours. The slope is that of the gap to a
wide network of the same depth, whose limit has no floor of 1/L; the gap to the limit of depth as
well, which levels off at that floor, is in the figure. The wide network begins with mirrored
particles, which have the same law and less noise (ours).

The two faults are negative controls: time that is not scaled by M L, and heads that are summed.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd

from statformer.experiments._mean_field import (
    STEP,
    cloud,
    largest_gap,
    limit_risk,
    power_law,
    sequences,
    train_clouds,
)
from statformer.experiments.base import Cell, Control, Experiment, Row, Verdict
from statformer.plotting.chart import Chart, Panel, Series

DRAWS = 10
SHOWN = (4, 16, 64)  # widths of the curves


def measure(
    cell: Cell, rng: np.random.Generator, *, scaled: bool = True, summed: bool = False
) -> Sequence[Row]:
    """Gaps of ten networks of every width, and the mean risk over tau of some of them."""
    task, n_steps, depth = sequences(rng), cell["n_steps"], cell["depth"]
    wide = cloud(rng, 1, depth, cell["reference"] // 2).with_mirror_images()
    same_depth, limit = limit_risk(wide, task, n_steps)
    rows: list[Row] = []

    def curve(name: str, values: np.ndarray) -> None:
        """A point for every second step."""
        rows.extend(
            {"curve": name, "tau": STEP * k, "risk": float(values[k])}
            for k in range(0, n_steps + 1, 2)
        )

    width = 4
    while width <= cell["widest"]:
        found = train_clouds(
            cloud(rng, DRAWS, depth, width),
            task,
            n_steps,
            scaled=scaled,
            louder=float(width) if summed else 1.0,
        ).risk
        gaps = zip(largest_gap(found, same_depth), largest_gap(found, limit), strict=True)
        for draw, (gap, to_limit) in enumerate(gaps):
            rows.append(
                {"width": width, "draw": draw, "gap": float(gap), "gap_to_limit": float(to_limit)}
            )
        if width in SHOWN:
            curve(f"M = {width}", found[:, 0].numpy())
        width *= 2
    curve(f"M = {cell['reference']}", same_depth.numpy())
    curve("limit of depth", limit.numpy())
    return rows


def _gaps(table: pd.DataFrame) -> pd.DataFrame:
    rows = table[table["width"].notna()]
    return rows.assign(unit=rows["seed"].astype(int) * DRAWS + rows["draw"].astype(int))


def holds(table: pd.DataFrame) -> Verdict:
    """The slope of log gap on log M, at every depth."""
    verdicts = []
    for depth, rows in _gaps(table).groupby("depth"):
        x, y, units = (rows[name].to_numpy() for name in ("width", "gap", "unit"))
        verdicts.append(power_law(x, y, units, -0.5, f"the gap in M, L = {depth}")[1])
    return Verdict.all_of(*verdicts)


def figure(table: pd.DataFrame) -> Chart:
    """Risk over training time against the limit, one seed; and gaps over M."""
    panels = []
    for depth, here in table.groupby("depth"):
        first = here[here["seed"] == here["seed"].min()]
        curves = []
        for name, rows in first[first["curve"].notna()].groupby("curve", sort=False):
            curves.append(
                Series(
                    name,
                    rows["tau"].to_list(),
                    rows["risk"].to_list(),
                    style="line" if name.startswith("M") else "dashed",
                )
            )
        panels.append(Panel(f"Risk, L = {depth}, one draw each", "training time τ", "risk", curves))
        gaps, series = _gaps(here), []
        for column, label in (
            ("gap", "to a wide network of this depth"),
            ("gap_to_limit", "to the limit of depth too"),
        ):
            logs = np.log10(gaps[column]).groupby(gaps["width"])
            mean = logs.mean()
            half = 1.96 * logs.sem().fillna(0.0)
            series.append(
                Series(
                    label,
                    mean.index.to_list(),
                    (10.0**mean).to_list(),
                    (10.0 ** (mean - half)).to_list(),
                    (10.0 ** (mean + half)).to_list(),
                )
            )
        x, y, units = (gaps[name].to_numpy() for name in ("width", "gap", "unit"))
        fit, _ = power_law(x, y, units, -0.5, "")
        if fit is not None:
            ends = np.array([x.min(), x.max()])
            line = 10.0 ** (fit.intercept + fit.slope * np.log10(ends))
            series.append(
                Series(f"slope {fit.slope:.2f}", ends.tolist(), line.tolist(), style="dashed")
            )
        title = f"Distance from the limit, L = {depth}"
        panels.append(Panel(title, "width M", "sup |R − R_ref|", series, log_x=True, log_y=True))
    return Chart(panels, "Geometric means over networks and seeds with 95 % intervals.")


EXPERIMENT = Experiment(
    claim="At fixed depth the largest gap of the risk over training falls like M^(-1/2).",
    paper="2410.23610",
    source="Theorem 3.1, read in full; the paper has no numerical check of it",
    kind="learnability",
    grid={"depth": (4, 16), "widest": (512,), "reference": (2048,), "n_steps": (100,)},
    quick={"depth": (4,), "widest": (256,), "reference": (1024,), "n_steps": (40,)},
    tiny={"depth": (4,), "widest": (16,), "reference": (128,), "n_steps": (8,)},
    n_seeds=4,
    quick_seeds=2,
    measure=measure,
    holds=holds,
    figure=figure,
    not_the_authors="the paper has no such experiment: task, sizes, λ, step and τ are ours",
    controls={
        "time not scaled": Control(
            measure=partial(measure, scaled=False), says="steps of dQ/dbeta without M L"
        ),
        "summed heads": Control(
            measure=partial(measure, summed=True), says="heads are summed, not averaged"
        ),
    },
    control_size="quick",
    cost="quick 30 s on one core",
)
