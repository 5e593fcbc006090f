"""Trained with too few context rows, a network does not learn the structure.

Cao et al. (arXiv 2501.02547), section 5.2: a sufficiently large number of rows in training is
critical for learning the structure. Item 5 of what a reproduction must show. The values of their
sweep were not found. Networks are trained in the cell and tested with 100 rows. Ours: near is 0.02
total variation from the count of the known structure, far is 0.05; and `leak`, how much an answer
changes when an earlier variable that is no parent changes, as a share of the change when a parent
does. Two rows are the fewest from which a structure could be learned: one row says nothing about
matches. At quick size three seeds left it undecided (0.107 [0.0499, 0.163] behind after training
with two rows); there are five since, and the thresholds are as they were.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
import torch

from statformer.benchmarks.bayesnet_transformer import answers
from statformer.experiments._bayes_net_counts import (
    at_least,
    at_most,
    by_seed,
    compare,
    draw_networks,
    over,
)
from statformer.experiments._bayes_net_trained import SMALLER, train
from statformer.experiments._seeds import over_seeds
from statformer.experiments.base import Cell, Control, Experiment, Row, Verdict
from statformer.nn.bayes_net_transformer import BayesNetTransformer
from statformer.plotting.chart import Chart, Panel
from statformer.pretraining.recipes.bayes_net import BayesNetRecipe
from statformer.tasks.bayes_net import BayesNetBatch, BayesNetPrior

NEAR, FAR = 0.02, 0.05
AT = 100  # rows at test
N_TEST = 1000


def measure(cell: Cell, rng: np.random.Generator, n_train: int = 0) -> Sequence[Row]:
    """Total variation by node at 100 rows, and the leak, after training in this cell.

    `n_train` replaces the cell's.
    """
    recipe = BayesNetRecipe(
        structure=cell["structure"],
        protocol=cell["protocol"],
        n_context=n_train or cell["n_train"],
        batch_size=32,
    )
    network = train(recipe, cell["n_steps"], int(rng.integers(2**31)))
    batch = draw_networks(BayesNetPrior(cell["structure"], AT + 1), N_TEST, rng)
    leak = _leak(network, batch)
    return [{**row, "leak": leak} for row in compare(batch, partial(answers, network), (AT,))]


def _leak(network: BayesNetTransformer, batch: BayesNetBatch) -> float:
    """Mean change of the answer when a stranger's value changes / when a parent's does."""
    context, query = batch.X[:, :AT], batch.X[:, -1]
    changes: dict[bool, list[float]] = {True: [], False: []}
    with torch.no_grad():
        for target in range(query.shape[1]):
            before = network(context, query, target)
            for earlier in range(target):
                turned = query.clone()
                turned[:, earlier] = 1 - turned[:, earlier]
                change = 0.5 * (network(context, turned, target) - before).abs().sum(-1).mean()
                changes[bool(batch.adjacency[0, target, earlier])].append(change.item())
    return float(np.mean(changes[False]) / np.mean(changes[True]))


def holds(table: pd.DataFrame) -> Verdict:
    """With fewest rows far from the known count and with more leak; with most rows near."""
    verdicts = []
    for (structure, protocol), rows in table.groupby(["structure", "protocol"]):
        least, most = (rows[rows["n_train"] == n] for n in _ends(rows))
        few, many = _ends(rows)
        at = f"{structure}, {protocol}"
        judged = [some[some["strangers"] > 0] for some in (least, most)]
        far, near = (by_seed(some, "network", "known") for some in judged)
        leaks = [some.groupby("seed")["leak"].mean() for some in (least, most)]
        verdicts += [
            at_least(far, FAR, f"{at}: behind the known count, trained with {few} rows"),
            at_most(near, NEAR, f"{at}: behind the known count, trained with {many} rows"),
            at_least(over_seeds(leaks[0] - leaks[1]), 0.0, f"{at}: leak, {few} - {many} rows"),
        ]
    return Verdict.all_of(*verdicts)


def _ends(rows: pd.DataFrame) -> tuple[int, int]:
    return int(rows["n_train"].min()), int(rows["n_train"].max())


def figure(table: pd.DataFrame) -> Chart:
    """How far behind the known count, and the leak, over the rows of training."""
    behind = table.assign(behind=table["network"] - table["known"])
    behind = behind[behind["strangers"] > 0]
    panels = []
    for column, label in (("behind", "total variation - known count's"), ("leak", "leak")):
        series = [
            over(rows, "n_train", column, f"{structure}, {protocol}")
            for (structure, protocol), rows in behind.groupby(["structure", "protocol"])
        ]
        panels.append(Panel(f"At {AT} rows", "rows in training", label, series, log_x=True))
    return Chart(panels, "Nodes that have an earlier variable that is no parent; 95 % over seeds.")


EXPERIMENT = Experiment(
    claim="A network that is trained with too few context rows does not learn the structure.",
    paper="2501.02547",
    source="section 5.2, as described by reviewers; item 5 of what a reproduction must show",
    kind="learnability",
    grid={
        "structure": ("wet grass", "general"),
        "protocol": ("frequencies", "prediction"),
        "n_train": (2, 5, 20, 100),
        "n_steps": (3000,),
    },
    quick={
        "structure": ("wet grass",),
        "protocol": ("frequencies",),
        "n_train": (2, 100),
        "n_steps": (800,),
    },
    tiny={
        "structure": ("wet grass",),
        "protocol": ("frequencies",),
        "n_train": (2, 10),
        "n_steps": (5,),
    },
    n_seeds=3,
    quick_seeds=5,
    measure=measure,
    holds=holds,
    figure=figure,
    not_the_authors=f"{SMALLER}; the authors' numbers of rows were not found",
    controls={
        "always 100 rows": Control(
            measure=partial(measure, n_train=100),
            says="every network is trained with 100 rows",
        )
    },
    control_size="quick",
    cost="quick 62 s on one core",
)
