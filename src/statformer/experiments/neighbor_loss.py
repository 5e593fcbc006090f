"""Gradient descent from the structured start drives the loss towards 0 and the layer to hardness.

Li et al. 2024 (arXiv 2411.10830), abstract and the caption of figure 3 left; item 1 of what a
reproduction must show (xi_1 grows without bound and attention to the query itself vanishes: ours).
All m^2 entries of W_QK are trained, or the two of the family; full-batch descent on fixed prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd

from statformer.experiments._neighbor_training import (
    NOT_THE_AUTHORS,
    another_target,
    descend,
    draw,
    marks,
    scores,
)
from statformer.experiments._seeds import over_seeds, seed_curve
from statformer.experiments.base import Cell, Control, Experiment, Row, Verdict
from statformer.plotting.chart import Chart, Panel, Series
from statformer.pretraining.recipes.nearest_neighbor import NearestNeighborRecipe
from statformer.tasks.labelled_points import LabelledPointsPrior

N_MARKS = 9
LEFT = 0.2  # of the loss at the start
GROWTH = 1.3  # of xi_1 while steps grow fourfold; k^(1/3) would be 1.59
ITSELF = 0.05
ROUNDING = 1e-5  # of a float32 loss


def measure(cell: Cell, rng: np.random.Generator, harm: str = "") -> Sequence[Row]:
    """Scores on fresh prompts after 0 to `steps` steps, and the loss on the trained ones."""
    prior = LabelledPointsPrior(cell["n"], cell["d"])
    train, test = draw(prior, cell["prompts"], rng), draw(prior, cell["prompts"], rng)
    if harm == "another target":
        train, test = another_target(train), another_target(test)
    recipe = NearestNeighborRecipe(
        matrix=cell["matrix"],
        n_points=cell["n"],
        n_features=cell["d"],
        step_size=0.0 if harm == "no steps" else 2.0,
    )
    at = [0, *marks(cell["steps"] // 4**4, cell["steps"], N_MARKS)]
    return [
        {"k": k, "train_loss": scores(module, train)["loss"], **scores(module, test)}
        for k, module in descend(recipe, train, at)
    ]


def holds(table: pd.DataFrame) -> Verdict:
    """In every cell: a fifth of the first loss at most, never a rise, xi_1 grows, self fades."""
    verdicts = []
    for (n, d, matrix), rows in table.groupby(["n", "d", "matrix"]):
        name = f"at N={n}, d={d}, {matrix}"
        by_seed = [one.sort_values("k") for _, one in rows.groupby("seed")]
        last = rows["k"].max()
        quarter = max(k for k in rows["k"].unique() if 4 * k <= last * 1.01)
        left = over_seeds([one["loss"].iloc[-1] / one["loss"].iloc[0] for one in by_seed])
        growth = over_seeds(
            [
                float(one["xi_1"].iloc[-1] / one.loc[one["k"] == quarter, "xi_1"].iloc[0])
                if one["xi_1"].iloc[-1] > 0
                else 0.0
                for one in by_seed
            ]
        )
        itself = over_seeds([one["self_attention"].iloc[-1] for one in by_seed])
        rise = max(float(one["train_loss"].diff().max()) for one in by_seed)
        verdicts += [
            Verdict.below(
                left.value,
                LEFT,
                interval=left.interval,
                threshold_source="ours",
                what=f"share of the first loss after {last} steps {name}",
            ),
            Verdict.below(rise, ROUNDING, threshold_source="derived", what="largest rise"),
            Verdict.above(
                growth.value,
                GROWTH,
                interval=growth.interval,
                threshold_source="ours",
                what="growth of xi_1 over the last fourfold of steps",
            ),
            Verdict.below(
                itself.value,
                ITSELF,
                interval=itself.interval,
                threshold_source="ours",
                what="attention to itself",
            ),
        ]
    return Verdict.all_of(*verdicts)


def figure(table: pd.DataFrame) -> Chart:
    """Loss, xi_1 and the attention to itself over steps."""
    measured = {
        "loss": "loss",
        "xi_1": "xi_1",
        "self_attention": "attention of the query to itself",
    }
    shown = table[table["k"] > 0]
    panels = []
    for column, label in measured.items():
        series = []
        for (n, d, matrix), rows in shown.groupby(["n", "d", "matrix"]):
            curve = seed_curve(rows, "k", column)
            series.append(
                Series(f"N={n}, d={d}, {matrix}", curve["x"].tolist(), curve["value"].tolist())
            )
        panels.append(Panel("", "steps", label, series, log_x=True, log_y=True))
    return Chart(panels, "Descent from the structured start; means over seeds, fresh prompts.")


EXPERIMENT = Experiment(
    claim="Gradient descent from a structured start drives the loss of one softmax-attention layer "
    "towards 0: it never rises, xi_1 keeps growing, and the query stops attending to itself.",
    paper="2411.10830",
    source="abstract and caption of figure 3 left; item 1 of what a reproduction must show (the "
    "growth of xi_1 and the attention to itself are ours)",
    kind="learnability",
    grid={
        "matrix": ("family", "full"),
        "n": (4, 16),
        "d": (4, 8),
        "prompts": (10_000,),
        "steps": (16_384,),
    },
    quick={
        "matrix": ("family", "full"),
        "n": (4,),
        "d": (4,),
        "prompts": (4096,),
        "steps": (4096,),
    },
    tiny={"matrix": ("family",), "n": (4,), "d": (4,), "prompts": (512,), "steps": (512,)},
    n_seeds=5,
    quick_seeds=3,
    tiny_seeds=3,
    measure=measure,
    holds=holds,
    figure=figure,
    not_the_authors=NOT_THE_AUTHORS,
    cost="quick 35 s; full about 50 min, on one core (full is reckoned from steps)",
    controls={
        name: Control(measure=partial(measure, harm=name), says=says)
        for name, says in {
            "another target": "the label asked for is not that of the nearest point",
            "no steps": "a step size of 0",
        }.items()
    },
)
