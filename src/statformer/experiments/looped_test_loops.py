"""Looping on beyond training does not raise the loss, on the covariance of training or on another.

arXiv 2410.08292, Figure 3, seen through reading notes: layers trained with 2 or 5 loops; item 6 of
what a reproduction must show: twice to ten times the loops. The authors' other covariances and n
were not found. Ours: n = 400 = 40 d; at test the identity, half of it, or eigenvalues from 0.5 to
1.3, w ~ N(0, Sigma^-1) of the test. A loop contracts wherever a s < 2 for the largest eigenvalue s
of S (derived), which these keep; the faults do not.

A first quick run, with 1 and not 1 + 1e-9 as the threshold, failed: where the loss had come to rest
near 1e-12 a loop changed it by 2e-16 of itself. The run that decides has the allowance for
rounding, other draws (500 steps of training and not 400), and was made after the change was
committed.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

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

N_TEST = 1000
FARTHEST = 10  # times the loops of training
LOWEST = 1e-20  # a loss below is rounding
SLACK = 1e-9  # of a ratio of 1, for rounding


def measure(
    cell: Cell, rng: np.random.Generator, *, n: int | None = None, stretch: float = 1.0
) -> Sequence[Row]:
    """Loss on the same test tasks, loop by loop up to ten times those of training."""
    n = n or cell["n"]
    network = fresh(1, cell["trained"], rng)
    train(network, fresh_loss(n, covariance("identity"), rng), cell["steps"])
    eigenvalues = stretch * _tested(cell["covariance"])
    S = second_moments(N_TEST, n, eigenvalues, rng)
    rows = []
    for n_loops in range(1, FARTHEST * cell["trained"] + 1):
        network.n_loops = n_loops
        with torch.no_grad():
            loss = float(expected_error(network, S, eigenvalues).mean())
        rows.append({"loops": n_loops, "loss": max(loss, LOWEST)})
    return rows


def _tested(name: str) -> Float[Tensor, " d"]:
    if name == "half":
        return 0.5 * covariance("identity")
    if name == "spread":
        return torch.from_numpy(np.linspace(0.5, 1.3, D))
    return covariance("identity")


def holds(table: pd.DataFrame) -> Verdict:
    """From the loops of training on, no loop raises the loss of any seed, on any covariance."""
    verdicts = []
    for name, rows in table.groupby("covariance"):
        rises = []
        for _, curve in rows.groupby(["trained", "seed"]):
            beyond = curve[curve["loops"] >= curve["trained"]].sort_values("loops")["loss"]
            rises.append(float((beyond.to_numpy()[1:] / beyond.to_numpy()[:-1]).max()))
        verdicts.append(
            Verdict.below(
                max(rises),
                1.0 + SLACK,
                threshold_source="paper",
                what=f"{name}: largest loss of a loop / that of the loop before",
            )
        )
    return Verdict.all_of(*verdicts)


def figure(table: pd.DataFrame) -> Chart:
    """Loss over loops at test, one panel per number of loops in training."""
    panels = []
    for trained, rows in table.groupby("trained"):
        series = []
        for name, some in rows.groupby("covariance"):
            by_loops = some.groupby("loops")["loss"]
            series.append(
                Series(
                    str(name),
                    list(by_loops.mean().index),
                    by_loops.mean().to_list(),
                    by_loops.min().to_list(),
                    by_loops.max().to_list(),
                )
            )
        panels.append(
            Panel(f"Trained with {trained} loops", "loops at test", "loss", series, log_y=True)
        )
    return Chart(panels, "Mean over seeds; bands from the least to the largest.")


EXPERIMENT = Experiment(
    claim="Looping on up to ten times the loops of training does not raise the loss, on the "
    "covariance of training or on others.",
    paper="2410.08292",
    source="Figure 3, seen through reading notes; item 6 of what a reproduction must show",
    kind="learnability",
    grid={
        "trained": (2, 5),
        "covariance": ("identity", "half", "spread"),
        "n": (400,),
        "steps": (1200,),
    },
    quick={
        "trained": (2, 5),
        "covariance": ("identity", "half", "spread"),
        "n": (400,),
        "steps": (500,),
    },
    tiny={"trained": (2,), "covariance": ("identity", "spread"), "n": (400,), "steps": (100,)},
    n_seeds=10,
    quick_seeds=3,
    measure=measure,
    holds=holds,
    figure=figure,
    not_the_authors="the other covariances, the number of points and the optimizer were not found",
    controls={
        "few points": Control(
            measure=partial(measure, n=12), says="n = 12: S is far from its mean, and a s > 2"
        ),
        "large covariance": Control(
            measure=partial(measure, stretch=2.5), says="the test covariance is 2.5 times as large"
        ),
    },
    cost="quick 40 s on one core",
)
