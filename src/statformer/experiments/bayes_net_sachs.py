"""On the structure of protein signalling, explicit weights track the known-structure count.

The real-world network of Cao et al. (arXiv 2501.02547): 11 proteins with three levels each (Sachs
et al. 2005). Here the weights are explicit; tables are synthetic, or fitted to the measured rows by
others (`_bayes_net_sachs`). Nothing is said about the measured rows, which no installed package
carries.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
from jaxtyping import Float

from statformer.constructions.bayes_net import CountingTransformer
from statformer.experiments._bayes_net_counts import (
    Answers,
    at_least,
    at_most,
    by_seed,
    compare,
    curves,
    naive_count,
)
from statformer.experiments._bayes_net_sachs import LEVELS, PARENTS, draw_sachs
from statformer.experiments.base import Cell, Control, Experiment, Row, Verdict
from statformer.plotting.chart import Chart
from statformer.reference.bayes_net import Structure
from statformer.tasks.bayes_net import BayesNetBatch

CONTEXTS = (20, 100, 500, 1000)
LABELS = {"network": "explicit weights", "known": "known structure", "naive": "all predecessors"}


def measure(
    cell: Cell, rng: np.random.Generator, in_its_place: Answers | None = None
) -> Sequence[Row]:
    """Total variation of the explicit weights and both counts, by node and number of rows."""
    batch = draw_sachs(cell["tables"], cell["n_networks"], max(CONTEXTS) + 1, rng)
    return compare(batch, in_its_place or _explicit, CONTEXTS)


def _explicit(batch: BayesNetBatch, n: int) -> Float[np.ndarray, "b v d"]:
    """The two attention layers with the structure in their weights, one pass per variable."""
    laws = np.empty((len(batch.X), len(PARENTS), LEVELS))
    for i, X in enumerate(batch.X.numpy()):
        network = CountingTransformer(Structure(PARENTS), (LEVELS,) * len(PARENTS), X[:n])
        for target in range(len(PARENTS)):
            laws[i, target] = network.conditional(target, X[-1:])[0]
    return laws


def holds(table: pd.DataFrame) -> Verdict:
    """Equal to the count where it is defined, and below the naive count at every length."""
    verdicts = []
    for tables, rows in table.groupby("tables"):
        apart = float((rows["seen_network"] - rows["seen_known"]).abs().max())
        what = f"{tables}: largest difference to the known count where it is defined"
        verdicts.append(Verdict.below(apart, 1e-6, threshold_source="derived", what=what))
        for n, some in rows.groupby("n_rows"):
            lead = by_seed(some, "naive", "network")
            verdicts.append(at_least(lead, 0.0, f"{tables}: naive - network at {n} rows", "paper"))
        first, last = (
            rows[rows["n_rows"] == n].set_index(["seed", "node"])["network"]
            for n in (min(CONTEXTS), max(CONTEXTS))
        )
        fall = (last - first).rename("fall").reset_index().assign(nothing=0.0)
        what = f"{tables}: error at {max(CONTEXTS)} rows - at {min(CONTEXTS)}"
        verdicts.append(at_most(by_seed(fall, "fall", "nothing"), 0.0, what, "paper"))
    return Verdict.all_of(*verdicts)


def figure(table: pd.DataFrame) -> Chart:
    """Mean over the nodes, for both kinds of tables."""
    panels = [curves(rows, f"{name} tables", LABELS) for name, rows in table.groupby("tables")]
    return Chart(panels, "Counts score 1 where no row matches; 95 % over seeds.")


EXPERIMENT = Experiment(
    claim="On the structure of protein signalling the explicit weights answer as the count of the "
    "known structure does, and better than the naive count.",
    paper="2501.02547",
    source="the real-world example of the paper; structure and synthetic tables from the authors' "
    "code",
    kind="existence",
    grid={"tables": ("synthetic", "fitted"), "n_networks": (200,)},
    quick={"tables": ("synthetic", "fitted"), "n_networks": (80,)},
    tiny={"tables": ("fitted",), "n_networks": (6,)},
    n_seeds=10,
    quick_seeds=5,
    tiny_seeds=3,
    measure=measure,
    holds=holds,
    figure=figure,
    not_the_authors="no measured rows, and explicit weights in the place of trained ones",
    controls={
        "naive": Control(
            measure=partial(measure, in_its_place=naive_count),
            says="the naive count in the place of the explicit weights",
        )
    },
    cost="quick 33 s on one core",
)
