"""A network beside the counts of the paper, node by node, in total variation to the truth.

Answers are laws "b v d" for the last row of every network of a batch, given its first n rows. The
count of the known structure takes rows that agree with the query on the parents, the naive count
those that agree on all earlier variables; where no row does, their total variation is 1, as in the
paper's public code.

Axes: b networks, n context rows, v variables, d categories.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float

from statformer.benchmarks.bayesnet_truth import counted, variations
from statformer.experiments._seeds import OverSeeds, over_seeds, seed_curve
from statformer.experiments.base import Row, ThresholdSource, Verdict
from statformer.plotting.chart import Panel, Series
from statformer.tasks.bayes_net import BayesNetBatch, BayesNetPrior, all_earlier
from statformer.tasks.stream import TaskStream

CONTEXTS = (1, 2, 5, 10, 20, 50, 100, 200, 300, 400, 500)  # the paper's N_test
Answers = Callable[[BayesNetBatch, int], Float[np.ndarray, "b v d"]]


def draw_networks(prior: BayesNetPrior, n: int, rng: np.random.Generator) -> BayesNetBatch:
    """Fresh networks of a prior."""
    return prior.sample(TaskStream(int(rng.integers(2**31)), 0, range(n)))


def known_count(batch: BayesNetBatch, n: int) -> Float[np.ndarray, "b v d"]:
    """Frequencies among the rows that agree on most of the parents: on all, where there are any."""
    return _closest(batch, n, batch.adjacency)


def naive_count(batch: BayesNetBatch, n: int) -> Float[np.ndarray, "b v d"]:
    """Frequencies among the rows that agree on most of the earlier variables."""
    return _closest(batch, n, all_earlier(batch.X.shape[2]))


def compare(batch: BayesNetBatch, answers: Answers, contexts: Sequence[int]) -> list[Row]:
    """One row per number of context rows and node; means over the networks.

    network, known, naive   total variation to the truth
    closest                 that of `known_count`, which is defined where `known` scores 1
    seen_network, seen_known    both where the parents' configuration was seen
    from_known, from_naive      total variation from the answer to `known_count`, `naive_count`
    seen                    share of the networks in which the configuration was seen
    strangers               earlier variables that are no parents, mean over the networks
    """
    v = batch.X.shape[2]
    strangers = torch.arange(v) - batch.adjacency.sum(-1)
    rows: list[Row] = []
    for n in contexts:
        p, counts, naive = answers(batch, n), known_count(batch, n), naive_count(batch, n)
        _, matching = batch.frequencies(n, batch.adjacency)
        seen = (matching > 0).numpy()
        found = {
            "network": variations(batch, p),
            "known": counted(batch, n, batch.adjacency),
            "naive": counted(batch, n, all_earlier(v)),
            "closest": variations(batch, counts),
            "from_known": 0.5 * np.abs(p - counts).sum(-1),
            "from_naive": 0.5 * np.abs(p - naive).sum(-1),
            "seen": seen.astype(float),
            "strangers": strangers.double().numpy(),
        }
        for node in range(v):
            row = {name: float(values[:, node].mean()) for name, values in found.items()}
            both = seen[:, node]
            for name in ("network", "known") if both.any() else ():
                row[f"seen_{name}"] = float(found[name][both, node].mean())
            rows.append({"n_rows": n, "node": node, **row})
    return rows


def by_seed(rows: pd.DataFrame, first: str, second: str) -> OverSeeds:
    """The mean of first - second, each seed's rows first averaged among themselves."""
    return over_seeds((rows[first] - rows[second]).groupby(rows["seed"]).mean())


def at_most(
    found: OverSeeds, threshold: float, what: str, source: ThresholdSource = "ours"
) -> Verdict:
    """`Verdict.below` of a mean over seeds."""
    return Verdict.below(
        found.value, threshold, interval=found.interval, threshold_source=source, what=what
    )


def at_least(
    found: OverSeeds, threshold: float, what: str, source: ThresholdSource = "ours"
) -> Verdict:
    """`Verdict.above` of a mean over seeds."""
    return Verdict.above(
        found.value, threshold, interval=found.interval, threshold_source=source, what=what
    )


def curves(rows: pd.DataFrame, title: str, names: dict[str, str]) -> Panel:
    """Mean total variation over the number of context rows; `names` are columns and labels."""
    series = [over(rows, "n_rows", column, label) for column, label in names.items()]
    label = "total variation to the truth"
    return Panel(title, "context rows", label, series, log_x=True, log_y=True)


def over(rows: pd.DataFrame, x: str, column: str, label: str) -> Series:
    """Means over seeds of a column, over another."""
    line = seed_curve(rows, x, column)
    places, values, low, high = (line[name].tolist() for name in ("x", "value", "low", "high"))
    return Series(label, places, values, low, high)


def _closest(
    batch: BayesNetBatch, n: int, given: Bool[torch.Tensor, "#b v u"]
) -> Float[np.ndarray, "b v d"]:
    context, query = batch.X[:, :n], batch.X[:, -1]
    equal = (context == query[:, None])[:, :, None] & given[:, None]
    agreement = equal.sum(-1)
    chosen = agreement == agreement.amax(1, keepdim=True)
    one_hot = torch.nn.functional.one_hot(context, batch.tables.shape[-1]).double()
    counts = (one_hot * chosen[..., None]).sum(1)
    frequencies: Float[np.ndarray, "b v d"] = (counts / counts.sum(-1, keepdim=True)).numpy()
    return frequencies
