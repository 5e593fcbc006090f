"""The last layer of the trained network selects rows by the parents, as the theorem's does.

Cao et al. (arXiv 2501.02547) construct a first layer that keeps the parents and a second that
averages the matching rows, and observe that trained networks answer alike. Whether they also work
alike is asked here, by intervention (ours): the attention of the shipped network's last layer is
replaced by a pattern made by rule. Given the rows that agree on the parents, the answer must stay;
given those that agree on a wrong set of the same size, it must become the frequencies among them.

The rule lets each head weigh a row by the row's own value of the target, with two weights per head
that are read off other networks. A half-trained state of the network had shown that heads do so;
thresholds (ours) were set with that state in sight. The theorem's equal shares are measured beside
it (`equal`) and decide nothing: when they are forced on the heads, answers move by about 0.2. So
the rows are selected as in the theorem, and the average is made in another way, by heads that
prefer one value of the target or the other. How the frequency is read off them is not shown here.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
from torch import Generator

from statformer.experiments._bayes_net_counts import at_least, at_most
from statformer.experiments._bayes_net_patterns import STRUCTURE, intervene
from statformer.experiments._bayes_net_trained import SHIPPED, SMALLER
from statformer.experiments._seeds import over_seeds
from statformer.experiments.base import Cell, Control, Experiment, Row, Verdict
from statformer.nn.bayes_net_transformer import BayesNetTransformer
from statformer.plotting.chart import Chart, Panel, Series
from statformer.pretraining.recipes.bayes_net import load_bayes_net_transformer

SAME, MOVED, FOLLOWS = 0.03, 0.05, 0.03
DISTANCES = {
    "replaced": "the rule, given the parents",
    "equal": "equal shares, given the parents",
    "moved": "the rule, given a wrong set",
    "follows": "the last, to the wrong set's count",
}
SHARES = {"attention": "share of attention", "matching": "share of rows"}


def measure(cell: Cell, rng: np.random.Generator, naive: bool = False) -> Sequence[Row]:
    """The interventions on the shipped network."""
    network = load_bayes_net_transformer(SHIPPED)
    return intervene(network, cell["n_rows"], cell["n_networks"], rng, naive=naive)


def _untrained(cell: Cell, rng: np.random.Generator) -> Sequence[Row]:
    network = BayesNetTransformer(len(STRUCTURE), rng=Generator().manual_seed(0))
    return intervene(network, cell["n_rows"], cell["n_networks"], rng)


def holds(table: pd.DataFrame) -> Verdict:
    """The rule changes little; with a wrong set it moves the answer, to the set's frequencies."""
    verdicts = []
    for target, rows in table.groupby("target"):
        means = rows.groupby("seed")[list(DISTANCES)].mean()
        at = f"target {target}:"
        verdicts += [
            at_most(over_seeds(means["replaced"]), SAME, f"{at} moved by the rule"),
            at_least(over_seeds(means["moved"]), MOVED, f"{at} moved by a wrong set"),
            at_most(over_seeds(means["follows"]), FOLLOWS, f"{at} from the wrong set's count"),
        ]
    return Verdict.all_of(*verdicts)


def figure(table: pd.DataFrame) -> Chart:
    """The distances, and where the attention lies."""
    panels = []
    for title, label, columns in (
        ("How far answers move", "total variation", DISTANCES),
        ("The rows that match", "share", SHARES),
    ):
        series = []
        for target, rows in table.groupby("target"):
            found = [over_seeds(rows.groupby("seed")[column].mean()) for column in columns]
            places = [float(place) for place in range(len(columns))]
            ends = [one.low for one in found], [one.high for one in found]
            values = [one.value for one in found]
            series.append(Series(f"target {target}", places, values, *ends, "points"))
        panels.append(Panel(title, "", label, series, categories=list(columns.values())))
    return Chart(panels, "Interventions on the last layer's attention; 95 % over seeds.")


EXPERIMENT = Experiment(
    claim="The last layer of a trained network averages the rows that match the parents: it "
    "answers with the frequencies of the rows that it is given.",
    paper="2501.02547",
    source="lemmas 6.1 and 6.2, as quoted by reviewers, construct such layers; that trained "
    "networks work so is asked by us",
    kind="mechanism",
    grid={"n_rows": (50, 100, 200, 500), "n_networks": (1000,)},
    quick={"n_rows": (100, 200), "n_networks": (1000,)},
    tiny={"n_rows": (100,), "n_networks": (150,)},
    n_seeds=10,
    quick_seeds=5,
    tiny_seeds=3,
    measure=measure,
    holds=holds,
    figure=figure,
    not_the_authors=SMALLER,
    controls={
        "all earlier": Control(
            measure=partial(measure, naive=True),
            says="the rows of the naive count in the place of the matching ones",
        ),
        "untrained": Control(measure=_untrained, says="a network with random weights"),
    },
    cost="quick 9 s on one core",
)
