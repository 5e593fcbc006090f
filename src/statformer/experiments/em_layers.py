"""More layers lower the error of the trained network, with diminishing return (arXiv 2502.06007).

A check that follows from the theory, where T layer pairs are T EM steps [derived]; the paper's own
curve, if it has one, was not found. EM of as many steps from the same start stands beside it.
Three components, for with two a single step is nearly all. Thresholds are ours.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd

from statformer.experiments._em_networks import (
    NOT_THE_AUTHORS,
    em_after,
    held_out,
    network_error,
    rival_errors,
    small_recipe,
    train,
)
from statformer.experiments._seeds import over_seeds, seed_curve
from statformer.experiments.base import Cell, Control, Experiment, Row, Verdict
from statformer.plotting.chart import Chart, Panel, Series
from statformer.pretraining.recipes.mixture_transformer import misclustering


def measure(
    cell: Cell, rng: np.random.Generator, one_layer: bool = False, is_em: bool = False
) -> Row:
    """Test error of a network of L layers, of EM of L steps, and of EM of 50.

    With `one_layer` every network has one; with `is_em` EM of L steps stands in its place.
    """
    n_layers = 1 if one_layer else cell["n_layers"]
    recipe = small_recipe(n_components=3, n_layers=n_layers, n_heads=4, width=cell["width"])
    batch = held_out(recipe, cell["n_tables"])
    same_depth = misclustering(em_after(batch, cell["n_layers"])[-1], batch.y)
    rivals = {name: float(e.mean()) for name, e in rival_errors(batch).items()}
    error = em = same_depth.double().mean().item()
    if not is_em:
        error = float(network_error(train(recipe, cell["n_steps"], rng), batch).mean())
    return {"error": error, "EM of L steps": em, **rivals}


def holds(table: pd.DataFrame) -> Verdict:
    """The deepest network beats one layer, and the first doubling gains more than the last."""
    errors = table.pivot_table(index="seed", columns="n_layers", values="error")
    depths = sorted(errors.columns)
    gain = over_seeds(errors[depths[0]] - errors[depths[-1]])
    first = errors[depths[0]] - errors[depths[1]]
    last = errors[depths[-2]] - errors[depths[-1]]
    less = over_seeds(first - last)
    return Verdict.all_of(
        Verdict.above(
            gain.value,
            0.0,
            threshold_source="derived",
            interval=gain.interval,
            what=f"error at L={depths[0]} less error at L={depths[-1]}:",
        ),
        Verdict.above(
            less.value,
            0.0,
            threshold_source="derived",
            interval=less.interval,
            what="gain of the first doubling less gain of the last:",
        ),
    )


def figure(table: pd.DataFrame) -> Chart:
    """Test error over the number of layers."""
    curve = seed_curve(table, "n_layers", "error")
    x = list(curve["x"])
    same = seed_curve(table, "n_layers", "EM of L steps")
    series = [
        Series("network", x, list(curve["value"]), list(curve["low"]), list(curve["high"])),
        Series("EM of L steps", x, list(same["value"])),
        Series("EM", x, [float(table["EM"].mean())] * len(x), style="dashed"),
        Series("oracle", x, [float(table["oracle"].mean())] * len(x), style="dashed"),
    ]
    panel = Panel("Depth", "layers L", "misclustered share", series, log_x=True)
    return Chart([panel], "Equal steps for every depth; band over training seeds.")


EXPERIMENT = Experiment(
    claim="More layers lower the error, with diminishing return.",
    paper="2502.06007",
    source="a check derived from the theory: more layers, lower error",
    kind="learnability",
    grid={"n_layers": (1, 2, 4, 8), "width": (32,), "n_steps": (6000,), "n_tables": (4000,)},
    quick={"n_layers": (1, 2, 4), "width": (16,), "n_steps": (500,), "n_tables": (1000,)},
    tiny={"n_layers": (1, 2, 4), "width": (8,), "n_steps": (5,), "n_tables": (40,)},
    n_seeds=5,
    quick_seeds=3,
    measure=measure,
    holds=holds,
    figure=figure,
    cost="quick 98 s of one core of a busy machine",
    not_the_authors=NOT_THE_AUTHORS,
    control_size="quick",
    positive=Control(
        measure=partial(measure, is_em=True), says="EM of L steps in the network's place"
    ),
    controls={
        "one depth": Control(
            measure=partial(measure, one_layer=True), says="every network has one layer"
        )
    },
    timeout_minutes=60,
)
