"""Whether the single-modal encoder is at chance out of distribution, as the paper's figure has it.

arXiv 2411.02837, Figure 1, second panel: the multi-modal accuracy goes to nearly 1 while the
single-modal one stays near 0.5. The head is a logistic regression on the embeddings of test samples
x = (y nu, zeta); how many, and how regularised, is not found. "Near 0.5" is at most 0.6, "nearly 1"
at least 0.9: thresholds of ours, set before this file was run. Literally read, the head is fitted
on samples of the test distribution, and that decides here: 200 of them, scored on 2000 others. In
first trials such a head found what little signal the single-modal filters have (0.7), as our
reading of the paper had said it would. `modalities_head` asks the same of a head fitted on the
training samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from statformer.experiments._modalities import SIGMA0, TAU, Faults
from statformer.experiments._modalities_chance import decide, draw
from statformer.experiments._modalities_curves import measure_curves
from statformer.experiments.base import Cell, Control, Experiment, Row


def measure_other_head(cell: Cell, rng: np.random.Generator) -> Sequence[Row]:
    """The accuracy of the head that is fitted on the training samples in the other's place."""
    return [{**row, "accuracy": row["accuracy_head"]} for row in measure_curves(cell, rng)]


EXPERIMENT = Experiment(
    claim="Out of distribution the single-modal encoder stays near chance and the multi-modal one "
    "is nearly always right.",
    paper="2411.02837",
    source="Figure 1, second panel [paper: near 0.5, nearly 1.0]; the thresholds are ours",
    kind="learnability",
    grid={"tau": (TAU,), "sigma0": (SIGMA0,), "epochs": (200,), "n_times": (11,)},
    quick={"tau": (TAU,), "sigma0": (SIGMA0,), "epochs": (200,), "n_times": (11,)},
    tiny={"tau": (TAU,), "sigma0": (SIGMA0,), "epochs": (100,), "n_times": (2,)},
    n_seeds=20,
    quick_seeds=10,
    measure=measure_curves,
    holds=partial(decide, column="accuracy"),
    figure=partial(draw, column="accuracy", head="test samples"),
    not_the_authors="temperature, sigma0, number of negatives, and the samples and regularisation "
    "of the head were not found",
    controls={
        "untrained": Control(
            measure=partial(measure_curves, faults=Faults(trains=False)), says="no step is taken"
        ),
    },
    positive=Control(measure=measure_other_head, says="a head fitted on the training samples"),
    control_size="quick",
    cost="quick 7 s, full about 15 s on one core",
)
