"""What tells the query that it is itself carries the layer: without it the answer shrinks to 0.

Ours: item 5 of what a reproduction must show of Li et al. 2024 (arXiv 2411.10830), for our reading
of its tokens. The entry of W_QK that belongs to the query's flag is set to 0 in a trained layer; as
a comparison another entry, from the flag to a feature, is changed by as much: answers are then
wrong, and as large as before. A layer that is trained without the
flag shows whether training finds another way.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import torch

from statformer.experiments._neighbor_training import NOT_THE_AUTHORS, descend, draw, scores
from statformer.experiments._seeds import over_seeds
from statformer.experiments.base import Cell, Control, Experiment, Row, Verdict
from statformer.nn.neighbor import NeighborTransformer
from statformer.plotting.chart import Chart, Panel, Series
from statformer.pretraining.recipes.nearest_neighbor import NearestNeighborRecipe, place
from statformer.tasks.labelled_points import LabelledPointsPrior

SHRUNK = 0.2  # of the mean size of the answers of the whole layer
KEPT = 0.8  # of it, with as large a change of another entry
HALF = 0.5  # of the loss at the start: what training without the flag does not reach
ANSWERS = ("whole", "flag taken out", "another entry changed")


def measure(cell: Cell, rng: np.random.Generator, harm: str = "") -> Row:
    """Sizes of answers and losses of a trained layer, whole and cut, and of a flagless one."""
    prior = LabelledPointsPrior(cell["n"], cell["d"])
    train, test = draw(prior, cell["prompts"], rng), draw(prior, cell["prompts"], rng)
    recipe = NearestNeighborRecipe(n_points=cell["n"], n_features=cell["d"])
    start = scores(recipe.build(0), test)["loss"]
    _, module = next(descend(recipe, train, [cell["steps"]]))
    xi = place(module)
    row: dict[str, float] = {"start loss": start, "xi_1": xi[0], "xi_2": xi[1]}
    for name in ANSWERS:
        layer = NeighborTransformer.from_family(cell["d"], *xi).float()
        if harm != "flag kept":
            _cut(layer, name, xi[1])
        found = scores(layer, test)
        row |= {f"{name}: size": found["size"], f"{name}: loss": found["loss"]}
    is_kept = harm == "flag kept"
    _, module = next(descend(recipe, train, [cell["steps"]], has_flag=is_kept))
    found = scores(module, test)
    return {**row, "trained without: loss": found["loss"], "trained without: size": found["size"]}


def _cut(layer: NeighborTransformer, name: str, xi_2: float) -> None:
    """Change one entry of W_QK by xi_2: the flag's own, or that from the flag to a feature."""
    slots = {"flag taken out": ("flag", 1.0), "another entry changed": ("point", -1.0)}
    if name in slots:
        slot, sign = slots[name]
        row, column = layer.layout["flag"].start, layer.layout[slot].start
        with torch.no_grad():
            layer.attention.W_QK[0, row, column] += sign * xi_2


def holds(table: pd.DataFrame) -> Verdict:
    """Answers shrink without the flag, not by the other change; training finds no way."""
    verdicts = []
    for (n, d), rows in table.groupby(["n", "d"]):
        name = f"at N={n}, d={d}"
        size = rows["whole: size"]
        cut = over_seeds(rows["flag taken out: size"] / size)
        other = over_seeds(rows["another entry changed: size"] / size)
        left = over_seeds(rows["trained without: loss"] / rows["start loss"])
        verdicts += [
            Verdict.below(
                cut.value,
                SHRUNK,
                interval=cut.interval,
                threshold_source="ours",
                what=f"share of the answers' size without the flag {name}",
            ),
            Verdict.above(
                other.value,
                KEPT,
                interval=other.interval,
                threshold_source="ours",
                what="with an equal change of another entry",
            ),
            Verdict.above(
                left.value,
                HALF,
                interval=left.interval,
                threshold_source="ours",
                what="share of the first loss after training without the flag",
            ),
        ]
    return Verdict.all_of(*verdicts)


def figure(table: pd.DataFrame) -> Chart:
    """Mean sizes of the answers, of the whole layer, cut ones, and one trained without the flag."""
    names = (*ANSWERS, "trained without")
    series = []
    for (n, d), rows in table.groupby(["n", "d"]):
        found = [over_seeds(rows[f"{name}: size"]) for name in names]
        series.append(
            Series(
                f"N={n}, d={d}",
                [float(i) for i in range(len(names))],
                [one.value for one in found],
                [one.low for one in found],
                [one.high for one in found],
                style="bars",
            )
        )
    panel = Panel("", "layer", "mean size of the answer", series, categories=names)
    return Chart([panel], "Labels are -1 and 1; fresh prompts, intervals over seeds.")


EXPERIMENT = Experiment(
    claim="Without the flag that lets the query suppress itself, the layer's answer shrinks to 0, "
    "and training finds no other way.",
    paper="2411.10830",
    source="ours, for our reading of the tokens; item 5 of what a reproduction must show",
    kind="mechanism",
    grid={"n": (4, 16), "d": (4, 8), "prompts": (10_000,), "steps": (4096,)},
    quick={"n": (4, 16), "d": (4,), "prompts": (4096,), "steps": (2048,)},
    tiny={"n": (4,), "d": (4,), "prompts": (256,), "steps": (300,)},
    n_seeds=5,
    quick_seeds=3,
    tiny_seeds=3,
    measure=measure,
    holds=holds,
    figure=figure,
    not_the_authors=NOT_THE_AUTHORS,
    cost="quick 17 s; full about 6 min, on one core (full is reckoned from steps)",
    controls={
        "flag kept": Control(
            measure=partial(measure, harm="flag kept"), says="nothing is taken out of the layer"
        )
    },
)
