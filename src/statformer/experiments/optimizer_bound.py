"""AdaGrad++ stays under a bound that can be computed along its path (arXiv 2412.19444).

The paper proves O(1/sqrt(T)) for convex objectives; its inequality was not found. The bound here is
derived by us: for exact subgradients of a convex f with minimiser x*, xbar the eta-weighted mean of
x_0..x_{T-1}, D the largest |x_{t,i} - x*_i|, and H the sum of delta + s_{T-1},

    f(xbar) - f(x*) <= (D^2 H / 2 + eta_{T-1}^2 sum_i s_{T-1,i}) / sum_t eta_t.

Expand ||x_{t+1} - x*||^2 in the norm of H_t, which never falls, telescope, and use
sum_t g_t^2 / s_t <= 2 s_{T-1} in every coordinate. Problems, sizes and starts are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd

from statformer.experiments._optimizer_convex import DELTA, PiecewiseLinear, descend
from statformer.experiments.base import Cell, Control, Experiment, Row, Verdict
from statformer.optim import AdaGradPP
from statformer.plotting.chart import Chart, Panel, Series

N_STEPS = (50, 200, 1000, 5000)


def measure(cell: Cell, rng: np.random.Generator, lr: float = 1.0) -> Sequence[Row]:
    """Gap and bound at T = 50, 200, 1000 and 5000 on a function drawn by chance."""
    problem = PiecewiseLinear.drawn(cell["d"], rng)
    path = descend(
        problem, lambda p: AdaGradPP(p, lr=lr, eta0=cell["eta0"], delta=DELTA), N_STEPS, rng
    )
    pairs = zip(path.n_steps, path.gap, path.bound, strict=True)
    return [{"T": T, "gap": gap, "bound": bound} for T, gap, bound in pairs]


def holds(table: pd.DataFrame) -> Verdict:
    """The largest gap / bound is at most 1."""
    largest = float((table["gap"] / table["bound"]).max())
    return Verdict.below(largest, 1.0, threshold_source="derived", what="largest gap / bound")


def figure(table: pd.DataFrame) -> Chart:
    """Gap / bound over T, one line per start."""
    shares = table.assign(share=table["gap"] / table["bound"])
    series = []
    for start, rows in shares.groupby("eta0"):
        by_T = rows.groupby("T")["share"]
        series.append(
            Series(f"eta0 = {start:g}", list(by_T.max().index), by_T.max().to_list(), style="line")
        )
    panel = Panel(
        title="Largest share of the bound that is used",
        x_label="steps T",
        y_label="gap / bound",
        series=series,
        log_x=True,
        log_y=True,
        rule=1.0,
        rule_label="the bound",
    )
    return Chart([panel], "Piecewise linear functions; the largest over dimensions and seeds.")


EXPERIMENT = Experiment(
    claim="AdaGrad++ with exact subgradients of a convex function stays under its bound.",
    paper="2412.19444",
    source="item 1 of what a reproduction must show; the bound is derived by us",
    kind="existence",
    grid={"d": (2, 6, 30, 100), "eta0": (1e-8, 1e-6, 1e-3, 1e-1)},
    quick={"d": (6, 30), "eta0": (1e-8, 1e-6, 1e-3, 1e-1)},
    tiny={"d": (6,), "eta0": (1e-1,)},
    n_seeds=10,
    quick_seeds=3,
    measure=measure,
    holds=holds,
    figure=figure,
    controls={
        "short steps": Control(
            measure=partial(measure, lr=1e-3),
            size="tiny",
            says="steps a thousand times shorter than eta",
        )
    },
    cost="quick 12 s, full 3 min on one core",
)
