"""One network over random structures works on structures that it has never seen.

The authors' code of Cao et al. (arXiv 2501.02547) trains one network on a fresh random structure
per batch and tests it on others: here the structure has to come from the context. Item 8 of what a
reproduction must show; the numbers of their figures were not found. 5 variables have 1,024
structures, so that an eighth of them and the paper's own were kept from training
(`is_held_out`). Ours: near is 0.02 total variation of the count of the known structure, from 100
rows on; where two earlier variables or more are no parents the network must not lose to the naive
count.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from statformer.experiments._bayes_net_counts import Answers, known_count, naive_count
from statformer.experiments._bayes_net_trained import shipped
from statformer.experiments._bayes_net_unseen import (
    compare_unseen,
    judge,
    unseen_figure,
    unseen_networks,
)
from statformer.experiments.base import Cell, Control, Experiment, Row

CONTEXTS = (10, 20, 50, 100, 200, 500)


def measure(
    cell: Cell, rng: np.random.Generator, in_its_place: Answers | None = None
) -> Sequence[Row]:
    """The shipped network of random structures and both counts."""
    batch = unseen_networks(
        cell["structure"], cell["n_variables"], max(CONTEXTS), cell["n_networks"], rng
    )
    return compare_unseen(batch, in_its_place or shipped("bayes_net_random"), CONTEXTS)


EXPERIMENT = Experiment(
    claim="One network that was trained over random structures works on structures that it has "
    "never seen.",
    paper="2501.02547",
    source="the authors' code, branch of mixed structures; item 8 of what a reproduction must show",
    kind="learnability",
    grid={
        "structure": ("random", "general", "tree5", "chain5"),
        "n_variables": (5,),
        "n_networks": (2000,),
    },
    quick={"structure": ("random", "general"), "n_variables": (5,), "n_networks": (500,)},
    tiny={"structure": ("random",), "n_variables": (5,), "n_networks": (100,)},
    n_seeds=10,
    quick_seeds=5,
    tiny_seeds=2,
    measure=measure,
    holds=judge,
    figure=unseen_figure,
    not_the_authors="5 variables, 3 layers of width 64, about half an hour of training on a part "
    "of one core, a fresh structure per task; theirs 7 and 10 variables, 12 layers of width 256",
    controls={
        "naive": Control(
            measure=partial(measure, in_its_place=naive_count),
            says="the naive count in the network's place",
            size="quick",
        )
    },
    positive=Control(
        measure=partial(measure, in_its_place=known_count),
        says="the count of the known structure in the network's place",
        size="quick",
    ),
    control_size="quick",
    cost="quick 16 s on one core",
)
