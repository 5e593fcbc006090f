"""A language model under a cosine schedule: Adam++ ends at or below AdamW (arXiv 2412.19444).

Item 5 of what a reproduction must show, from secondary reports on GPT-2 and OpenWebText with 2,000
warm-up steps. Here a character model of two layers on the help texts that ship with Python, 5 %
warm-up. AdamW has the best of five rates, chosen run by run, and 1e-3 beside it in the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd

from statformer.benchmarks.optim_methods import ours
from statformer.benchmarks.optim_run import Make
from statformer.experiments._optimizer_training import (
    SMALLER,
    TASKS,
    TUNED,
    adamw_rates,
    best_rate,
    compare,
    gaps,
)
from statformer.experiments.base import Cell, Control, Experiment, Row, Verdict
from statformer.plotting.chart import Chart, Panel, Series

OURS = ("Adam++, practical", "Adam++, maximum", "Adam++, sum")


def measure(
    cell: Cell,
    rng: np.random.Generator,
    practical: Make | None = None,
    others: Make | None = None,
) -> Sequence[Row]:
    """Final losses of three forms of Adam++ and of AdamW at five rates."""
    forms = {
        OURS[0]: practical or ours(),
        OURS[1]: ours(second_moment="ema_max"),
        OURS[2]: ours(second_moment="sum"),
    }
    rivals = adamw_rates() if others is None else dict.fromkeys(adamw_rates(), others)
    return compare(TASKS["language model"](cell["n_steps"]), {**forms, **rivals}, rng)


def holds(table: pd.DataFrame) -> Verdict:
    """The practical form's gap to AdamW, as a share of the descent, is at most 0."""
    verdicts = []
    for n_steps, rows in best_rate(table, ["n_steps"]).groupby("n_steps"):
        found = gaps(rows, OURS[0], TUNED)
        verdicts.append(
            Verdict.below(
                found.value,
                0.0,
                interval=(found.low, found.high),
                threshold_source="paper",
                what=f"gap to AdamW at its best rate, {n_steps} steps",
            )
        )
    return Verdict.all_of(*verdicts)


def figure(table: pd.DataFrame) -> Chart:
    """Gaps of the three forms over the length of a run."""
    rows = best_rate(table, ["n_steps"])
    lengths = sorted(rows["n_steps"].unique())
    series = []
    for form in OURS:
        found = [gaps(rows[rows["n_steps"] == n], form, TUNED) for n in lengths]
        values = [gap.value for gap in found]
        low, high = [gap.low for gap in found], [gap.high for gap in found]
        series.append(Series(form, lengths, values, low, high))
    panel = Panel(
        "Behind AdamW at its best rate",
        "steps",
        "gap / descent of AdamW",
        series,
        rule=0.0,
        rule_label="AdamW",
    )
    return Chart([panel], "Cosine schedule; 95 % intervals over seeds.")


EXPERIMENT = Experiment(
    claim="On a language model under a cosine schedule Adam++ ends at or below AdamW.",
    paper="2412.19444",
    source="secondary reports on GPT-2; item 5 of what a reproduction must show",
    kind="learnability",
    grid={"n_steps": (500, 2000)},
    quick={"n_steps": (150, 500)},
    tiny={"n_steps": (15,)},
    n_seeds=8,
    quick_seeds=3,
    measure=measure,
    holds=holds,
    figure=figure,
    not_the_authors=SMALLER,
    controls={
        "frozen": Control(
            measure=partial(measure, practical=ours(eta0=1e-6, freeze_after=1)),
            size="quick",
            says="eta of Adam++ stays at 1e-6",
        )
    },
    positive=Control(
        measure=partial(measure, others=ours(eta0=1e-6, freeze_after=1)),
        size="quick",
        says="the rival hardly moves",
    ),
    control_size="quick",
    cost="quick 90 s on one core",
)
