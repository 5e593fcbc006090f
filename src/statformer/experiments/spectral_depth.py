"""More layers find better eigenvectors, with less and less gain (arXiv 2501.01312).

Item 3 of what a reproduction must show, from reviews (an ablation over layers, D up to 40 there).
Here D = 3 and 1, 2 and 4 layers: the second doubling must gain less than the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
import torch

from statformer.benchmarks.spectral_networks import by_power
from statformer.experiments._spectral_training import (
    SMALLER,
    answers,
    component_rows,
    fresh,
    mean_score,
    recipe_of,
    trained,
    two_seeds,
)
from statformer.experiments.base import Cell, Control, Experiment, Row, Verdict
from statformer.plotting.chart import Chart, Panel, Series
from statformer.runs.intervals import mean_interval

LAYERS = (1, 2, 4)


def measure(cell: Cell, rng: np.random.Generator, deepens: bool = True) -> Sequence[Row]:
    """Train one network of each depth on the same instances; mean |cos| per component."""
    train_seed, test_seed = two_seeds(rng)
    rows: list[Row] = []
    for layers in LAYERS:
        recipe = recipe_of("vectors", cell["D"], n_layers=layers if deepens else 1)
        module = trained(recipe, cell["n_steps"], train_seed)
        batch = fresh(recipe, test_seed)
        found = component_rows(answers(recipe, module, batch), batch, "vectors")
        rows += [{"layers": layers, **row} for row in found]
    return rows


def measure_power(cell: Cell, rng: np.random.Generator) -> Sequence[Row]:
    """The positive control: as many steps of the power method as layers."""
    recipe = recipe_of("vectors", cell["D"])
    batch = fresh(recipe, two_seeds(rng)[1])
    starts = rng.standard_normal((len(batch.X), recipe.n_components, recipe.n_features))
    rows: list[Row] = []
    for layers in LAYERS:
        vectors = by_power(batch.X.double().numpy(), starts, layers, "vectors")
        found = component_rows(torch.from_numpy(vectors).float(), batch, "vectors")
        rows += [{"layers": layers, **row} for row in found]
    return rows


def gains(table: pd.DataFrame) -> pd.DataFrame:
    """Mean |cos| of each depth minus that of the depth before, by seed."""
    wide = table.pivot_table(index=["D", "seed"], columns="layers", values="score")
    return wide.diff(axis=1).iloc[:, 1:]


def holds(table: pd.DataFrame) -> Verdict:
    """Both doublings help, and the second helps less."""
    by_step = gains(table)
    verdicts = []
    for layers in by_step.columns:
        found = mean_interval([by_step[layers].to_numpy()])
        verdicts.append(
            Verdict.above(
                found.value,
                0.0,
                interval=(found.low, found.high),
                threshold_source="paper",
                what=f"gain of {layers} layers over half as many",
            )
        )
    fades = mean_interval([(by_step.iloc[:, 0] - by_step.iloc[:, 1]).to_numpy()])
    verdicts.append(
        Verdict.above(
            fades.value,
            0.0,
            interval=(fades.low, fades.high),
            threshold_source="paper",
            what="first gain minus second",
        )
    )
    return Verdict.all_of(*verdicts)


def figure(table: pd.DataFrame) -> Chart:
    """|cos| by depth."""
    series = []
    for (D, component), rows in table.groupby(["D", "component"]):
        found = [mean_score(rows[rows["layers"] == layers]) for layers in LAYERS]
        values = [one.value for one in found]
        low, high = [one.low for one in found], [one.high for one in found]
        series.append(Series(f"D = {D}, component {component}", LAYERS, values, low, high))
    return Chart(
        [Panel("Depth", "layers", "|cos|", series, log_x=True)],
        "Mean over seeds with 95 % intervals.",
    )


EXPERIMENT = Experiment(
    claim="More layers find better eigenvectors, with diminishing returns.",
    paper="2501.01312",
    source="ablation in reviews of the earlier version; item 3 of what a reproduction must show",
    kind="learnability",
    grid={"D": (3, 5), "n_steps": (16_000,)},
    quick={"D": (3,), "n_steps": (3000,)},
    tiny={"D": (3,), "n_steps": (15,)},
    n_seeds=5,
    quick_seeds=3,
    measure=measure,
    holds=holds,
    figure=figure,
    not_the_authors=SMALLER,
    controls={
        "one layer": Control(
            measure=partial(measure, deepens=False),
            size="quick",
            says="every network has one layer, whatever it is called",
        )
    },
    positive=Control(
        measure=measure_power, says="as many steps of the power method in the place of layers"
    ),
    control_size="quick",
    cost="quick 2 min on one core",
)
