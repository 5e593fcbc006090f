"""With one cloud of particles in every layer the error of a network falls like 1/L in its depth.

arXiv 2410.23610, Theorem 3.1 and Lemma D.3: the part of the bound that is left where the width
plays no role. Two errors: of the answers before training, against a fine solution of the
differential equation in t; and of the risk during training, against the limit 2 R_2L - R_L with L
the deepest network. The paper has no numerical check; the slope with its tolerance (-1 ± 0.15), the
task and the sizes are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
import torch

from statformer.experiments._mean_field import (
    READ,
    cloud,
    largest_gap,
    network,
    power_law,
    sequences,
    train_clouds,
)
from statformer.experiments.base import Cell, Control, Experiment, Row, Verdict
from statformer.objectives.mean_field_limit import limit
from statformer.plotting.chart import Chart, Panel, Series

SHALLOWEST, WIDTH, FINE = 4, 32, 32
KINDS = {"forward": "answers before training", "trained": "risk during training"}


def measure(
    cell: Cell, rng: np.random.Generator, *, louder: float = 1.0, fresh: bool = False
) -> Sequence[Row]:
    """Both errors of some runs at L = 4, 8, 16, ..."""
    task, draws = sequences(rng), cell["draws"]
    one = cloud(rng, draws, 1, WIDTH)
    rows: list[Row] = []

    def record(kind: str, depth: int, errors: np.ndarray) -> None:
        rows.extend(
            {"error": kind, "depth": depth, "draw": draw, "value": float(value)}
            for draw, value in enumerate(errors)
        )

    exact = limit(network(one), *task, n_steps=FINE).states[-1][:, :, -1, READ]
    depth = SHALLOWEST
    while depth <= cell["deepest"]:
        particles = cloud(rng, draws, depth, WIDTH) if fresh else one.refined(depth)
        with torch.no_grad():
            answers = network(particles, louder)(task.H)
        record("forward", depth, (answers - exact).square().mean(1).sqrt().numpy())
        depth *= 2
    n_steps, last = cell["n_steps"], cell["deepest_trained"]
    # What is left of the limit's own error is of order 1 / L^2.
    deep = [train_clouds(one.refined(k * last), task, n_steps).risk for k in (1, 2)]
    reference = 2.0 * deep[1] - deep[0]
    depth = SHALLOWEST
    while depth <= last:
        particles = cloud(rng, draws, depth, WIDTH) if fresh else one.refined(depth)
        found = train_clouds(particles, task, n_steps, louder=louder).risk
        gaps = [largest_gap(found[:, [k]], reference[:, k])[0] for k in range(draws)]
        record("trained", depth, np.array(gaps))
        depth *= 2
    return rows


def _units(rows: pd.DataFrame) -> np.ndarray:
    return (rows["seed"].astype(str) + "/" + rows["draw"].astype(str)).to_numpy()


def holds(table: pd.DataFrame) -> Verdict:
    """The slope of both errors on L."""
    verdicts = []
    for kind, what in KINDS.items():
        rows = table[table["error"] == kind]
        x, y = rows["depth"].to_numpy(), rows["value"].to_numpy()
        verdicts.append(power_law(x, y, _units(rows), -1.0, f"the error of {what} in L")[1])
    return Verdict.all_of(*verdicts)


def figure(table: pd.DataFrame) -> Chart:
    """Both errors over L with their fitted lines."""
    series = []
    for kind, what in KINDS.items():
        rows = table[table["error"] == kind]
        logs = np.log10(rows["value"]).groupby(rows["depth"])
        mean, low, high = logs.mean(), logs.min(), logs.max()
        series.append(
            Series(
                what,
                mean.index.to_list(),
                (10.0**mean).to_list(),
                (10.0**low).to_list(),
                (10.0**high).to_list(),
                style="points",
            )
        )
        x, y = rows["depth"].to_numpy(), rows["value"].to_numpy()
        fit, _ = power_law(x, y, _units(rows), -1.0, "")
        if fit is not None:
            ends = np.array([x.min(), x.max()])
            line = 10.0 ** (fit.intercept + fit.slope * np.log10(ends))
            series.append(
                Series(f"slope {fit.slope:.2f}", ends.tolist(), line.tolist(), style="dashed")
            )
    panel = Panel("The price of finite depth", "depth L", "error", series, log_x=True, log_y=True)
    return Chart([panel], "Geometric means over clouds; bands from the least to the largest.")


EXPERIMENT = Experiment(
    claim="With the same particles in every layer, errors of the answers and of the risk during "
    "training fall like 1/L.",
    paper="2410.23610",
    source="Theorem 3.1 and Lemma D.3, read in full; the paper has no numerical check of them",
    kind="learnability",
    grid={"deepest": (256,), "deepest_trained": (64,), "n_steps": (50,), "draws": (5,)},
    quick={"deepest": (128,), "deepest_trained": (32,), "n_steps": (40,), "draws": (5,)},
    tiny={"deepest": (16,), "deepest_trained": (8,), "n_steps": (4,), "draws": (2,)},
    n_seeds=4,
    quick_seeds=2,
    measure=measure,
    holds=holds,
    figure=figure,
    not_the_authors="the paper has no such experiment: task, sizes, λ, step and τ are ours",
    controls={
        "whole steps": Control(
            measure=partial(measure, louder=2.0), says="each sub-layer takes a step of 1/L"
        ),
        "fresh particles": Control(
            measure=partial(measure, fresh=True), says="every layer draws particles of its own"
        ),
    },
    cost="quick 24 s on one core",
)
