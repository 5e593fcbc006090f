"""A head fitted on the training samples tells the two methods apart as the paper's figure does.

Ours, on the setting of arXiv 2411.02837. Its Figure 1 has the single-modal accuracy out of
distribution near 0.5 and the multi-modal one at nearly 1, and on which samples the head is fitted
is not found. Here it is fitted on the embeddings of the 100 training samples, and scored on samples
with the weaker signal nu = 2 e_1: it can only use what separates the training set, which is
memorised noise after single-modal training. First trials, at other seeds, had shown 0.5 and 0.95;
the thresholds are those of `modalities_chance`.
"""

from __future__ import annotations

from functools import partial

from statformer.experiments._modalities import SIGMA0, TAU, Faults
from statformer.experiments._modalities_chance import decide, draw
from statformer.experiments._modalities_curves import measure_curves
from statformer.experiments.base import Control, Experiment

EXPERIMENT = Experiment(
    claim="A head fitted on the training samples is near chance out of distribution on the "
    "single-modal encoder, and nearly always right on the multi-modal one.",
    paper="ours",
    source="after Figure 1 of arXiv 2411.02837, second panel; head and thresholds are ours",
    kind="learnability",
    grid={"tau": (TAU,), "sigma0": (SIGMA0,), "epochs": (200,), "n_times": (11,)},
    quick={"tau": (TAU,), "sigma0": (SIGMA0,), "epochs": (200,), "n_times": (11,)},
    tiny={"tau": (TAU,), "sigma0": (SIGMA0,), "epochs": (100,), "n_times": (2,)},
    n_seeds=20,
    quick_seeds=10,
    measure=measure_curves,
    holds=partial(decide, column="accuracy_head"),
    figure=partial(draw, column="accuracy_head", head="training samples"),
    not_the_authors="temperature, sigma0, number of negatives, and the samples and regularisation "
    "of the head were not found",
    controls={
        "untrained": Control(
            measure=partial(measure_curves, faults=Faults(trains=False)), says="no step is taken"
        ),
        "labels ignored": Control(
            measure=partial(measure_curves, faults=Faults(by_label=False)),
            says="samples of one label are negatives too",
        ),
    },
    control_size="quick",
    cost="quick 8 s, full about 16 s on one core",
)
