"""On images Adam++ tests at least as well as Adam at 1e-3, with no rate to choose (2412.19444).

Item 3 of what a reproduction must show: CIFAR-10 with ResNets and VGG16, constant and cosine, at
least 8 seeds, against Adam, D-Adaptation and Prodigy; every number is from secondary reports. Here:
a small convolutional net on digits, with training losses beside those on held-out images, because
the reported gains may be regularisation. Threshold ours: the mean difference of held-out losses to
Adam's is at most 0, under both schedules.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd

from statformer.benchmarks.optim_methods import ADAMW, OURS, methods, ours
from statformer.benchmarks.optim_run import SCHEDULES, Make
from statformer.experiments._optimizer_training import SMALLER, TASKS, compare
from statformer.experiments.base import Cell, Control, Experiment, Row, Verdict
from statformer.plotting.chart import Chart, Panel, Series
from statformer.runs.intervals import Interval, mean_interval

SHOWN = (ADAMW, OURS, "AdamPP, sum", "AdamPP, ema_max", "D-Adaptation", "Prodigy, guarded")


def measure(
    cell: Cell, rng: np.random.Generator, replaced: Mapping[str, Make] | None = None
) -> Sequence[Row]:
    """Losses of six optimizers from the same start, on the same batches."""
    every = methods()
    makes = {name: every[name].make for name in SHOWN} | dict(replaced or {})
    return compare(TASKS["convolutional net"](cell["n_steps"]), makes, rng, cell["schedule"])


def behind(rows: pd.DataFrame, method: str, of: str) -> Interval:
    """Loss of a method minus that of AdamW at 1e-3, paired by seed."""
    wide = rows.pivot_table(index="seed", columns="method", values=of, dropna=False)
    return mean_interval([(wide[method] - wide[ADAMW]).to_numpy()])


def holds(table: pd.DataFrame) -> Verdict:
    """Held-out losses of Adam++ are not above those of Adam, under both schedules."""
    verdicts = []
    for schedule, rows in table.groupby("schedule"):
        found = behind(rows, OURS, "test")
        verdicts.append(
            Verdict.below(
                found.value,
                0.0,
                interval=(found.low, found.high),
                threshold_source="ours",
                what=f"held-out loss minus Adam's, {schedule}",
            )
        )
    return Verdict.all_of(*verdicts)


def figure(table: pd.DataFrame) -> Chart:
    """Differences to Adam in training and held-out loss."""
    panels = []
    for schedule, rows in table.groupby("schedule"):
        series = []
        for of, label in (("train", "training"), ("test", "held out")):
            found = [behind(rows, method, of) for method in SHOWN[1:]]
            series.append(
                Series(
                    label,
                    list(range(len(found))),
                    [one.value for one in found],
                    [one.low for one in found],
                    [one.high for one in found],
                    style="points",
                )
            )
        panel = Panel(
            f"Schedule: {schedule}",
            "",
            "loss minus Adam's",
            series,
            categories=SHOWN[1:],
            rule=0.0,
            rule_label="Adam at 1e-3",
        )
        panels.append(panel)
    return Chart(panels, "Mean differences over seeds with 95 % intervals; below 0 is better.")


EXPERIMENT = Experiment(
    claim="On images Adam++ tests at least as well as Adam at 1e-3, with no rate to choose.",
    paper="2412.19444",
    source="secondary reports of its tables; item 3 of what a reproduction must show",
    kind="learnability",
    grid={"schedule": SCHEDULES, "n_steps": (1000,)},
    quick={"schedule": SCHEDULES, "n_steps": (400,)},
    tiny={"schedule": ("constant",), "n_steps": (25,)},
    n_seeds=16,
    quick_seeds=8,
    measure=measure,
    holds=holds,
    figure=figure,
    not_the_authors=SMALLER,
    controls={
        "frozen": Control(
            measure=partial(measure, replaced={OURS: ours(eta0=1e-6, freeze_after=1)}),
            size="quick",
            says="eta stays at its start of 1e-6",
        )
    },
    control_size="quick",
    cost="quick 90 s on one core",
)
