"""ColoredMNIST: colours mislead an image encoder trained on views, not one trained on language.

arXiv 2411.02837, Table 1: 88.43 % (training) and 12.68 % (test, colours swapped) single-modal,
87.77 % and 82.13 % multi-modal. A gap of 40 points on the test set was set in our reading of the
paper, before this file was written. What the outcome depends on was tried at other seeds first:
less of a crop, a wider embedding or a head on a hidden layer leave the single-modal network more of
the digit (test accuracies up to 0.5, as without any training), a higher temperature less, and
jitter of colours makes it as good as the multi-modal one; the full grid has the first two. So the
numbers are no reproduction of the paper's, whose network and augmentations were not found. That
both methods fit the training labels alike is the claim of `modalities_colored_training`.

A first quick run with three seeds was undecided; their number was raised to eight, and nothing else
was changed. What decides is the full size, which has more images.
"""

from __future__ import annotations

from functools import partial

import pandas as pd

from statformer.experiments._modalities_images import MADE, Faults, measure_images
from statformer.experiments._modalities_table import (
    CROP,
    TAU,
    WIDTH,
    default_rows,
    table_figure,
    words,
)
from statformer.experiments._seeds import over_seeds
from statformer.experiments.base import Control, Experiment, Verdict

GAP = 0.40


def holds(table: pd.DataFrame) -> Verdict:
    """The gap of test accuracies at our defaults, pair by pair of runs."""
    rows = default_rows(table)
    test = rows.pivot(index="seed", columns="method", values="test")
    gap = over_seeds(test["multi"] - test["single"])
    return Verdict.above(
        gap.value,
        GAP,
        threshold_source="ours",
        interval=gap.interval,
        what=f"{words(rows)}; multi - single on the test set",
    )


EXPERIMENT = Experiment(
    claim="With the colours swapped, an encoder trained against language stays right where one "
    "trained on views of images follows the colour.",
    paper="2411.02837",
    source="Table 1 [paper: test accuracy 82.13 % against 12.68 %]; the gap asked for is ours",
    kind="learnability",
    grid={
        "images": ("mnist",),
        "n": (10_000,),
        "epochs": (8,),
        "width": (WIDTH, 128),
        "tau": (TAU, 0.5),
        "crop": (CROP, 0.3),
    },
    quick={
        "images": ("mnist",),
        "n": (6000,),
        "epochs": (8,),
        "width": (WIDTH,),
        "tau": (TAU,),
        "crop": (CROP,),
    },
    tiny={
        "images": (MADE,),
        "n": (300,),
        "epochs": (2,),
        "width": (WIDTH,),
        "tau": (TAU,),
        "crop": (CROP,),
    },
    n_seeds=8,
    quick_seeds=8,
    measure=measure_images,
    holds=holds,
    figure=table_figure,
    not_the_authors="network, optimiser, augmentations, temperature, epochs, number of images and "
    "head are ours, as are the colours of classes 2 to 9; images have half the resolution",
    controls={
        "shuffled words": Control(
            measure=partial(measure_images, faults=Faults(told=False)),
            says="each image has the words of another",
        ),
        "colour jitter": Control(
            measure=partial(measure_images, faults=Faults(jitter=True)),
            says="views change colours, so that these are of no use",
        ),
        "untrained": Control(
            measure=partial(measure_images, faults=Faults(trains=False)), says="no step is taken"
        ),
    },
    control_size="quick",
    cost="quick 66 s, full about 15 min on one core",
)
