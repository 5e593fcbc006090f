"""With very few rows the trained network errs less than both counts.

Item 6 of what a reproduction must show of Cao et al. (arXiv 2501.02547): a count is undefined where
no row matches, and their public code scores that as total variation 1; a network always answers.
The comparison is theirs. A fairer one is measured beside it and decides nothing: `closest`, the
count among the rows that agree on most parents, which is what the explicit weights answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
from jaxtyping import Float

from statformer.experiments._bayes_net_counts import (
    Answers,
    at_least,
    by_seed,
    compare,
    curves,
    draw_networks,
)
from statformer.experiments._bayes_net_trained import SMALLER, shipped
from statformer.experiments.base import Cell, Control, Experiment, Row, Verdict
from statformer.plotting.chart import Chart
from statformer.tasks.bayes_net import BayesNetBatch, BayesNetPrior, all_earlier

LABELS = {
    "network": "trained network",
    "known": "known structure, 1 where unseen",
    "naive": "all predecessors, 1 where unseen",
    "closest": "known structure, closest rows",
}


def measure(
    cell: Cell, rng: np.random.Generator, in_its_place: Answers | None = None
) -> Sequence[Row]:
    """Total variation of the network and the counts at few rows, by node."""
    batch = draw_networks(BayesNetPrior("general", cell["n_test"] + 1), cell["n_networks"], rng)
    return compare(batch, in_its_place or shipped(), (cell["n_test"],))


def _naive_or_wrong(batch: BayesNetBatch, n: int) -> Float[np.ndarray, "b v d"]:
    """The naive count; where it is undefined, certain of what is least likely."""
    frequencies, matching = batch.frequencies(n, all_earlier(batch.X.shape[2]))
    truth = batch.truth()[:, -1]
    wrong = (truth == truth.amin(-1, keepdim=True)).to(frequencies.dtype)
    return frequencies.where(matching[..., None] > 0, wrong).double().numpy()


def holds(table: pd.DataFrame) -> Verdict:
    """Below both counts, mean over nodes, at every number of rows."""
    verdicts = []
    for n, rows in table.groupby("n_test"):
        for rival, label in (("known", "known structure"), ("naive", "all predecessors")):
            lead = by_seed(rows, rival, "network")
            verdicts.append(at_least(lead, 0.0, f"{label} - network at {n} rows", "paper"))
    return Verdict.all_of(*verdicts)


def figure(table: pd.DataFrame) -> Chart:
    """All four over the number of rows."""
    return Chart([curves(table, "Mean over the nodes", LABELS)], "95 % over seeds.")


EXPERIMENT = Experiment(
    claim="With very few rows a trained network errs less than both counts, which are undefined on "
    "unseen configurations.",
    paper="2501.02547",
    source="scoring of the authors' code; item 6 of what a reproduction must show",
    kind="learnability",
    grid={"n_test": (1, 2, 3, 5, 10), "n_networks": (2000,)},
    quick={"n_test": (1, 2, 5, 10), "n_networks": (1000,)},
    tiny={"n_test": (1, 5), "n_networks": (150,)},
    n_seeds=10,
    quick_seeds=5,
    tiny_seeds=3,
    measure=measure,
    holds=holds,
    figure=figure,
    not_the_authors=SMALLER,
    controls={
        "as undefined as the naive count": Control(
            measure=partial(measure, in_its_place=_naive_or_wrong),
            says="the naive count in the network's place, wrong where it is undefined",
        )
    },
    cost="quick 2 s on one core",
)
