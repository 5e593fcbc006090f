"""Training from a small start drives u to 0.

arXiv 2410.08292, Theorem 3.2 (u = 0 at the global minimum) seen through reading notes. Threshold
|u| < 0.01 |A|: item 2 of what a reproduction must show. The loss is the population loss, with w and
the query integrated out and fresh points at every step. Optimizer, start and number of points were
not found; Adam with a falling rate, entries of size 0.1 and n = 200 are ours. The fault is a prior
of w whose mean is not 0, where a u helps.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from statformer.experiments._looped import D, covariance, fresh, fresh_loss, train
from statformer.experiments._seeds import over_seeds
from statformer.experiments.base import Cell, Control, Experiment, Row, Verdict
from statformer.nn.looped import LoopedAttention
from statformer.plotting.chart import Chart, Panel, Series

N_POINTS = 200
LIMIT = 0.01
N_LOGGED = 10


def measure(cell: Cell, rng: np.random.Generator, *, shift: float = 0.0) -> Sequence[Row]:
    """|u| / |A| along training; every entry of the mean of w is `shift`."""
    network = fresh(1, cell["loops"], rng, size=0.1)
    mean = torch.full((D,), shift, dtype=torch.float64)
    loss = fresh_loss(N_POINTS, covariance(cell["covariance"]), rng, mean)
    ratios: list[float] = []

    def watched(network: LoopedAttention) -> Tensor:
        ratios.append(_ratio(network))
        return loss(network)

    train(network, watched, cell["steps"])
    ratios.append(_ratio(network))
    every = cell["steps"] // N_LOGGED
    return [{"step": step, "ratio": ratios[step]} for step in range(0, cell["steps"] + 1, every)]


def _ratio(network: LoopedAttention) -> float:
    return float((network.u.norm() / network.A.norm()).item())


def holds(table: pd.DataFrame) -> Verdict:
    """At the end |u| / |A| is below 0.01 in the mean of each cell, with its interval."""
    last = table[table["step"] == table["steps"]]
    verdicts = []
    for (name, n_loops), rows in last.groupby(["covariance", "loops"]):
        found = over_seeds(rows["ratio"])
        interval = found.interval if len(rows) > 1 else None
        what = f"|u| / |A|, {name}, {n_loops} loops"
        verdicts.append(
            Verdict.below(found.value, LIMIT, threshold_source="ours", interval=interval, what=what)
        )
    return Verdict.all_of(*verdicts)


def figure(table: pd.DataFrame) -> Chart:
    """The ratio along training."""
    series = []
    for (name, n_loops), rows in table.groupby(["covariance", "loops"]):
        by_step = rows.groupby("step")["ratio"]
        middle = by_step.median()
        series.append(
            Series(
                f"{name}, {n_loops} loops",
                list(middle.index),
                middle.clip(lower=1e-9).to_list(),
                by_step.min().clip(lower=1e-9).to_list(),
                by_step.max().to_list(),
            )
        )
    panel = Panel(
        "u vanishes", "steps", "|u| / |A|", series, log_y=True, rule=LIMIT, rule_label="1 %"
    )
    return Chart([panel], "Median over seeds; bands from the least to the largest.")


EXPERIMENT = Experiment(
    claim="Training a looped layer from a small start drives u to 0.",
    paper="2410.08292",
    source="Theorem 3.2, seen through reading notes; item 2 of what a reproduction must show",
    kind="learnability",
    grid={"covariance": ("identity", "spread"), "loops": (1, 2, 4), "steps": (600,)},
    quick={"covariance": ("identity", "spread"), "loops": (1, 3), "steps": (300,)},
    tiny={"covariance": ("identity",), "loops": (1,), "steps": (120,)},
    n_seeds=10,
    quick_seeds=3,
    measure=measure,
    holds=holds,
    figure=figure,
    not_the_authors="optimizer, start, batch and number of points were not found",
    controls={
        "prior": Control(
            measure=partial(measure, shift=1.0), says="w has a mean that is not 0, so that u helps"
        )
    },
    cost="quick 11 s on one core",
)
