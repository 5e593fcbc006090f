"""A plain deep network under a cosine schedule: Case 1 of Adam++ trains where others do not.

arXiv 2412.19444, from secondary reports on VGG16 and CIFAR-10: Case 2, D-Adaptation and Prodigy do
not converge, Case 1 does. Here ten layers in the manner of VGG16 on digits. A run "trains" (ours)
where it loses half of its initial loss. Prodigy and D-Adaptation run at their defaults.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from statformer.benchmarks.optim_methods import ADAMW, methods, ours
from statformer.benchmarks.optim_run import SCHEDULES, Make
from statformer.experiments._optimizer_deep import plain_digits
from statformer.experiments._optimizer_training import SMALLER, compare
from statformer.experiments.base import Cell, Control, Experiment, Row, Verdict
from statformer.plotting.chart import Chart, Panel, Series

HALF = 0.5
CASE_1 = "Adam++, case 1"
FAILING = ("Adam++, case 2", "D-Adaptation", "Prodigy")
COSINE = "cosine"


def optimizers() -> dict[str, Make]:
    """Those of the claim, and AdamW."""
    every = methods()
    return {
        CASE_1: ours(second_moment="sum"),
        "Adam++, case 2": ours(),
        "D-Adaptation": every["D-Adaptation"].make,
        "Prodigy": every["Prodigy"].make,
        ADAMW: every[ADAMW].make,
    }


def frozen() -> dict[str, Make]:
    """Those that are said not to train stand still, and AdamW runs in the place of case 1."""
    still, every = ours(eta0=1e-9, freeze_after=1), optimizers()
    return {**every, **dict.fromkeys(FAILING, still), CASE_1: every[ADAMW]}


def measure(
    cell: Cell, rng: np.random.Generator, swapped: Mapping[str, Make] | None = None
) -> Sequence[Row]:
    """Initial and final losses."""
    return compare(plain_digits(cell["n_steps"]), swapped or optimizers(), rng, cell["schedule"])


def measure_frozen(cell: Cell, rng: np.random.Generator) -> Sequence[Row]:
    """The positive control: the contrast is there by construction."""
    return measure(cell, rng, frozen())


def measure_swapped(cell: Cell, rng: np.random.Generator) -> Sequence[Row]:
    """The planted fault: Case 1 stands still."""
    return measure(cell, rng, {**frozen(), CASE_1: ours(eta0=1e-9, freeze_after=1)})


def holds(table: pd.DataFrame) -> Verdict:
    """Under the cosine schedule Case 1 trains in every run, and the three others in none."""
    rows = table[table["schedule"] == COSINE]
    trained = (rows["train"] < HALF * rows["initial"]).groupby(rows["method"]).mean()
    case_1 = Verdict.above(
        float(trained[CASE_1]),
        1.0,
        threshold_source="ours",
        what="share of runs that train, case 1",
    )
    others = [
        Verdict.below(
            float(trained[name]),
            0.0,
            threshold_source="ours",
            what=f"share of runs that train, {name}",
        )
        for name in FAILING
    ]
    return Verdict.all_of(case_1, *others)


def figure(table: pd.DataFrame) -> Chart:
    """Final loss over initial loss of every run."""
    names = list(optimizers())
    panels = []
    for schedule, rows in table.groupby("schedule"):
        shares = (rows["train"] / rows["initial"]).groupby(rows["method"])
        middle, low, high = shares.median(), shares.min(), shares.max()
        series = Series(
            "median and range of the seeds",
            list(range(len(names))),
            [float(middle[name]) for name in names],
            [float(low[name]) for name in names],
            [float(high[name]) for name in names],
            style="points",
        )
        panels.append(
            Panel(
                f"Schedule: {schedule}",
                "",
                "final / initial training loss",
                [series],
                categories=names,
                rule=HALF,
                rule_label="trains below",
            )
        )
    return Chart(panels, "Ten plain layers on digits.")


EXPERIMENT = Experiment(
    claim="In a plain deep network under a cosine schedule, Adam++ with sums trains where Adam++ "
    "with averages, D-Adaptation and Prodigy do not.",
    paper="2412.19444",
    source="secondary reports on VGG16; item 4 of what a reproduction must show",
    kind="learnability",
    grid={"schedule": SCHEDULES, "n_steps": (2000,)},
    quick={"schedule": SCHEDULES, "n_steps": (300,)},
    tiny={"schedule": (COSINE,), "n_steps": (15,)},
    n_seeds=8,
    quick_seeds=3,
    measure=measure,
    holds=holds,
    figure=figure,
    not_the_authors=SMALLER,
    controls={
        "still": Control(measure=measure_swapped, size="quick", says="case 1 stands still"),
    },
    positive=Control(
        measure=measure_frozen,
        size="quick",
        says="the three others stand still, AdamW runs for case 1",
    ),
    control_size="quick",
    cost="quick 90 s on one core",
)
