"""On shifted prompts the trained layer answers like one nearest neighbour.

Li et al. 2024 (arXiv 2411.10830), abstract and figure 3 right; their shifted prompts (appendix B):
the query equals a context point, no other is within a margin, labels are Gaussian and never seen in
training. Item 3 of what a reproduction must show. The antipode and the margins are our reading.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
import torch

from statformer.experiments._neighbor_training import (
    NOT_THE_AUTHORS,
    another_target,
    descend,
    draw,
    marks,
)
from statformer.experiments._seeds import over_seeds, seed_curve
from statformer.experiments.base import Cell, Control, Experiment, Row, Verdict
from statformer.plotting.chart import Chart, Panel, Series
from statformer.pretraining.recipes.nearest_neighbor import NearestNeighborRecipe, answer
from statformer.tasks.labelled_points import LabelledPointsPrior, ShiftedPointsPrior

MOST = 0.01  # mean squared error; labels have the variance 1
TIE = 1e-3  # a margin that is next to none


def measure(cell: Cell, rng: np.random.Generator, harm: str = "") -> Sequence[Row]:
    """Mean squared error on shifted prompts after 0 to `steps` steps on the others."""
    n, d = cell["n"], cell["d"]
    margin = TIE if harm == "no margin" else cell["margin"]
    train = draw(LabelledPointsPrior(n, d), cell["prompts"], rng)
    shifted = draw(ShiftedPointsPrior(n, d, margin), cell["prompts"], rng)
    if harm == "another target":
        train = another_target(train)
    recipe = NearestNeighborRecipe(matrix=cell["matrix"], n_points=n, n_features=d)
    found = []
    for k, module in descend(recipe, train, [0, *marks(cell["steps"] // 4**4, cell["steps"], 5)]):
        with torch.no_grad():
            error = (answer(module, shifted) - shifted.target).square().mean().item()
        found.append({"k": k, "mse": error})
    return found


def holds(table: pd.DataFrame) -> Verdict:
    """In every cell the error is at most a hundredth of the labels' variance after training."""
    verdicts = []
    last = table[table["k"] == table["k"].max()]
    for (n, d, matrix, margin), rows in last.groupby(["n", "d", "matrix", "margin"]):
        found = over_seeds(rows["mse"])
        verdicts.append(
            Verdict.below(
                found.value,
                MOST,
                interval=found.interval,
                threshold_source="ours",
                what=f"shifted error at N={n}, d={d}, margin {margin:g}, {matrix}",
            )
        )
    return Verdict.all_of(*verdicts)


def figure(table: pd.DataFrame) -> Chart:
    """The shifted error over steps, for every margin."""
    panels = []
    for margin, some in table[table["k"] > 0].groupby("margin"):
        series = []
        for (n, d, matrix), rows in some.groupby(["n", "d", "matrix"]):
            curve = seed_curve(rows, "k", "mse")
            error = curve["value"].clip(lower=1e-12).tolist()
            series.append(Series(f"N={n}, d={d}, {matrix}", curve["x"].tolist(), error))
        panels.append(
            Panel(
                f"margin {margin:g}",
                "steps",
                "mean squared error",
                series,
                log_x=True,
                log_y=True,
                rule=MOST,
                rule_label="threshold",
            )
        )
    return Chart(panels, "Shifted prompts, labels ~ N(0, 1); trained on labels of -1 and 1.")


EXPERIMENT = Experiment(
    claim="Trained on labels of -1 and 1 on uniform points, the layer answers shifted prompts with "
    "Gaussian labels like one nearest neighbour: its squared error falls to about 0.",
    paper="2411.10830",
    source="abstract and caption of figure 3 right; test set of appendix B; item 3 of what a "
    "reproduction must show",
    kind="learnability",
    grid={
        "matrix": ("family", "full"),
        "n": (4, 16),
        "d": (4, 8),
        "margin": (0.5, 1.0),
        "prompts": (10_000,),
        "steps": (4096,),
    },
    quick={
        "matrix": ("family", "full"),
        "n": (4,),
        "d": (4,),
        "margin": (0.5, 1.0),
        "prompts": (4096,),
        "steps": (2048,),
    },
    tiny={
        "matrix": ("family",),
        "n": (4,),
        "d": (4,),
        "margin": (1.0,),
        "prompts": (1024,),
        "steps": (400,),
    },
    n_seeds=5,
    quick_seeds=3,
    tiny_seeds=3,
    measure=measure,
    holds=holds,
    figure=figure,
    not_the_authors=NOT_THE_AUTHORS,
    cost="quick 35 s; full about 25 min, on one core (full is reckoned from steps)",
    controls={
        name: Control(measure=partial(measure, harm=name), says=says)
        for name, says in {
            "another target": "trained on labels that are not those of the nearest point",
            "no margin": "other points may be as near as the query's own",
        }.items()
    },
)
