"""More loops, less loss: at convergence the loss does not rise with their number.

arXiv 2410.08292, Figure 2, seen through reading notes; item 5 of what a reproduction must show. For
one loop the least loss is exactly d (d + 1) / (n + d + 1) (derived): the trained layer must be
within 3 % of it, so that less loss is not more training. n = 20 and 200 and Adam are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
import torch

from statformer.experiments._looped import (
    D,
    covariance,
    fresh,
    fresh_loss,
    second_moments,
    train,
)
from statformer.experiments.base import Cell, Control, Experiment, Row, Verdict
from statformer.objectives.looped import expected_error
from statformer.plotting.chart import Chart, Panel, Series
from statformer.runs.intervals import difference_interval, ratio_interval

N_TEST = 4000
WITHIN = 1.03


def measure(cell: Cell, rng: np.random.Generator, *, looped: bool = True) -> Sequence[Row]:
    """Test loss of layers trained with 1, 2, ... loops, all on the same test tasks."""
    eigenvalues, n = covariance("identity"), cell["n"]
    S = second_moments(N_TEST, n, eigenvalues, rng)
    rows = []
    for n_loops in range(1, cell["most"] + 1):
        network = train(fresh(1, n_loops, rng), fresh_loss(n, eigenvalues, rng), cell["steps"])
        network.n_loops = n_loops if looped else 1
        with torch.no_grad():
            loss = float(expected_error(network, S, eigenvalues).mean())
        rows.append({"loops": n_loops, "loss": loss})
    return rows


def holds(table: pd.DataFrame) -> Verdict:
    """Each loop more lowers the loss, paired by seed; one loop is near its exact minimum."""
    verdicts = []
    for n in sorted(int(one) for one in table["n"].unique()):
        rows = table[table["n"] == n]
        wide = rows.pivot_table(index="seed", columns="loops", values="loss")
        exact = D * (D + 1) / (n + D + 1)
        first = ratio_interval([wide[1].to_numpy()], [np.full(len(wide), exact)])
        verdicts.append(
            Verdict.below(
                first.value,
                WITHIN,
                threshold_source="derived",
                interval=(first.low, first.high),
                what=f"n = {n}: loss of one loop / exact minimum",
            )
        )
        for before, after in zip(wide.columns[:-1], wide.columns[1:], strict=True):
            less = difference_interval(
                [np.log10(wide[after].to_numpy())], [np.log10(wide[before].to_numpy())]
            )
            verdicts.append(
                Verdict.below(
                    less.value,
                    0.0,
                    threshold_source="paper",
                    interval=(less.low, less.high),
                    what=f"n = {n}: log10 loss of {after} loops minus {before}",
                )
            )
    return Verdict.all_of(*verdicts)


def figure(table: pd.DataFrame) -> Chart:
    """Loss over loops, by n."""
    series = []
    for n, rows in table.groupby("n"):
        by_loops = rows.groupby("loops")["loss"]
        series.append(
            Series(
                f"n = {n}",
                list(by_loops.mean().index),
                by_loops.mean().to_list(),
                by_loops.min().to_list(),
                by_loops.max().to_list(),
            )
        )
    panel = Panel("More loops, less loss", "loops", "test loss", series, log_y=True)
    return Chart([panel], "Mean over seeds; bands from the least to the largest. d = 10.")


EXPERIMENT = Experiment(
    claim="At convergence the loss does not rise with the number of loops.",
    paper="2410.08292",
    source="Figure 2, seen through reading notes; item 5 of what a reproduction must show",
    kind="learnability",
    grid={"n": (20, 50, 200), "most": (6,), "steps": (1500,)},
    quick={"n": (20, 200), "most": (4,), "steps": (500,)},
    tiny={"n": (20,), "most": (2,), "steps": (150,)},
    n_seeds=10,
    quick_seeds=3,
    tiny_seeds=2,
    measure=measure,
    holds=holds,
    figure=figure,
    not_the_authors="optimizer, batch, number of points and of loops were not found",
    controls={
        "one loop at test": Control(
            measure=partial(measure, looped=False), says="every layer is looped once at test"
        )
    },
    cost="quick 35 s on one core",
)
