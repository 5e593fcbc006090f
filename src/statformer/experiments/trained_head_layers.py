"""The scale v0 of the second layer decides whether it learns (arXiv 2410.19139, abstract).

A large v0: the hidden layer grows, v stays essentially where it was. A small v0: the hidden layer
reaches a definite ratio to v, then both grow and keep it. The formulas were not found. For the
network here the ratio is 1, because |w_r|^2 - v_r^2 does not change along the gradient flow
(derived); how far descent departs from that is measured at two step sizes. The thresholds are ours,
set in our reading of the paper before this file was written, but for one: a drift proportional to
the step was expected, and first trials at v0 = 1, where one step is most of the way, had it fall
with the square. So only that it falls at least in proportion (by 1.5 or more) is asked. With four
seeds a first quick run was undecided, and their number was raised to eight: what decides is the
full size, which has seeds and scales that were never seen.

Axes: b runs (1), m filters, r span coordinates.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
import torch

from statformer.experiments._seeds import over_seeds
from statformer.experiments.base import Cell, Control, Experiment, Row, Verdict
from statformer.nn.span import Span
from statformer.nn.vision import TrainedHeadClassifier
from statformer.objectives.logistic import logistic_loss, trained_head_gradient
from statformer.optim.descent import descend
from statformer.plotting.chart import Chart, Panel, Series
from statformer.tasks.signal_noise import SignalNoisePrior
from statformer.tasks.stream import TaskStream

N, D, M, SIGMA0 = 40, 1000, 20, 1e-3
LARGE, SMALL = 1.0, 0.01
SETTLED = 15.0  # time after which the ratio is to be kept: 300 steps of 0.05
N_TIMES = 40


def measure(cell: Cell, rng: np.random.Generator, *, head_speed: float = 1.0) -> Sequence[Row]:
    """Both layers on the way; `time` is step size times steps, `head_speed` v's share of a step."""
    stream = TaskStream(int(rng.integers(2**62)), 0, range(1), dtype=torch.float64)
    batch = SignalNoisePrior(N, D, signal_norm=cell["norm"], sigma=1.0).sample(stream)
    W = SIGMA0 * stream.normal(M, D)
    span = Span.of(batch.signal[:, 1:], batch.noise[:, :, 0], W)
    X = span.inside(batch.X)
    network = TrainedHeadClassifier.from_scale(span.inside(W), cell["v0"])
    v_start, balance_start = network.v.detach().clone(), _balance(network)
    step_size = cell["step_size"]
    n_steps = round(cell["time"] / step_size)
    times = set(np.geomspace(1, n_steps, N_TIMES).astype(int).tolist()) | {0}
    rows: list[Row] = []

    def watch(t: int) -> None:
        if t not in times:
            return
        W, v = network.W.detach(), network.v.detach()
        rows.append(
            {
                "t": t * step_size,
                "change": float(((v - v_start).abs() / cell["v0"]).max()),
                "ratio": float((W.norm(dim=-1) / v.abs()).quantile(0.5)),
                "drift": float((_balance(network) - balance_start).abs().max()),
                "loss": float(logistic_loss(network(X), batch.y)),
            }
        )

    sizes = {"W": torch.full((1,), step_size, dtype=X.dtype)}
    sizes["v"] = head_speed * sizes["W"]
    result = descend(
        network, lambda: trained_head_gradient(network, X, batch.y), sizes, n_steps, watch=watch
    )
    if bool(result.diverged):
        raise ArithmeticError(f"the descent diverged at {dict(cell)}; its step size is too large")
    return rows


def _balance(network: TrainedHeadClassifier) -> torch.Tensor:
    """|w_r|^2 - v_r^2 of each filter."""
    return (network.W.square().sum(-1) - network.v.square()).detach()


def holds(table: pd.DataFrame) -> Verdict:
    """Each number is the worst over signals, as a mean over seeds with its interval."""
    last = table.loc[table.groupby(["v0", "norm", "step_size", "seed"])["t"].idxmax()]
    coarse = last[last["step_size"] == last["step_size"].max()]
    fine = last[last["step_size"] == last["step_size"].min()]
    large, small = coarse[coarse["v0"] == LARGE], coarse[coarse["v0"] == SMALL]
    settled = table[(table["v0"] == SMALL) & (table["t"] >= SETTLED)]
    drifts = [one.groupby(["seed", "v0"])["drift"].max() for one in (coarse, fine)]
    quotient = (drifts[0] / drifts[1]).groupby("seed").min()
    checks = [
        (large.groupby("seed")["change"].max(), "below", 0.1, f"change of v / v0 at v0 = {LARGE}"),
        (large.groupby("seed")["loss"].max(), "below", 1e-4, f"loss at v0 = {LARGE}"),
        (small.groupby("seed")["change"].min(), "above", 10.0, f"change of v / v0 at v0 = {SMALL}"),
        (settled.groupby("seed")["ratio"].min(), "above", 0.9, "least |w| / |v|"),
        (settled.groupby("seed")["ratio"].max(), "below", 1.1, "largest |w| / |v|"),
        (coarse.groupby("seed")["drift"].max(), "below", 0.05, "drift of |w|² - v²"),
        (quotient, "above", 1.5, "drift / drift of half steps"),
    ]
    verdicts = []
    for values, side, threshold, what in checks:
        found = over_seeds(values)
        decide = Verdict.below if side == "below" else Verdict.above
        verdicts.append(
            decide(
                found.value,
                threshold,
                threshold_source="ours",
                interval=found.interval,
                what=what,
            )
        )
    return Verdict.all_of(*verdicts)


def figure(table: pd.DataFrame) -> Chart:
    """The ratio of the layers and the change of v over time, at both scales of v."""
    rows = table[(table["step_size"] == table["step_size"].max()) & (table["t"] > 0)]
    panels = []
    for column, title, label in (
        ("ratio", "Hidden layer against output layer", "median |w| / |v|"),
        ("change", "How far the output layer has come", "largest change of v / v0"),
    ):
        series = []
        for v0, of_scale in rows.groupby("v0"):
            by_time = of_scale.groupby("t")[column]
            mean = by_time.mean()
            series.append(
                Series(
                    f"v0 = {v0}",
                    list(mean.index),
                    mean.to_list(),
                    by_time.min().to_list(),
                    by_time.max().to_list(),
                )
            )
        panels.append(Panel(title, "step size x steps", label, series, log_x=True, log_y=True))
    return Chart(panels, "Mean over signals and seeds; bands from the least to the largest.")


EXPERIMENT = Experiment(
    claim="A second layer that starts large stays as it is; one that starts small grows with the "
    "first at a ratio that settles.",
    paper="2410.19139",
    source="abstract, claims 1 and 2; the body was not at hand, the thresholds are ours",
    kind="learnability",
    grid={
        "v0": (LARGE, SMALL),
        "norm": (2.0, 6.0, 12.0),
        "step_size": (0.05, 0.025),
        "time": (150.0,),
    },
    quick={"v0": (LARGE, SMALL), "norm": (6.0,), "step_size": (0.05, 0.025), "time": (150.0,)},
    tiny={"v0": (LARGE, SMALL), "norm": (6.0,), "step_size": (0.05, 0.025), "time": (30.0,)},
    n_seeds=10,
    quick_seeds=8,
    measure=measure,
    holds=holds,
    figure=figure,
    not_the_authors="network, loss, scales, sizes and step size were not found",
    controls={
        "frozen head": Control(measure=partial(measure, head_speed=0.0), says="v is not trained"),
    },
    control_size="quick",
    cost="quick 26 s, full 100 s on one core",
)
