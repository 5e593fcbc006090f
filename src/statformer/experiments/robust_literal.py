"""The released code's label weights cycle from 0.3 to 0.9 whatever the classes do (2409.17589).

The code replaces the clean accuracies c by clip(|ln c|, 0.3, 0.9) on every batch,
so that it is soon applied to its own output. Derived: any start ends within a few batches in the
cycle 0.3, 0.9, 0.3, ... Here both readings are trained side by side. Under the literal reading the
share of classes whose label weight is 0.3 or 0.9 on the last batch of an epoch must be 1 (derived).
The weights are meant to fall with last epoch's accuracy: the share of pairs of classes with
c_i > c_k and gamma_i <= gamma_k, on the worse of two successive batches, is 1 in the reading by
epochs (derived) and at most 0.95 (ours) in the literal one. That concerns every run, so the worst
of the seeds decides. Accuracies of both readings are reported and decide nothing.

The planted fault reads by epochs under both names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import torch

from statformer.experiments._robust_charts import class_chart, differences
from statformer.experiments._robust_recipes import GUIDED, SMALLER
from statformer.experiments._robust_training import Trained, compare
from statformer.experiments._seeds import over_seeds
from statformer.experiments.base import Cell, Control, Experiment, Row, Verdict
from statformer.plotting.chart import Chart
from statformer.robust.guidance import ClassGuide

LITERAL = "literal"
ENDS = np.array([0.3, 0.9])


def measure(
    cell: Cell,
    rng: np.random.Generator,
    *,
    changed: Mapping[str, Mapping[str, Any]] | None = None,
) -> Sequence[Row]:
    """Accuracies of each class and what became of the label weights, for both readings."""
    return compare(cell["recipe"], (GUIDED, LITERAL), rng, changed, label_weights)


def label_weights(settings: Mapping[str, Any], trained: Trained) -> Mapping[str, float]:
    """Shares over the epochs after the first: weights at an end, pairs of classes in order."""
    at_end, in_order = [], []
    epochs = [rows for _, rows in trained.classes.groupby("epoch", sort=True)]
    for last, rows in pairwise(epochs):
        gamma, accuracy = rows["gamma"].to_numpy(), last["train_clean"].to_numpy()
        at_end.append(np.isclose(gamma[:, None], ENDS, atol=1e-6).any(1).mean())
        higher = accuracy[:, None] > accuracy
        two_batches = (gamma, on_the_next_batch(settings, gamma))
        in_order.append(min((g[:, None] <= g + 1e-6)[higher].mean() for g in two_batches))
    return {"at_end": float(np.mean(at_end)), "in_order": float(np.mean(in_order))}


def on_the_next_batch(settings: Mapping[str, Any], gamma: np.ndarray) -> np.ndarray:
    """The label weights of one more batch of the same epoch."""
    guidance = settings.get("guidance", "epoch")
    guide = ClassGuide(len(gamma), settings["regulariser"], settings["relaxation"], guidance)
    guide.factor = guide.gamma = torch.tensor(gamma)
    guide.begin_batch()
    return guide.gamma.numpy()


def holds(table: pd.DataFrame) -> Verdict:
    """The cycle and the lost order; the accuracies stand beside them."""
    literal = table[table["method"] == LITERAL].groupby(["recipe", "seed"])
    ends, order = literal["at_end"].first().min(), literal["in_order"].first().max()
    by_epoch = table[table["method"] == GUIDED].groupby(["recipe", "seed"])["in_order"].first()
    verdict = Verdict.all_of(
        Verdict.above(
            float(ends),
            1.0 - 1e-9,
            threshold_source="derived",
            what="literal: least share of label weights that are 0.3 or 0.9",
        ),
        Verdict.below(
            float(order),
            0.95,
            threshold_source="ours",
            what="literal: largest share of pairs of classes in order",
        ),
        Verdict.above(
            float(by_epoch.min()),
            1.0 - 1e-9,
            threshold_source="derived",
            what="by epochs: least share of pairs of classes in order",
        ),
    )
    beside = []
    for of in ("clean", "robust", "worst"):
        found = over_seeds(differences(table, GUIDED, LITERAL, of))
        beside.append(f"{of} {found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}]")
    measured = f"{verdict.measured}; by epochs minus literal: {', '.join(beside)}"
    return Verdict(
        verdict.status, measured, verdict.threshold, verdict.threshold_source, verdict.reason
    )


def figure(table: pd.DataFrame) -> Chart:
    """The classes under both readings."""
    caption = "Means over seeds; bars are 95 % intervals over seeds."
    return class_chart(table, [GUIDED, LITERAL], caption)


EXPERIMENT = Experiment(
    claim="Read literally, the released code's label weights cycle between 0.3 and 0.9 and lose "
    "the order of the classes.",
    paper="2409.17589",
    source="the authors' released code; the cycle is derived",
    kind="mechanism",
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
        "by epochs": Control(
            measure=partial(measure, changed={LITERAL: {"guidance": "epoch"}}),
            says="both readings are that by epochs",
        )
    },
    cost="quick 70 s on one core; full needs a GPU",
    timeout_minutes=240,
)
