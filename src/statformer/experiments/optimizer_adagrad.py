"""How much worse AdaGrad++ is than Adam++ (arXiv 2412.19444).

The authors left AdaGrad++ out of their experiments, having found it consistently worse than Adam
and Adam++. Item 6 of what a reproduction must show asks for the curve. Tasks are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd

from statformer.benchmarks.optim_methods import ADAMW, adamw
from statformer.benchmarks.optim_run import SCHEDULES, Make
from statformer.experiments._optimizer_training import SMALLER, TASKS, compare, gaps
from statformer.experiments.base import Cell, Control, Experiment, Row, Verdict
from statformer.optim import AdaGradPP, AdamPP
from statformer.plotting.chart import Chart, Panel, Series

ADAM, ADAGRAD = "Adam++", "AdaGrad++"


def measure(
    cell: Cell, rng: np.random.Generator, adagrad: Make = AdaGradPP, adam: Make = AdamPP
) -> Sequence[Row]:
    """Final losses of both, and of AdamW at 1e-3."""
    makes = {ADAM: adam, ADAGRAD: adagrad, ADAMW: adamw(1e-3)}
    return compare(TASKS[cell["task"]](cell["n_steps"]), makes, rng, cell["schedule"])


def holds(table: pd.DataFrame) -> Verdict:
    """AdaGrad++ ends above Adam++ on every task and schedule."""
    verdicts = []
    for (task, schedule), rows in table.groupby(["task", "schedule"]):
        found = gaps(rows, ADAGRAD, ADAM)
        verdicts.append(
            Verdict.above(
                found.value,
                0.0,
                interval=(found.low, found.high),
                threshold_source="paper",
                what=f"AdaGrad++ behind Adam++, {task}, {schedule}",
            )
        )
    return Verdict.all_of(*verdicts)


def figure(table: pd.DataFrame) -> Chart:
    """How far AdaGrad++ is behind, by task."""
    panels = []
    for schedule, rows in table.groupby("schedule"):
        names = sorted(rows["task"].unique())
        series = []
        for of, label in (("train", "training"), ("test", "held out")):
            found = [gaps(rows[rows["task"] == name], ADAGRAD, ADAM, of) for name in names]
            values = [gap.value for gap in found]
            low, high = [gap.low for gap in found], [gap.high for gap in found]
            places = list(range(len(names)))
            series.append(Series(label, places, values, low, high, style="points"))
        panel = Panel(
            f"Schedule: {schedule}",
            "",
            "behind Adam++, share of its descent",
            series,
            categories=names,
            rule=0.0,
            rule_label="Adam++",
        )
        panels.append(panel)
    return Chart(panels, "Mean over seeds with 95 % intervals; above 0 is worse.")


EXPERIMENT = Experiment(
    claim="AdaGrad++ is consistently worse than Adam++.",
    paper="2412.19444",
    source="the authors to their reviewers; item 6 of what a reproduction must show",
    kind="learnability",
    grid={"task": tuple(TASKS), "schedule": SCHEDULES, "n_steps": (1000,)},
    quick={"task": tuple(TASKS), "schedule": SCHEDULES, "n_steps": (200,)},
    tiny={"task": ("logistic regression",), "schedule": ("constant",), "n_steps": (30,)},
    n_seeds=8,
    quick_seeds=3,
    tiny_seeds=2,
    measure=measure,
    holds=holds,
    figure=figure,
    not_the_authors=SMALLER,
    controls={
        "swapped": Control(
            measure=partial(measure, adagrad=AdamPP, adam=AdaGradPP),
            size="tiny",
            says="each runs under the other's name",
        )
    },
    positive=Control(
        measure=partial(measure, adagrad=partial(AdaGradPP, eta0=1e-6, freeze_after=1)),
        says="eta of AdaGrad++ stays at 1e-6",
    ),
    cost="quick 45 s on one core",
)
