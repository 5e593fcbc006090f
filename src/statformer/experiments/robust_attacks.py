"""Stronger attacks leave less, and the one without gradients finds nothing new (arXiv 2409.17589).

A check of the evaluation (ours) rather than a claim of the paper: the accuracies of a
network trained by SKG-FAT are in the order clean, FGSM, PGD-10, PGD-50, AutoAttack, each at most
0.3 points above the one before; and Square, the part of AutoAttack that needs no gradient, lowers
what the three parts before it leave by at most 0.1 points, else the gradients were masked. Both
margins were set before this file was written. That something is left for Square
to try, 20 % of the images, is ours. FGSM, PGD and the parts of AutoAttack are those of foolbox and
pyautoattack; the networks and images are those of the other claims on robustness.

The planted faults: a network behind a rounding of its input, which looks robust to all that follows
a gradient, and PGD with steps of a thousandth of their length.
"""

from __future__ import annotations

import warnings
from functools import lru_cache, partial
from itertools import pairwise

import numpy as np
import pandas as pd
from torch import Tensor, nn

from statformer.experiments._robust_recipes import GUIDED, RECIPES, SMALLER
from statformer.experiments._robust_training import images_of, train
from statformer.experiments._seeds import over_seeds
from statformer.experiments.base import Cell, Control, Experiment, Row, Verdict
from statformer.plotting.chart import Chart, Panel, Series
from statformer.robust import RobustnessWarning, evaluate_robustness

ORDER = ("clean", "fgsm", "pgd10", "pgd50", "autoattack")
NAMES = ("clean", "FGSM", "PGD-10", "PGD-50", "AutoAttack")
SLACK, SQUARE_SLACK, LEAST_LEFT = 0.003, 0.001, 0.2
LEVELS = 8  # of a pixel, in the planted fault


class Rounded(nn.Module):
    """A network that sees `LEVELS` + 1 levels of a pixel: its gradient is 0 everywhere."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Logits of the rounded image."""
        logits: Tensor = self.network((LEVELS * x).round() / LEVELS)
        return logits


def measure(
    cell: Cell,
    rng: np.random.Generator,
    *,
    rounded: bool = False,
    of_a_step: float = 1.0,
    together: bool = False,
) -> Row:
    """Accuracy under each attack, and before Square has its turn.

    With `together` an attack has what the weaker ones found, so that the order cannot fail.
    """
    recipe = RECIPES[cell["recipe"]]
    seed = int(rng.integers(2**31))
    network = _guided(cell["recipe"], seed)
    x, y = (part[: cell["n_test"]].cpu() for part in images_of(recipe).test)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RobustnessWarning)  # what they say is what is measured
        table = evaluate_robustness(
            Rounded(network) if rounded else network,
            (x, y),
            eps_255=recipe.eps_255,
            step_255=of_a_step * recipe.eps_255 / 4,
            attacks=ORDER[1:],
            n_queries=cell["n_queries"],
            seed=seed,
        )
    parts = table.parts.set_index("part")["accuracy"]
    left = {name: table.robust(name) for name in ORDER}
    by_square = float(parts["fab-t"]) - float(left["autoattack"].mean())
    if together:
        for earlier, later in pairwise(ORDER):
            left[later] = left[later] & left[earlier]
    found = {name: float(flags.mean()) for name, flags in left.items()}
    before = found["autoattack"] + by_square
    return {**found, "before_square": before, "doubts": " ".join(table.warnings)}


@lru_cache(maxsize=1)
def _guided(recipe_name: str, seed: int) -> nn.Module:
    """The trained network; kept, for the planted faults attack the same one."""
    recipe = RECIPES[recipe_name]
    return train(recipe, GUIDED, seed, images_of(recipe)).model


def holds(table: pd.DataFrame) -> Verdict:
    """No attack leaves more than a weaker one, and Square takes nothing from what is left."""
    rises = {
        f"{after} minus {before}": (table[later] - table[earlier], SLACK)
        for (before, after), (earlier, later) in zip(pairwise(NAMES), pairwise(ORDER), strict=True)
    }
    rises["taken by Square"] = (table["before_square"] - table["autoattack"], SQUARE_SLACK)
    verdicts = []
    for what, (values, threshold) in rises.items():
        found = over_seeds(values)
        verdicts.append(
            Verdict.below(
                found.value,
                threshold,
                threshold_source="ours",
                interval=found.interval if len(values) > 1 else None,
                what=what,
            )
        )
    left = over_seeds(table["before_square"])
    verdicts.append(
        Verdict.above(left.value, LEAST_LEFT, threshold_source="ours", what="left for Square")
    )
    return Verdict.all_of(*verdicts)


def figure(table: pd.DataFrame) -> Chart:
    """Accuracy after each attack."""
    panels = []
    for recipe, rows in table.groupby("recipe", sort=False):
        columns = (*ORDER[:-1], "before_square", ORDER[-1])
        numbers = [over_seeds(rows[column]) for column in columns]
        bars = Series(
            "accuracy",
            list(range(len(columns))),
            [one.value for one in numbers],
            [one.low for one in numbers],
            [one.high for one in numbers],
            style="bars",
        )
        names = [*NAMES[:-1], "without Square", NAMES[-1]]
        panels.append(Panel(f"{recipe}", "attack", "accuracy", [bars], categories=names))
    return Chart(panels, "Means over seeds with 95 % intervals; networks trained by SKG-FAT.")


EXPERIMENT = Experiment(
    claim="Stronger attacks leave less of a guided network's accuracy, and Square, which needs no "
    "gradient, takes nothing from what the others leave.",
    paper="2409.17589",
    source="ours; the paper's evaluation uses these attacks (authors' code)",
    kind="mechanism",
    grid={"recipe": ("CIFAR-10, ResNet-18",), "n_test": (1000,), "n_queries": (5000,)},
    quick={"recipe": ("MNIST, small CNN",), "n_test": (100,), "n_queries": (5000,)},
    tiny={"recipe": ("made, small CNN",), "n_test": (24,), "n_queries": (50,)},
    n_seeds=3,
    quick_seeds=3,
    measure=measure,
    holds=holds,
    figure=figure,
    not_the_authors=SMALLER,
    positive=Control(
        measure=partial(measure, together=True),
        says="an attack keeps what the weaker ones found; few images, which Square does not fool",
    ),
    controls={
        "rounded": Control(
            measure=partial(measure, rounded=True),
            says="the network rounds its input, so that its gradient is 0 and only Square sees it",
        ),
        "short steps": Control(
            measure=partial(measure, of_a_step=1e-3),
            says="the steps of PGD are a thousandth of what they should be",
        ),
    },
    cost="quick 95 s on one core; full needs a GPU",
    timeout_minutes=240,
)
