"""More components and more columns raise the error of the trained network (arXiv 2502.06007).

A check that follows from the theory [derived]. Centres are equidistant at the same separations for
all k and d, so Bayes' error does not depend on d: what d adds is the estimation. One network is
trained for each (k, d), with equal steps. Thresholds are ours.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd

from statformer.experiments._em_networks import (
    NOT_THE_AUTHORS,
    held_out,
    network_error,
    rival_errors,
    small_recipe,
    train,
)
from statformer.experiments._seeds import over_seeds, seed_curve
from statformer.experiments.base import Cell, Control, Experiment, Row, Verdict
from statformer.plotting.chart import Chart, Panel, Series


def measure(cell: Cell, rng: np.random.Generator, all_alike: bool = False) -> Row:
    """Test error of a network trained on k components in d columns, and of EM, Lloyd and Bayes.

    With `all_alike` every cell has two components and two columns.
    """
    k, d = (2, 2) if all_alike else (cell["k"], cell["d"])
    recipe = small_recipe(n_components=k, n_features=d, n_heads=4)
    network = train(recipe, cell["n_steps"], rng)
    batch = held_out(recipe, cell["n_tables"])
    rivals = {name: float(e.mean()) for name, e in rival_errors(batch).items()}
    return {"error": float(network_error(network, batch).mean()), **rivals}


def holds(table: pd.DataFrame) -> Verdict:
    """From the smallest to the largest k, and to the largest d, the error rises."""
    verdicts = []
    for axis, other in (("k", "d"), ("d", "k")):
        mean = table.pivot_table(index="seed", columns=axis, values="error", aggfunc="mean")
        low, high = min(mean.columns), max(mean.columns)
        rise = over_seeds(mean[high] - mean[low])
        verdicts.append(
            Verdict.above(
                rise.value,
                0.0,
                threshold_source="derived",
                interval=rise.interval,
                what=f"error at {axis}={high} less at {axis}={low}, mean over {other}:",
            )
        )
    return Verdict.all_of(*verdicts)


def figure(table: pd.DataFrame) -> Chart:
    """Error over d, one line per k, with EM dashed."""
    series = []
    for k, rows in table.groupby("k"):
        curve = seed_curve(rows, "d", "error")
        ends = list(curve["low"]), list(curve["high"])
        series.append(Series(f"network, k = {k}", list(curve["x"]), list(curve["value"]), *ends))
        rival = seed_curve(rows, "d", "EM")
        series.append(
            Series(f"EM, k = {k}", list(rival["x"]), list(rival["value"]), style="dashed")
        )
    panel = Panel("Components and columns", "columns d", "misclustered share", series)
    return Chart([panel], "Separations 1.5 to 6 as in training; bands over training seeds.")


EXPERIMENT = Experiment(
    claim="The trained network's error rises with the number of components and of columns.",
    paper="2502.06007",
    source="a check derived from the theory: error rises with k and d",
    kind="learnability",
    grid={"k": (2, 3, 4), "d": (3, 6, 12), "n_steps": (6000,), "n_tables": (4000,)},
    quick={"k": (2, 3), "d": (2, 8), "n_steps": (400,), "n_tables": (1000,)},
    tiny={"k": (2, 3), "d": (2, 8), "n_steps": (5,), "n_tables": (40,)},
    n_seeds=5,
    quick_seeds=3,
    measure=measure,
    holds=holds,
    figure=figure,
    cost="quick 128 s of one core of a busy machine",
    not_the_authors=NOT_THE_AUTHORS,
    control_size="quick",
    controls={
        "one size": Control(
            measure=partial(measure, all_alike=True), says="k = d = 2 whatever the cell says"
        )
    },
    timeout_minutes=60,
)
