"""Wide vision transformers fit their training images: more than 20 heads, 6 layers.

arXiv 2410.23610, first figure, read in the text; its curves were not found. The thresholds on
"near 0" and "near 100 %" are ours.
"""

from __future__ import annotations

from functools import partial

import pandas as pd

from statformer.experiments import _image_transformer as vision
from statformer.experiments.base import Control, Experiment, Verdict
from statformer.plotting.chart import Chart

ABOVE = 20


def holds(table: pd.DataFrame) -> Verdict:
    """Every network of more than 20 heads fits; that of the fewest heads fits less well."""
    return vision.verdict(table, "n_heads", ABOVE, int(table["n_heads"].min()))


def figure(table: pd.DataFrame) -> Chart:
    """Loss and accuracy over epochs for every number of heads."""
    return vision.figure(table, "n_heads", "heads")


EXPERIMENT = Experiment(
    claim="At 6 layers, vision transformers of more than 20 heads fit their training images, and "
    "one of 4 heads does worse.",
    paper="2410.23610",
    source="first set of experiments, read in the text; thresholds are ours",
    kind="learnability",
    grid={"size": ("CIFAR-10",), "n_heads": (4, 8, 16, 24, 32, 40), "n_layers": (6,)},
    quick={"size": ("some CIFAR-10",), "n_heads": (4, 24), "n_layers": (6,)},
    tiny={"size": ("made",), "n_heads": (1, 24), "n_layers": (1,)},
    n_seeds=3,
    quick_seeds=3,
    tiny_seeds=3,
    measure=vision.measure,
    holds=holds,
    figure=figure,
    not_the_authors=vision.NOT_FOUND,
    positive=Control(
        measure=partial(vision.measure, idle={"n_heads": 1}), says="the smallest does not learn"
    ),
    controls={
        "labels change": Control(
            measure=partial(vision.measure, labels_change=True), says="new labels in every epoch"
        ),
        "one size": Control(
            measure=partial(vision.measure, always={"n_heads": 24}), says="24 heads everywhere"
        ),
    },
    timeout_minutes=240,
    cost="quick 100 s on one core; full needs a GPU",
)
