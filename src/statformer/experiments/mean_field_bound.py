"""The risk's gap to its limit stays below one constant times 1/L + sqrt((delta + log(L+1)) / M).

arXiv 2410.23610, Theorem 3.1: with probability 1 - 3 e^(-delta), for some constant C. Its value is
not found; here it is 0.1 (ours), at delta = log 60, a probability of 95 %: at M = 128 and L = 16 it
allows 0.03, where the risk begins near 0.1. That the constant does not grow with depth is asked as
a slope in L of at most 0.15 (ours). The limit is 2 R_16 - R_8 of a wide network. The paper has no
numerical check; the task, the sizes and tau are ours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd

from statformer.experiments._mean_field import (
    cloud,
    largest_gap,
    limit_risk,
    sequences,
    train_clouds,
)
from statformer.experiments.base import Cell, Control, Experiment, Row, Verdict
from statformer.plotting.chart import Chart, HeatMap, Panel, Series
from statformer.runs.fits import fit_line

DELTA = math.log(60.0)
CONSTANT, GROWTH = 0.1, 0.15
REFERENCE_DEPTH = 8


def gap_bound(width: float, depth: float) -> float:
    """1/L + sqrt((delta + log(L + 1)) / M)."""
    return 1.0 / depth + math.sqrt((DELTA + math.log(depth + 1.0)) / width)


def measure(cell: Cell, rng: np.random.Generator, *, undivided: bool = False) -> Sequence[Row]:
    """Gap over bound of some networks at every width and depth; all have one limit."""
    task, n_steps = sequences(rng), cell["n_steps"]
    wide = cloud(rng, 1, REFERENCE_DEPTH, cell["reference"] // 2).with_mirror_images()
    _, limit = limit_risk(wide, task, n_steps)
    rows = []
    for power in range(cell["widths"]):
        for level in range(cell["depths"]):
            width, depth = 8 * 4**power, 2 ** (level + 1)
            found = train_clouds(
                cloud(rng, cell["draws"], depth, width),
                task,
                n_steps,
                louder=0.5 * depth if undivided else 1.0,
            ).risk
            gaps = np.minimum(largest_gap(found, limit), 1e6)
            rows += [
                {
                    "width": width,
                    "depth": depth,
                    "draw": draw,
                    "gap": float(gap),
                    "ratio": float(gap) / gap_bound(width, depth),
                }
                for draw, gap in enumerate(gaps)
            ]
    return rows


def holds(table: pd.DataFrame) -> Verdict:
    """The largest ratio of all, and the slope of its logarithm in L."""
    units = (table["seed"].astype(str) + "/" + table["draw"].astype(str)).to_numpy()
    x, y = np.log10(table["depth"].to_numpy()), np.log10(table["ratio"].to_numpy())
    fit = fit_line(x, y, np.random.default_rng(0), units)
    return Verdict.all_of(
        Verdict.below(
            float(table["ratio"].max()),
            CONSTANT,
            threshold_source="ours",
            what="largest gap / bound",
        ),
        Verdict.below(
            fit.slope,
            GROWTH,
            threshold_source="ours",
            interval=fit.interval,
            what="slope of log gap / bound in log L",
        ),
    )


def figure(table: pd.DataFrame) -> Chart:
    """The largest gap over the bound, cell by cell; and gaps over L."""
    largest = table.pivot_table(index="depth", columns="width", values="ratio", aggfunc="max")
    heat = HeatMap(
        [float(x) for x in largest.columns],
        [float(y) for y in largest.index],
        largest.to_numpy().tolist(),
        "largest gap / bound",
        log_z=True,
    )
    series = []
    for width, rows in table.groupby("width"):
        logs = np.log10(rows["gap"]).groupby(rows["depth"])
        mean, half = logs.mean(), 1.96 * logs.sem().fillna(0.0)
        series.append(
            Series(
                f"M = {width}",
                mean.index.to_list(),
                (10.0**mean).to_list(),
                (10.0 ** (mean - half)).to_list(),
                (10.0 ** (mean + half)).to_list(),
            )
        )
    return Chart(
        [
            Panel("Gap / bound", "width M", "depth L", heat=heat, log_x=True, log_y=True),
            Panel("The gap itself", "depth L", "sup |R − R_limit|", series, log_x=True, log_y=True),
        ],
        "Right: geometric means over networks and seeds with 95 % intervals.",
    )


EXPERIMENT = Experiment(
    claim="The gap of the risk to its limit is below one constant times the theorem's bound, and "
    "the constant does not grow with depth.",
    paper="2410.23610",
    source="Theorem 3.1, read in full; the paper has no numerical check of it",
    kind="learnability",
    grid={"widths": (4,), "depths": (5,), "draws": (10,), "reference": (2048,), "n_steps": (50,)},
    quick={"widths": (3,), "depths": (4,), "draws": (8,), "reference": (512,), "n_steps": (40,)},
    tiny={"widths": (1,), "depths": (3,), "draws": (8,), "reference": (64,), "n_steps": (4,)},
    n_seeds=4,
    quick_seeds=2,
    measure=measure,
    holds=holds,
    figure=figure,
    not_the_authors="the paper has no such experiment: task, sizes, λ, step and τ are ours",
    controls={
        "depth not divided": Control(
            measure=partial(measure, undivided=True), says="every layer steps as if L were 2"
        )
    },
    cost="quick 46 s on one core",
)
