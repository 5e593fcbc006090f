"""Single-step training leaves some classes far less robust than others (2409.17589, abstract).

The abstract says that fast adversarial training treats all examples alike, and that obvious
disparities between classes follow; its numbers and its statistic of disparity were not found.
What must show: for the FGSM baseline, the largest minus the least
robust accuracy (PGD-50) of a class is at least 20 points (threshold ours). The baseline here is
FGSM-RS, as FGSM from zero overfits. Ten classes of 100 test images differ by 15 points or so by
chance alone, so the fault groups images by chance in place of their classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd

from statformer.experiments._robust_charts import by_seed, class_chart
from statformer.experiments._robust_recipes import RECIPES, SMALLER
from statformer.experiments._robust_training import images_of, records, survivors, train
from statformer.experiments._seeds import over_seeds
from statformer.experiments.base import Cell, Control, Experiment, Row, Verdict
from statformer.plotting.chart import Chart

METHOD = "FGSM-RS"
RANGE = 0.2


def measure(cell: Cell, rng: np.random.Generator, *, by_chance: bool = False) -> Sequence[Row]:
    """Accuracies of each class of the test images."""
    recipe = RECIPES[cell["recipe"]]
    seed = int(rng.integers(2**31))
    split = images_of(recipe)
    trained = train(recipe, METHOD, seed, split)
    right, held = survivors(recipe, trained.model, split, seed)
    labels = split.test[1].cpu().numpy()
    groups = rng.permutation(labels) if by_chance else labels
    found = pd.DataFrame({"label": groups, "clean": right.cpu(), "robust": held.cpu()})
    by_class = found.groupby("label")[["clean", "robust"]]
    means = by_class.mean().assign(n=by_class.size()).reset_index()
    return [{"method": METHOD, **row} for row in records(means)]


def holds(table: pd.DataFrame) -> Verdict:
    """The range over classes, for every recipe."""
    verdicts = []
    for recipe, rows in by_seed(table).groupby("recipe", sort=False):
        found = over_seeds(rows["range"])
        verdicts.append(
            Verdict.above(
                found.value,
                RANGE,
                threshold_source="ours",
                interval=found.interval,
                what=f"{recipe}: largest minus least robust accuracy of a class",
            )
        )
    return Verdict.all_of(*verdicts)


def figure(table: pd.DataFrame) -> Chart:
    """The classes in the plane of clean and robust accuracy."""
    caption = "Means over seeds; robust accuracy under PGD."
    return class_chart(table, [METHOD], caption)


EXPERIMENT = Experiment(
    claim="After single-step adversarial training the robust accuracies of the classes lie at "
    "least 20 points apart.",
    paper="2409.17589",
    source="abstract (disparity of classes), numbers not found; 20 points are ours",
    kind="learnability",
    grid={"recipe": ("CIFAR-10, ResNet-18",)},
    quick={"recipe": ("MNIST, small CNN",)},
    tiny={"recipe": ("made, small CNN",)},
    n_seeds=3,
    quick_seeds=3,
    tiny_seeds=2,
    measure=measure,
    holds=holds,
    figure=figure,
    not_the_authors=SMALLER,
    controls={
        "groups by chance": Control(
            measure=partial(measure, by_chance=True), says="images are grouped by chance"
        )
    },
    cost="quick 30 s on one core; full needs a GPU",
    timeout_minutes=120,
)
