"""The gap of AdaGrad++ and Adam++ shrinks at least like 1/sqrt(T) on convex functions.

arXiv 2412.19444: both theorems, seen through its abstract and its reviews; constants and the
averaging rule were not found. Ours: piecewise linear functions of 10 coordinates, exact
subgradients or one term at a time, the mean of the iterates weighed by eta, the default start.
Adam++ runs as the theorem wants it (falling momentum; the sum, or the maximum over v) and as its
authors run it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd

from statformer.experiments._optimizer_convex import ALGORITHMS, Make, PiecewiseLinear, descend
from statformer.experiments.base import Cell, Control, Experiment, Row, Verdict
from statformer.optim import AdamPP
from statformer.plotting.chart import Chart, Panel, Series
from statformer.runs.intervals import mean_interval

FIRST = 100  # steps from which the slope is fitted


def measure(cell: Cell, rng: np.random.Generator, make: Make | None = None) -> Sequence[Row]:
    """The gap at 13 numbers of steps from 100 on, evenly spaced in log T."""
    problem = PiecewiseLinear.drawn(10, rng)
    n_steps = np.unique(np.geomspace(FIRST, cell["most"], 13).astype(int)).tolist()
    path = descend(problem, make or ALGORITHMS[cell["algorithm"]], n_steps, rng, cell["noisy"])
    return [
        {"T": T, "gap": gap, "last": last}
        for T, gap, last in zip(path.n_steps, path.gap, path.last, strict=True)
    ]


def slopes(rows: pd.DataFrame) -> list[float]:
    """Of log gap over log T, one per seed."""
    return [
        float(np.polyfit(np.log(one["T"]), np.log(one["gap"].clip(lower=1e-12)), 1)[0])
        for _, one in rows.groupby("seed")
    ]


def holds(table: pd.DataFrame) -> Verdict:
    """Every algorithm's mean slope is at most -1/2, with its interval over seeds."""
    verdicts = []
    for (algorithm, noisy), rows in table.groupby(["algorithm", "noisy"]):
        found = mean_interval([np.array(slopes(rows))])
        what = f"slope of {algorithm}, {'one term at a time' if bool(noisy) else 'exact'}"
        verdicts.append(
            Verdict.below(
                found.value,
                -0.5,
                interval=(found.low, found.high),
                threshold_source="paper",
                what=what,
            )
        )
    return Verdict.all_of(*verdicts)


def figure(table: pd.DataFrame) -> Chart:
    """Gap over T; the dashed line falls like 1/sqrt(T)."""
    panels = []
    for noisy, rows in table.groupby("noisy"):
        series = []
        for algorithm, some in rows.groupby("algorithm"):
            by_T = some.groupby("T")["gap"]
            middle, low, high = by_T.median(), by_T.min(), by_T.max()
            series.append(
                Series(
                    str(algorithm),
                    list(middle.index),
                    middle.to_list(),
                    low.to_list(),
                    high.to_list(),
                )
            )
        T = sorted(rows["T"].unique())
        top = float(rows[rows["T"] == T[0]]["gap"].max())
        series.append(Series("1/sqrt(T)", T, [top * (T[0] / t) ** 0.5 for t in T], style="dashed"))
        title = "One term at a time" if bool(noisy) else "Exact subgradients"
        panels.append(Panel(title, "steps T", "f(mean) - minimum", series, log_x=True, log_y=True))
    return Chart(panels, "Median over functions; bands from the least to the largest.")


EXPERIMENT = Experiment(
    claim="On convex functions the gap of AdaGrad++ and Adam++ shrinks at least like 1/sqrt(T).",
    paper="2412.19444",
    source="theorems on AdaGrad++ and Adam++, from the abstract and reviews; item 1 of what a "
    "reproduction must show",
    kind="existence",
    grid={"algorithm": tuple(ALGORITHMS), "noisy": (False, True), "most": (100_000,)},
    quick={"algorithm": tuple(ALGORITHMS), "noisy": (False, True), "most": (10_000,)},
    tiny={"algorithm": ("AdaGrad++",), "noisy": (True,), "most": (4000,)},
    n_seeds=10,
    quick_seeds=5,
    tiny_seeds=2,
    measure=measure,
    holds=holds,
    figure=figure,
    not_the_authors="functions, dimension, start and averaging are ours; the paper's were not "
    "found",
    controls={
        "no distance": Control(
            measure=partial(measure, make=lambda p: AdamPP(p, eta0=1e-6, freeze_after=1)),
            size="tiny",
            says="eta stays at its start of 1e-6",
        )
    },
    cost="quick 45 s, full 15 min on one core",
)
