"""A network that reads parent sets from counts works on structures that it has never seen.

Ours, beside the plain network of Cao et al. (arXiv 2501.02547): `ParentSetNetwork` scores the
possible parent sets of a variable from the counts of the context and averages their tables. The
task, the rivals and the thresholds are those of `bayes_net_unseen`. Its weights are shipped as
"random_dag". Nothing was held out of its training by name, so the random structures of 5 variables
are not new to it; those of 7, of which there are two million, are with few exceptions.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from jaxtyping import Float

from statformer.benchmarks.bayesnet_parents import read_structure
from statformer.experiments._bayes_net_counts import Answers, known_count, naive_count
from statformer.experiments._bayes_net_unseen import (
    compare_unseen,
    judge,
    unseen_figure,
    unseen_networks,
)
from statformer.experiments.base import Cell, Control, Experiment, Row
from statformer.nn.parent_sets import ParentSetNetwork
from statformer.tasks.bayes_net import BayesNetBatch
from statformer.weights import load_weights

CONTEXTS = (20, 100, 500)


def measure(
    cell: Cell, rng: np.random.Generator, in_its_place: Answers | None = None
) -> Sequence[Row]:
    """The shipped parent-set network and both counts."""
    batch = unseen_networks(
        cell["structure"], cell["n_variables"], max(CONTEXTS), cell["n_networks"], rng
    )
    return compare_unseen(batch, in_its_place or _shipped(), CONTEXTS)


def _shipped() -> Answers:
    network = ParentSetNetwork(load_weights("random_dag")[0])

    def answers(batch: BayesNetBatch, n: int) -> Float[np.ndarray, "b v d"]:
        return read_structure(batch, n, network)[0]

    return answers


EXPERIMENT = Experiment(
    claim="A network that reads parent sets from counts works on structures that it has never "
    "seen.",
    paper="ours",
    source="the task of 2501.02547, authors' code, branch of mixed structures; the network is ours",
    kind="learnability",
    grid={"structure": ("random",), "n_variables": (5, 7), "n_networks": (200,)},
    quick={"structure": ("random",), "n_variables": (5, 7), "n_networks": (40,)},
    tiny={"structure": ("random",), "n_variables": (5,), "n_networks": (8,)},
    n_seeds=10,
    quick_seeds=5,
    tiny_seeds=2,
    measure=measure,
    holds=judge,
    figure=unseen_figure,
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
    cost="quick 6 s on one core",
)
