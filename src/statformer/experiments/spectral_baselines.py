"""Does the trained Transformer do more than simpler methods? Reviewers asked (arXiv 2501.01312).

Item 5 of what a reproduction must show: a power method with as many steps as the network has
layers, and a linear and an MLP read-out of the flattened instance, trained on the same prior. The
claim is ours: the network's eigenvectors are better than those of all three.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
import torch

from statformer.benchmarks.optim_run import torch_threads
from statformer.benchmarks.spectral_networks import by_power
from statformer.benchmarks.spectral_read_outs import LINEAR, MLP, train_read_outs
from statformer.experiments._spectral_training import (
    SMALLER,
    answers,
    component_rows,
    fresh,
    mean_score,
    paired,
    recipe_of,
    trained,
    two_seeds,
)
from statformer.experiments.base import Cell, Control, Experiment, Row, Verdict
from statformer.plotting.chart import Chart, Panel, Series

NETWORK, POWER = "network", "power method"
RIVALS = (POWER, LINEAR, MLP)


def measure(
    cell: Cell, rng: np.random.Generator, learns: bool = True, exact: bool = False
) -> Sequence[Row]:
    """|cos| per component of the network and of the three rivals on the same fresh instances.

    The read-outs see four times as many instances a step, for half as many steps.
    """
    recipe = recipe_of("vectors", cell["D"])
    train_seed, test_seed = two_seeds(rng)
    module = trained(recipe, cell["n_steps"] if learns else 0, train_seed)
    batch = fresh(recipe, test_seed)
    found = {NETWORK: answers(recipe, module, batch)}
    if exact:
        found[NETWORK] = batch.eigenvectors[:, : recipe.n_components]
    starts = rng.standard_normal((len(batch.X), recipe.n_components, recipe.n_features))
    power = by_power(batch.X.double().numpy(), starts, recipe.n_layers, "vectors")
    found[POWER] = torch.from_numpy(power).float()
    sizes = (recipe.n_points, recipe.n_features, recipe.n_components)
    with torch_threads(1):
        read_outs = train_read_outs(*sizes, max(cell["n_steps"] // 2, 5), lambda _: None)
        with torch.no_grad():
            for name in (LINEAR, MLP):
                found[name] = read_outs[name, "vectors"].module(batch.X)
    return [
        {"method": name, **row}
        for name, answer in found.items()
        for row in component_rows(answer, batch, "vectors")
    ]


def holds(table: pd.DataFrame) -> Verdict:
    """The network's mean |cos| is above that of every rival."""
    verdicts = []
    for D, rows in table.groupby("D"):
        for rival in RIVALS:
            found = paired(rows, "method", NETWORK, rival)
            verdicts.append(
                Verdict.above(
                    found.value,
                    0.0,
                    interval=(found.low, found.high),
                    threshold_source="ours",
                    what=f"|cos| minus that of the {rival}, D = {D}",
                )
            )
    return Verdict.all_of(*verdicts)


def figure(table: pd.DataFrame) -> Chart:
    """|cos| by component and method."""
    panels = []
    for D, some in table.groupby("D"):
        series = []
        for method in (NETWORK, *RIVALS):
            rows = some[some["method"] == method]
            places = sorted(rows["component"].unique())
            found = [mean_score(rows, j) for j in places]
            values = [one.value for one in found]
            low, high = [one.low for one in found], [one.high for one in found]
            series.append(Series(method, places, values, low, high, style="points"))
        panels.append(Panel(f"D = {D}", "component", "|cos|", series))
    return Chart(panels, "Mean over seeds with 95 % intervals.")


EXPERIMENT = Experiment(
    claim="The trained network finds better eigenvectors than as many power steps, a linear and an "
    "MLP read-out.",
    paper="2501.01312",
    source="reviews that miss these baselines; item 5 of what a reproduction must show; the claim "
    "is ours",
    kind="learnability",
    grid={"D": (2, 3, 5), "n_steps": (16_000,)},
    quick={"D": (3,), "n_steps": (3000,)},
    tiny={"D": (3,), "n_steps": (15,)},
    n_seeds=5,
    quick_seeds=3,
    measure=measure,
    holds=holds,
    figure=figure,
    not_the_authors=SMALLER,
    controls={
        "untrained": Control(
            measure=partial(measure, learns=False), size="quick", says="no step of training"
        )
    },
    positive=Control(
        measure=partial(measure, learns=False, exact=True),
        says="the exact eigenvectors in the network's place",
    ),
    control_size="quick",
    cost="quick 2 min on one core",
)
