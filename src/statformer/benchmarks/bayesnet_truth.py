"""(a) Total variation to the truth over the number of context rows, node by node.

    TV = 1/2 sum_x |p(x) - truth(x)| at the parents' values of a query, mean over networks

Every network has fresh tables, and on the random structures a fresh DAG. As in the paper, counts
that no context row matches are scored 1; the networks are defined there. Parents are written into
the constructed network, and known to the count of the true DAG; the naive count and the lines of
`bayesnet_unknown` know only the order. Axes: b networks, n context rows, v variables, d categories.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from statformer.benchmarks import bayesnet_unknown as unknown
from statformer.benchmarks.bayesnet_settings import Bench, Sizes
from statformer.benchmarks.bayesnet_transformer import answers
from statformer.benchmarks.settings import Progress
from statformer.constructions.bayes_net import CountingTransformer
from statformer.estimators.bayes_net_tables import count, estimate
from statformer.pretraining.recipes.bayes_net import load_bayes_net_transformer
from statformer.reference.bayes_net import Structure
from statformer.runs.intervals import difference_interval
from statformer.tasks.bayes_net import STRUCTURES, BayesNetBatch, BayesNetPrior, all_earlier
from statformer.tasks.stream import TaskStream

COLLAPSED = "constructed, collapse=True"
ATTENTION = "constructed, the attention itself"
KNOWN, NAIVE = "MLE, true DAG", "MLE, all predecessors"
METHODS = (COLLAPSED, KNOWN, NAIVE)
JUDGED = (COLLAPSED, unknown.START, unknown.PRETRAINED)  # against the naive count
TRANSFORMER = "the paper's transformer, trained on such networks"
TRAINED = {"general": "bayes_net_general", "random DAGs of 5": "bayes_net_random"}
UNSEEN = {"random DAGs of 5": 5, "random DAGs of 7": 7}
RANDOM = {**UNSEEN, "random DAGs of 10": 10}
LARGE = 10  # variables from which fewer networks are read
LEAST_STRANGERS = 2  # predecessors that are no parents, from which the naive count must lose
SEED = 20250105


def priors(n_rows: int) -> dict[str, BayesNetPrior]:
    """The paper's structures with tables from U(0, 1), Sachs' from Dirichlet(0.1), random DAGs."""
    found = {name: BayesNetPrior(name, n_rows) for name in STRUCTURES}
    found["sachs"] = BayesNetPrior("sachs", n_rows, n_categories=3, concentration=0.1)
    return found | {
        name: BayesNetPrior("random", n_rows, n_variables=v) for name, v in RANDOM.items()
    }


def run(bench: Bench) -> None:
    """Measure the structures that the record does not hold yet."""
    every = priors(max(bench.sizes.contexts) + 1)
    for i, (name, prior) in enumerate(every.items()):
        if f"a: {name}" not in bench.record:
            bench.record.put(f"a: {name}", {"part": "a", **measure(name, prior, bench.sizes)})
        bench.callback(Progress("a", name, i + 1, len(every)))


def measure(name: str, prior: BayesNetPrior, sizes: Sizes) -> dict[str, Any]:
    """Mean TV by method, context length and node; and differences to the two counts, paired."""
    batch = prior.sample(TaskStream(SEED, 0, range(sizes.networks)))
    v = batch.X.shape[2]
    strangers = torch.arange(v) - batch.adjacency.sum(-1)
    is_judged = (strangers >= LEAST_STRANGERS).numpy()
    n_read = sizes.read_networks if v < LARGE else sizes.read_large_networks
    tv: dict[str, dict[str, Any]] = {m: {} for m in (*METHODS, ATTENTION, *unknown.METHODS)}
    naive: dict[str, dict[str, list[Any]]] = {method: {} for method in JUDGED}
    known: dict[str, dict[str, Any]] = {method: {} for method in unknown.METHODS}
    apart = 0.0
    trained = TRAINED.get(name)
    transformer = None if trained is None else load_bayes_net_transformer(trained)
    for n in sizes.contexts:
        found = {
            COLLAPSED: variations(batch, _collapsed(batch, n)),
            KNOWN: counted(batch, n, batch.adjacency),
            NAIVE: counted(batch, n, all_earlier(v)),
            ATTENTION: variations(batch, _attended(batch, n, sizes.attention_networks)),
        }
        for method, p in unknown.answers(batch, n, n_read).items():
            found[method] = variations(batch, p)
            known[method][str(n)] = _minus_known(found, method)
        if transformer is not None:
            found[TRANSFORMER] = variations(batch, answers(transformer, batch, n))
            known.setdefault(TRANSFORMER, {})[str(n)] = _minus_known(found, TRANSFORMER)
            tv.setdefault(TRANSFORMER, {})
        for method, variation in found.items():
            tv[method][str(n)] = variation.mean(axis=0)
        for method in JUDGED:
            naive[method][str(n)] = [_minus_naive(found, method, t, is_judged) for t in range(v)]
        some = found[COLLAPSED][: sizes.attention_networks]
        apart = max(apart, float(np.abs(found[ATTENTION] - some).max()))
    return {
        "networks": sizes.networks,
        "attention networks": sizes.attention_networks,
        "read networks": n_read,
        "variables": v,
        "tv": tv,
        "minus naive": naive,
        "minus known": known,
        "attention apart from collapse=True": apart,
    }


def _minus_naive(
    found: dict[str, Any], method: str, t: int, is_judged: Bool[np.ndarray, "b v"]
) -> dict[str, Any] | None:
    """A method minus naive at a node, over networks with two predecessors that are no parents."""
    ours = found[method][:, t]
    judged = is_judged[: len(ours), t]
    if not judged.any():
        return None
    theirs = found[NAIVE][: len(ours), t]
    return difference_interval([ours[judged]], [theirs[judged]]).as_dict()


def _minus_known(found: dict[str, Any], method: str) -> dict[str, Any]:
    """A method minus the count of the true DAG, mean over the nodes of every network."""
    ours = found[method].mean(axis=1)
    theirs = found[KNOWN][: len(ours)].mean(axis=1)
    return difference_interval([ours], [theirs]).as_dict()


def counted(
    batch: BayesNetBatch, n: int, given: Bool[Tensor, "#b v u"]
) -> Float[np.ndarray, "b v"]:
    """TV of frequencies among the rows that agree on the variables `given`; 1 where none does."""
    frequencies, _ = batch.frequencies(n, given)
    found = variations(batch, frequencies.double().numpy())
    return np.where(np.isnan(found), 1.0, found)


def variations(batch: BayesNetBatch, p: Float[np.ndarray, "b v d"]) -> Float[np.ndarray, "b v"]:
    """TV of answers for the last row of the first networks."""
    truth = batch.truth()[: len(p), -1].double().numpy()
    found: Float[np.ndarray, "b v"] = 0.5 * np.abs(p - truth).sum(axis=-1)
    return found


def structure_of(batch: BayesNetBatch, i: int) -> Structure:
    """The structure of a network."""
    return Structure(
        tuple(tuple(np.flatnonzero(row).tolist()) for row in batch.adjacency[i].numpy())
    )


def _collapsed(batch: BayesNetBatch, n: int) -> Float[np.ndarray, "b v d"]:
    """What `AttentionBayesNet(collapse=True)` looks up: tables of counts, backed off."""
    b, _, v = batch.X.shape
    d = batch.tables.shape[-1]
    found = np.empty((b, v, d))
    for i in range(b):
        structure = structure_of(batch, i)
        X = batch.X[i].numpy()
        tables = estimate(structure, count(structure, (d,) * v, X[:n].T, None), 0.0)
        for t in range(v):
            found[i, t] = tables.lookup(t, X[-1:].T)[0]
    return found


def _attended(batch: BayesNetBatch, n: int, few: int) -> Float[np.ndarray, "b v d"]:
    """The two attention layers over the context, one pass per variable."""
    v, d = batch.X.shape[2], batch.tables.shape[-1]
    found = np.empty((few, v, d))
    for i in range(few):
        X = batch.X[i].numpy()
        network = CountingTransformer(structure_of(batch, i), (d,) * v, X[:n])
        for t in range(v):
            found[i, t] = network.conditional(t, X[-1:])[0]
    return found
