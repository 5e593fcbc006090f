"""Each part of the guidance alone is not worse than none, both not worse than either (2409.17589).

The parts are the class-wise regulariser (CWR, weights = clean accuracies of the
last epoch, label weight constant) and the label relaxation (SKLR, equal class weights). With both,
the code weighs classes by the label weight, which reverses their order. The paper has an ablation;
its numbers were not found. Compared is robust accuracy (AutoAttack at full size, else PGD-50); the
margin of 1 point is ours.

The planted fault stops the training of one part after one epoch. The case that must hold trains
four times the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from statformer.experiments._robust_charts import class_chart, not_worse
from statformer.experiments._robust_recipes import BASELINE, GUIDED, METHODS, SMALLER
from statformer.experiments._robust_training import compare
from statformer.experiments.base import Cell, Control, Experiment, Row, Verdict
from statformer.plotting.chart import Chart

PARTS = ("CWR", "SKLR")
ALL = (BASELINE, *PARTS, GUIDED)
MARGIN = 0.01
SAME = dict.fromkeys(ALL, METHODS[BASELINE])


def measure(
    cell: Cell,
    rng: np.random.Generator,
    *,
    changed: Mapping[str, Mapping[str, Any]] | None = None,
) -> Sequence[Row]:
    """Accuracies of each class for the four networks."""
    return compare(cell["recipe"], ALL, rng, changed)


def holds(table: pd.DataFrame) -> Verdict:
    """Four comparisons, each within the margin."""
    pairs = [(part, BASELINE) for part in PARTS] + [(GUIDED, part) for part in PARTS]
    return Verdict.all_of(
        *(
            not_worse(rows, method, rival, "robust", MARGIN)
            for _, rows in table.groupby("recipe", sort=False)
            for method, rival in pairs
        )
    )


def figure(table: pd.DataFrame) -> Chart:
    """The classes and the accuracies of the four."""
    return class_chart(table, ALL, "Means over seeds; bars are 95 % intervals over seeds.")


EXPERIMENT = Experiment(
    claim="Either part of the guidance alone is as robust as the baseline, and both together as "
    "robust as either.",
    paper="2409.17589",
    source="an ablation exists, its numbers were not found; what must hold is ours",
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
            measure=partial(measure, changed={**SAME, "SKLR": {**SAME["SKLR"], "epochs": 1}}),
            says="one of four equal trainings stops after one epoch",
        )
    },
    positive=Control(measure=partial(measure, changed=SAME), says="all four train the same"),
    cost="quick 140 s on one core; full needs a GPU",
    timeout_minutes=480,
)
