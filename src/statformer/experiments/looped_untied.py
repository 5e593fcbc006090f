"""A looped layer is about as good as as many layers with weights of their own.

arXiv 2410.08292, Figure 2, seen through reading notes: "about equal". Ours: equal means within 10 %
of the loss, trained alike on n = 20 and n = 200 points. Untied layers can do no worse at their best
(tied ones are among them), and can take steps of different sizes.

The quick run failed: looped layers have 1.2 to 4.8 times the loss. Of the loss before the first
layer, 10, the difference is small (0.2 % for two layers, 0.006 % for four, at n = 200), so that
curves on a linear scale may well look equal; the threshold is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
import torch

from statformer.experiments._looped import covariance, fresh, fresh_loss, second_moments, train
from statformer.experiments.base import Cell, Control, Experiment, Row, Verdict
from statformer.objectives.looped import expected_error
from statformer.plotting.chart import Chart, Panel, Series
from statformer.runs.intervals import ratio_interval

N_TEST = 4000
ABOUT = 1.1


def measure(cell: Cell, rng: np.random.Generator, *, rival: str = "untied") -> Sequence[Row]:
    """Test loss of both kinds, on the same test tasks.

    rival  "untied"; or "tied", the same network trained anew; or "half", half as many loops in the
           place of the looped layer
    """
    eigenvalues, n, depth = covariance("identity"), cell["n"], cell["depth"]
    S = second_moments(N_TEST, n, eigenvalues, rng)
    looped = fresh(1, depth // 2 if rival == "half" else depth, rng)
    untied = fresh(1, depth, rng) if rival == "tied" else fresh(depth, 1, rng)
    rows = []
    for name, network in (("looped", looped), ("untied", untied)):
        train(network, fresh_loss(n, eigenvalues, rng), cell["steps"])
        with torch.no_grad():
            loss = float(expected_error(network, S, eigenvalues).mean())
        rows.append({"network": name, "loss": loss})
    return rows


def holds(table: pd.DataFrame) -> Verdict:
    """The ratio of losses, paired by seed, is at most 1.1 at every depth and n."""
    verdicts = []
    for (n, depth), rows in table.groupby(["n", "depth"]):
        wide = rows.pivot_table(index="seed", columns="network", values="loss")
        ratio = ratio_interval([wide["looped"].to_numpy()], [wide["untied"].to_numpy()])
        verdicts.append(
            Verdict.below(
                ratio.value,
                ABOUT,
                threshold_source="ours",
                interval=(ratio.low, ratio.high),
                what=f"n = {n}, depth {depth}: loss of looped / untied",
            )
        )
    return Verdict.all_of(*verdicts)


def figure(table: pd.DataFrame) -> Chart:
    """Both losses over depth, one panel per n."""
    panels = []
    for n, rows in table.groupby("n"):
        series = []
        for name, some in rows.groupby("network"):
            by_depth = some.groupby("depth")["loss"]
            series.append(
                Series(
                    str(name),
                    list(by_depth.mean().index),
                    by_depth.mean().to_list(),
                    by_depth.min().to_list(),
                    by_depth.max().to_list(),
                )
            )
        panels.append(Panel(f"n = {n}", "depth", "test loss", series, log_y=True))
    return Chart(panels, "Mean over seeds; bands from the least to the largest. d = 10.")


EXPERIMENT = Experiment(
    claim="A looped layer reaches about the loss of as many layers with weights of their own.",
    paper="2410.08292",
    source="Figure 2, seen through reading notes",
    kind="learnability",
    grid={"n": (20, 200), "depth": (2, 3, 4, 5), "steps": (1500,)},
    quick={"n": (20, 200), "depth": (2, 4), "steps": (500,)},
    tiny={"n": (20,), "depth": (2,), "steps": (150,)},
    n_seeds=10,
    quick_seeds=3,
    tiny_seeds=2,
    measure=measure,
    holds=holds,
    figure=figure,
    not_the_authors="what about equal means, optimizer, batch and n were not found",
    positive=Control(
        measure=partial(measure, rival="tied"), says="the rival is a looped layer, trained anew"
    ),
    controls={
        "half": Control(
            measure=partial(measure, rival="half"), says="the looped layer has half the loops"
        )
    },
    cost="quick 38 s on one core",
)
