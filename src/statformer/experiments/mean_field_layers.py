"""Deep vision transformers fit their training images: more than 16 layers, 8 heads.

arXiv 2410.23610, second figure, read in the text; its curves were not found. The thresholds on
"near 0" and "near 100 %" are ours.
"""

from __future__ import annotations

from functools import partial

import pandas as pd

from statformer.experiments import _image_transformer as vision
from statformer.experiments.base import Control, Experiment, Verdict
from statformer.plotting.chart import Chart

ABOVE = 16


def holds(table: pd.DataFrame) -> Verdict:
    """Every network of more than 16 layers fits; the shallowest fits less well."""
    return vision.verdict(table, "n_layers", ABOVE, int(table["n_layers"].min()))


def figure(table: pd.DataFrame) -> Chart:
    """Loss and accuracy over epochs for every depth."""
    return vision.figure(table, "n_layers", "layers")


EXPERIMENT = Experiment(
    claim="With 8 heads, vision transformers of more than 16 layers fit their training images, and "
    "one of 2 layers does worse.",
    paper="2410.23610",
    source="second set of experiments, read in the text; thresholds are ours",
    kind="learnability",
    grid={"size": ("CIFAR-10",), "n_heads": (8,), "n_layers": (2, 4, 8, 12, 18, 20)},
    quick={"size": ("some CIFAR-10",), "n_heads": (8,), "n_layers": (2, 18)},
    tiny={"size": ("made",), "n_heads": (1,), "n_layers": (1, 18)},
    n_seeds=3,
    quick_seeds=3,
    tiny_seeds=2,
    measure=vision.measure,
    holds=holds,
    figure=figure,
    not_the_authors=vision.NOT_FOUND,
    positive=Control(
        measure=partial(vision.measure, idle={"n_layers": 1}), says="the smallest does not learn"
    ),
    controls={
        "labels change": Control(
            measure=partial(vision.measure, labels_change=True), says="new labels in every epoch"
        ),
        "one size": Control(
            measure=partial(vision.measure, always={"n_layers": 18}), says="18 layers everywhere"
        ),
    },
    timeout_minutes=240,
    cost="quick 100 s on one core; full needs a GPU",
)
