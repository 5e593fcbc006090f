"""Guidance by the classes helps the worst of them and costs the whole nothing (2409.17589).

The abstract, in numbers that are ours, against the same loop with constant label weights
(0.9) and equal class weights: the guided network has a smaller standard deviation over classes of
robust accuracy or a better worst class; its robust accuracy is not lower by more than 1 point, its
clean accuracy not by more than 2. Robust accuracy is AutoAttack's on 1,000 images at full size and
that of PGD-50 at quick size. Class weights and label weights are those of the authors' code; the
paper's formulas and all its numbers were not found. The margins are ours.

Both networks of a seed start from the same weights and see the same batches. The case
that must hold trains the baseline twice; the planted fault stops one of the two after one epoch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from statformer.experiments._robust_charts import class_chart, differences, not_worse
from statformer.experiments._robust_recipes import BASELINE, GUIDED, METHODS, SMALLER
from statformer.experiments._robust_training import compare
from statformer.experiments._seeds import over_seeds
from statformer.experiments.base import Cell, Control, Experiment, Row, Verdict
from statformer.plotting.chart import Chart

ROBUST_MARGIN, CLEAN_MARGIN = 0.01, 0.02
SAME = METHODS[BASELINE]


def measure(
    cell: Cell,
    rng: np.random.Generator,
    *,
    changed: Mapping[str, Mapping[str, Any]] | None = None,
) -> Sequence[Row]:
    """Accuracies of each class for both networks."""
    return compare(cell["recipe"], (BASELINE, GUIDED), rng, changed)


def holds(table: pd.DataFrame) -> Verdict:
    """One of the two statistics over classes is better, and neither accuracy is worse."""
    verdicts = []
    for _, rows in table.groupby("recipe", sort=False):
        verdicts += [
            more_even(rows),
            not_worse(rows, GUIDED, BASELINE, "robust", ROBUST_MARGIN),
            not_worse(rows, GUIDED, BASELINE, "clean", CLEAN_MARGIN),
        ]
    return Verdict.all_of(*verdicts)


def more_even(table: pd.DataFrame) -> Verdict:
    """Whether the classes are less spread or the worst of them is better: one of them suffices."""
    std, worst = (over_seeds(differences(table, GUIDED, BASELINE, of)) for of in ("std", "worst"))
    either = [
        Verdict.below(
            std.value,
            0.0,
            threshold_source="ours",
            interval=std.interval,
            what="standard deviation over classes, guided minus baseline",
        ),
        Verdict.above(
            worst.value,
            0.0,
            threshold_source="ours",
            interval=worst.interval,
            what="worst class, guided minus baseline",
        ),
    ]
    statuses = [one.status for one in either]
    status = next((s for s in ("holds", "undecided") if s in statuses), "fails")
    return Verdict(
        status,  # type: ignore[arg-type]
        "; ".join(one.measured for one in either),
        " or ".join(one.threshold for one in either),
        "ours",
        "" if status == "holds" else "neither the spread nor the worst class is clearly better",
    )


def figure(table: pd.DataFrame) -> Chart:
    """The classes before and after guidance."""
    caption = "Means over seeds; bars are 95 % intervals over seeds."
    return class_chart(table, [BASELINE, GUIDED], caption)


EXPERIMENT = Experiment(
    claim="Guidance by class accuracies makes the classes more evenly robust, and neither robust "
    "nor clean accuracy lower.",
    paper="2409.17589",
    source="abstract (better robustness at competitive accuracy), second-hand for the disparity; "
    "margins are ours",
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
        "one epoch": Control(
            measure=partial(measure, changed={GUIDED: {**SAME, "epochs": 1}}),
            says="of two equal trainings the one called guided stops after one epoch",
        )
    },
    positive=Control(measure=partial(measure, changed={GUIDED: SAME}), says="both train the same"),
    cost="quick 70 s on one core; full needs a GPU",
    timeout_minutes=240,
)
