"""After k steps of descent xi_1 is about k^(1/3) and the loss about k^(-1/3).

Ours: derived from a loss that falls like 1 / xi_1 where points have no margin, for then
d xi_1 / d k ~ xi_1^-2. What Li et al. 2024 (arXiv 2411.10830) prove about the rate was not found.
Slopes are of logarithms, over at least 1.5 decades of k, on fresh prompts; intervals over seeds.

The fault shows where the rate comes from: prompts with a margin leave no near ties, and xi_1 grows
like a logarithm only.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd

from statformer.experiments._neighbor_training import (
    NOT_THE_AUTHORS,
    Prior,
    descend,
    draw,
    marks,
    scores,
)
from statformer.experiments._seeds import seed_curve
from statformer.experiments.base import Cell, Control, Experiment, Row, Verdict
from statformer.plotting.chart import Chart, Panel, Series
from statformer.pretraining.recipes.nearest_neighbor import NearestNeighborRecipe
from statformer.runs.fits import ENOUGH_DECADES, Fit, fit_line
from statformer.tasks.labelled_points import LabelledPointsPrior, ShiftedPointsPrior

RATE = 1.0 / 3.0
ROOM = 0.06  # between a slope of this stretch and the limit of many steps


def measure(cell: Cell, rng: np.random.Generator, harm: str = "") -> Sequence[Row]:
    """Scores on fresh prompts at 12 numbers of steps, evenly spaced in log k."""
    n, d = cell["n"], cell["d"]
    prior: Prior = LabelledPointsPrior(n, d)
    if harm == "prompts with a margin":
        prior = ShiftedPointsPrior(n, d, margin=1.0)
    train, test = draw(prior, cell["prompts"], rng), draw(prior, cell["prompts"], rng)
    recipe = NearestNeighborRecipe(n_points=n, n_features=d)
    at = marks(cell["first"], cell["last"], 12)
    return [{"k": k, **scores(module, test)} for k, module in descend(recipe, train, at)]


def slope(rows: pd.DataFrame, column: str) -> Fit:
    """Of log10 of a column over log10 k."""
    return fit_line(
        np.log10(rows["k"].to_numpy(dtype=np.float64)),
        np.log10(rows[column].clip(lower=1e-30).to_numpy(dtype=np.float64)),
        np.random.default_rng(0),
        rows["seed"].to_numpy(),
    )


def holds(table: pd.DataFrame) -> Verdict:
    """Both slopes are within 0.06 of +-1/3 with their intervals, over 1.5 decades or more."""
    verdicts = []
    for (n, d), rows in table.groupby(["n", "d"]):
        for column, rate in (("xi_1", RATE), ("loss", -RATE)):
            found = slope(rows, column)
            what = f"slope of {column} at N={n}, d={d}"
            for bound, end in (("above", rate - ROOM), ("below", rate + ROOM)):
                judge = Verdict.above if bound == "above" else Verdict.below
                verdicts.append(
                    judge(
                        found.slope,
                        end,
                        interval=found.interval,
                        threshold_source="derived",
                        what=what,
                    )
                )
        verdicts.append(
            Verdict.above(
                found.decades, ENOUGH_DECADES - 1e-9, threshold_source="ours", what="decades of k"
            )
        )
    return Verdict.all_of(*verdicts)


def figure(table: pd.DataFrame) -> Chart:
    """xi_1 and loss over k; dashed lines have the slopes +-1/3."""
    panels = []
    for column, rate in (("xi_1", RATE), ("loss", -RATE)):
        series = []
        for (n, d), rows in table.groupby(["n", "d"]):
            curve = seed_curve(rows, "k", column)
            k, y = curve["x"].tolist(), curve["value"].tolist()
            label = f"N={n}, d={d}: slope {slope(rows, column).slope:.3f}"
            series.append(Series(label, k, y, style="points"))
            line = [y[-1] * (at / k[-1]) ** rate for at in k]
            series.append(Series(f"slope {rate:+.2f}", k, line, style="dashed"))
        panels.append(Panel("", "steps k", column, series, log_x=True, log_y=True))
    return Chart(panels, "Means over seeds, fresh prompts.")


EXPERIMENT = Experiment(
    claim="After k steps of gradient descent on points without a margin, xi_1 is about k^(1/3) and "
    "the loss about k^(-1/3).",
    paper="2411.10830",
    source="derived by us; the paper's rate was not found",
    kind="learnability",
    grid={"n": (4, 16), "d": (4, 8), "prompts": (10_000,), "first": (600,), "last": (30_000,)},
    quick={"n": (4,), "d": (4,), "prompts": (4096,), "first": (300,), "last": (10_000,)},
    tiny={"n": (4,), "d": (4,), "prompts": (256,), "first": (10,), "last": (400,)},
    n_seeds=5,
    quick_seeds=3,
    measure=measure,
    holds=holds,
    figure=figure,
    not_the_authors=NOT_THE_AUTHORS,
    cost="quick 22 s; full about 20 min, on one core (full is reckoned from steps)",
    control_size="quick",
    controls={
        "prompts with a margin": Control(
            measure=partial(measure, harm="prompts with a margin"),
            says="no other point is within a squared distance of 1 of the query's nearest",
        )
    },
)
