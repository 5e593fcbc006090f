"""The base learning rate c of Adam++ makes little difference between 0.5 and 4 (2412.19444).

Item 2 of what a reproduction must show, from secondary reports of the paper's ablation; its numbers
were not found. "Little" is ours: 5 % of the descent. AdamW's rate is swept over the same multiples
of its best rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd

from statformer.benchmarks.optim_methods import adamw, ours
from statformer.benchmarks.optim_settings import RATES
from statformer.experiments._optimizer_training import (
    SMALLER,
    TASKS,
    compare,
    spreads,
    sweep_chart,
)
from statformer.experiments.base import Cell, Control, Experiment, Row, Verdict
from statformer.plotting.chart import Chart

LITTLE = 0.05
FACTORS = (0.5, 1.0, 2.0, 4.0)


def measure(cell: Cell, rng: np.random.Generator) -> Sequence[Row]:
    """Final losses at every factor, and of AdamW at the factors of its best rate of five."""
    task, seed = TASKS[cell["task"]](cell["n_steps"]), int(rng.integers(2**31))
    tried = compare(task, {f"{r:g}": adamw(r) for r in RATES}, np.random.default_rng(seed))
    best = float(min(tried, key=lambda row: float(row["train"]))["method"])
    wanted = {
        "Adam++": {f"{c:g}": ours(lr=c) for c in FACTORS},
        "AdamW": {f"{c:g}": adamw(best * c) for c in FACTORS},
    }
    rows: list[Row] = []
    for method, makes in wanted.items():
        found = compare(task, makes, np.random.default_rng(seed))
        rows += [{**row, "setting": float(row["method"]), "method": method} for row in found]
    return rows


def measure_others(cell: Cell, rng: np.random.Generator, factors: Sequence[float]) -> Sequence[Row]:
    """The controls: other factors, without AdamW."""
    task = TASKS[cell["task"]](cell["n_steps"])
    rows = compare(task, {f"{c:g}": ours(lr=c) for c in factors}, rng)
    return [{**row, "setting": float(row["method"]), "method": "Adam++"} for row in rows]


def holds(table: pd.DataFrame) -> Verdict:
    """On every task the spread over the factors is at most 5 % of the descent."""
    verdicts = []
    for task, rows in table[table["method"] == "Adam++"].groupby("task"):
        found = spreads(rows)
        verdicts.append(
            Verdict.below(
                found.value,
                LITTLE,
                interval=(found.low, found.high),
                threshold_source="ours",
                what=f"spread over c, {task}",
            )
        )
    return Verdict.all_of(*verdicts)


def figure(table: pd.DataFrame) -> Chart:
    """Behind the best factor, over the factor."""
    axes = {"Adam++": "Adam++, c", "AdamW": "AdamW, times its best rate"}
    caption = "Cosine schedule; bands from the least to the largest seed."
    return sweep_chart(table, axes, "c, or multiple of AdamW's best rate", caption, LITTLE)


EXPERIMENT = Experiment(
    claim="The base learning rate of Adam++ makes little difference between 0.5 and 4.",
    paper="2412.19444",
    source="ablation in secondary reports; item 2 of what a reproduction must show",
    kind="learnability",
    grid={"task": ("convolutional net", "language model"), "n_steps": (500,)},
    quick={"task": ("convolutional net", "language model"), "n_steps": (200,)},
    tiny={"task": ("logistic regression",), "n_steps": (20,)},
    n_seeds=5,
    quick_seeds=3,
    measure=measure,
    holds=holds,
    figure=figure,
    not_the_authors=SMALLER,
    controls={
        "wide": Control(
            measure=partial(measure_others, factors=(0.005, 1.0, 400.0)),
            size="quick",
            says="c from 0.005 to 400",
        )
    },
    positive=Control(
        measure=partial(measure_others, factors=(0.99, 1.0, 1.01)),
        size="quick",
        says="factors within a hundredth of 1 end alike",
    ),
    control_size="quick",
    cost="quick 60 s on one core",
)
