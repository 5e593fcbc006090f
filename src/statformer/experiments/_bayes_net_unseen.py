"""Structures that a network has not been trained on, and how it does there beside the counts.

Axes: b networks, n context rows, v variables, d categories.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from statformer.benchmarks.bayesnet_truth import LEAST_STRANGERS, counted, variations
from statformer.experiments._bayes_net_counts import (
    Answers,
    at_least,
    at_most,
    by_seed,
    curves,
    draw_networks,
)
from statformer.experiments.base import Row, Verdict
from statformer.plotting.chart import Chart
from statformer.pretraining.recipes.bayes_net import is_held_out
from statformer.tasks.bayes_net import STRUCTURES, BayesNetBatch, BayesNetPrior, all_earlier

NEAR = 0.02
ENOUGH = 100  # context rows from which a network is judged
LABELS = {"network": "structure from the context", "known": "known structure"}
LABELS |= {"naive": "all predecessors"}


def unseen_networks(
    structure: str, n_variables: int, n_rows: int, n: int, rng: np.random.Generator
) -> BayesNetBatch:
    """Networks over held-out random structures ("random"), or over a named one, all held out."""
    if structure != "random":
        assert len(STRUCTURES[structure]) == n_variables
        return draw_networks(BayesNetPrior(structure, n_rows + 1), n, rng)
    prior = BayesNetPrior("random", n_rows + 1, n_variables=n_variables, edges=(0.1, 1.0))
    parts: list[BayesNetBatch] = []
    while sum(len(part.X) for part in parts) < n:
        drawn = draw_networks(prior, 4 * n, rng)
        keep = is_held_out(drawn.adjacency)
        parts.append(BayesNetBatch(drawn.X[keep], drawn.adjacency[keep], drawn.tables[keep]))
    X, adjacency, tables = (
        torch.cat([getattr(part, name) for part in parts])[:n]
        for name in ("X", "adjacency", "tables")
    )
    return BayesNetBatch(X, adjacency, tables)


def compare_unseen(batch: BayesNetBatch, answers: Answers, contexts: Sequence[int]) -> list[Row]:
    """A row per number of context rows: total variations to the truth, mean over networks, nodes.

    network, known, naive          all nodes
    judged_network, judged_naive   nodes with two earlier variables or more that are no parents
    """
    v = batch.X.shape[2]
    strangers = torch.arange(v) - batch.adjacency.sum(-1)
    judged = (strangers >= LEAST_STRANGERS).numpy()
    rows: list[Row] = []
    for n in contexts:
        found = {
            "network": variations(batch, answers(batch, n)),
            "known": counted(batch, n, batch.adjacency),
            "naive": counted(batch, n, all_earlier(v)),
        }
        row = {name: float(values.mean()) for name, values in found.items()}
        row |= {f"judged_{name}": float(found[name][judged].mean()) for name in found}
        rows.append({"n_rows": n, **row})
    return rows


def judge(table: pd.DataFrame) -> Verdict:
    """From 100 rows on near the known structure's count, and not above the naive one."""
    verdicts = []
    for (structure, v), rows in table.groupby(["structure", "n_variables"]):
        for n, some in rows[rows["n_rows"] >= ENOUGH].groupby("n_rows"):
            at = f"{structure}, {v} nodes, {n} rows:"
            verdicts += [
                at_most(by_seed(some, "network", "known"), NEAR, f"{at} network - known"),
                at_least(
                    by_seed(some, "judged_naive", "judged_network"), 0.0, f"{at} naive - network"
                ),
            ]
    return Verdict.all_of(*verdicts)


def unseen_figure(table: pd.DataFrame) -> Chart:
    """Curves over the rows, a panel per structure."""
    panels = [
        curves(rows, f"{structure}, {v} nodes", LABELS)
        for (structure, v), rows in table.groupby(["structure", "n_variables"])
    ]
    return Chart(panels, "Structures that no training step has seen; 95 % over seeds.")
