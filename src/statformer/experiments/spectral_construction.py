"""A Transformer of ReLU attention can be the power method with deflation (arXiv 2501.01312).

The paper proves that one approximates it; its matrices were not found. The weights here are derived
by us: per component tau power steps and one block that stores, and blocks that divide by a length.
In float64 the gap to the textbook algorithm from the same starts is rounding.
"""

from __future__ import annotations

from functools import partial
from typing import cast

import numpy as np
import pandas as pd
import torch

from statformer.constructions.power_iteration import power_transformer
from statformer.experiments.base import Cell, Control, Experiment, Row, Verdict
from statformer.nn.attention import Attention
from statformer.nn.transformer import Block
from statformer.plotting.chart import Chart, Panel, Series
from statformer.reference.power_iteration import covariance, power_iteration

ROUNDING = 1e-10


def measure(cell: Cell, rng: np.random.Generator, disturbed: float = 0.0) -> Row:
    """The largest difference of an eigenvalue or of an entry of a vector, over 8 tables."""
    d, k, tau = cell["d"], cell["k"], cell["steps"]
    X = rng.standard_normal((8, 3 * d, d)) @ rng.standard_normal((d, d)) / d**0.5
    starts = rng.standard_normal((8, k, d))
    network = power_transformer(d, k, tau, phi=cell["attention"], n_points=3 * d).double()
    with torch.no_grad():
        power_steps = cast(Block, network.transformer.blocks[1])
        W_QK = cast(Attention, power_steps.attention).W_QK
        W_QK.view(-1)[W_QK.abs().argmax()] *= 1.0 + disturbed
        values, vectors = network(torch.from_numpy(X), torch.from_numpy(starts))
    gap = 0.0
    for i in range(len(X)):
        pairs = power_iteration(covariance(X[i]), starts[i], tau)
        scale = float(pairs.values.max())
        gap = max(gap, float(np.abs(values[i].numpy() - pairs.values).max()) / scale)
        gap = max(gap, float(np.abs(vectors[i].numpy() - pairs.vectors).max()))
    return {"gap": gap, "depth": network.depth, "theorem's depth": network.theorem_depth}


def holds(table: pd.DataFrame) -> Verdict:
    """The largest gap is rounding."""
    return Verdict.below(
        float(table["gap"].max()), ROUNDING, threshold_source="derived", what="largest gap"
    )


def figure(table: pd.DataFrame) -> Chart:
    """Gap over the number of power steps."""
    series = []
    for attention, rows in table.groupby("attention"):
        by = rows.groupby("steps")["gap"].max()
        series.append(
            Series(str(attention), list(by.index), by.clip(lower=1e-17).to_list(), style="line")
        )
    panel = Panel(
        "Network and algorithm",
        "power steps per component",
        "largest gap",
        series,
        log_x=True,
        log_y=True,
        rule=ROUNDING,
        rule_label="threshold",
    )
    return Chart([panel], "Largest over dimensions, components, tables and seeds.")


EXPERIMENT = Experiment(
    claim="Explicit weights make a Transformer of ReLU attention the power method with deflation.",
    paper="2501.01312",
    source="abstract and theorem outline from reviews; weights derived by us",
    kind="existence",
    grid={
        "attention": ("relu", "linear"),
        "d": (3, 5, 10, 20),
        "k": (1, 3),
        "steps": (1, 5, 25, 100),
    },
    quick={"attention": ("relu", "linear"), "d": (3, 10), "k": (1, 3), "steps": (1, 5, 25)},
    tiny={"attention": ("relu",), "d": (3,), "k": (2,), "steps": (5,)},
    n_seeds=5,
    quick_seeds=2,
    measure=measure,
    holds=holds,
    figure=figure,
    not_the_authors="the paper's matrices were not found; these are ours, and exact",
    controls={
        "one weight": Control(
            measure=partial(measure, disturbed=1e-4),
            size="tiny",
            says="one weight of the power steps is off by 1e-4 of itself",
        )
    },
    cost="quick 5 s on one core",
)
