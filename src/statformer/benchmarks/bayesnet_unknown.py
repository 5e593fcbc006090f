"""Answers for the last row of a network by what knows the order of the variables and no parents.

A network of candidate parent sets compares all sets of predecessors. Its own answer averages over
them; `AttentionBayesNet(order=...)` keeps the most probable set, and its table.

Axes: b networks, n context rows, v variables, s candidate sets, d categories. Codes are "n v".
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from statformer.estimators.bayes_net_reading import most_parents
from statformer.estimators.bayes_net_tables import count, estimate
from statformer.estimators.bayes_net_weights import parent_set_network, smoothed_tables
from statformer.nn.parent_set_candidates import all_subsets
from statformer.nn.parent_sets import ParentSetNetwork
from statformer.reference.bayes_net import Structure
from statformer.tasks.bayes_net import BayesNetBatch

Array = np.ndarray

START = "theorem's start, parents unknown, averaged"
START_NET = "AttentionBayesNet(order=), constructed"
PRETRAINED = "pretrained, parents unknown, averaged"
PRETRAINED_NET = "AttentionBayesNet(order=), pretrained"
AVERAGED = {START: "constructed", PRETRAINED: "pretrained"}
KEPT = {START: START_NET, PRETRAINED: PRETRAINED_NET}
METHODS = (START, START_NET, PRETRAINED, PRETRAINED_NET)


def answers(batch: BayesNetBatch, n: int, few: int) -> dict[str, Float[Array, "b v d"]]:
    """p(v | earlier variables of the last row) for the first `few` networks, by method."""
    v, d = batch.X.shape[2], batch.tables.shape[-1]
    found = {method: np.empty((few, v, d)) for method in METHODS}
    for method, weights in AVERAGED.items():
        network = parent_set_network(weights)
        for i in range(few):
            X = batch.X[i].numpy()
            averaged, structure = read(network, X[:n], X[-1:], d)
            found[method][i] = averaged
            found[KEPT[method]][i] = _kept(network, weights, structure, X[:n], X[-1:], d)
    return found


def read(
    network: ParentSetNetwork, X: Int[Array, "n v"], query: Int[Array, "1 v"], d: int
) -> tuple[Float[Array, "v d"], Structure]:
    """Averages over the sets of predecessors at the query, and the most probable sets."""
    v = X.shape[1]
    sizes = (d,) * v
    most = most_parents(sizes, range(v), None, ordered=True)
    averaged, parents = np.empty((v, d)), []
    for t in range(v):
        sets = all_subsets(range(t), most)
        answer = network(X, sizes, t, sets, n_predecessors=t)
        averaged[t] = answer.predict(query)[0]
        parents.append(sets[int(answer.logits.argmax())])
    return averaged, Structure(tuple(parents))


def _kept(
    network: ParentSetNetwork,
    weights: str,
    structure: Structure,
    X: Int[Array, "n v"],
    query: Int[Array, "1 v"],
    d: int,
) -> Float[Array, "v d"]:
    """What the fitted network says of each variable, given its parents' values."""
    counts = count(structure, (d,) * len(structure), X.T, None)
    learned = weights != "constructed"
    tables = (
        smoothed_tables(network, structure, counts) if learned else estimate(structure, counts, 0.0)
    )
    return np.stack([tables.lookup(t, query.T)[0] for t in range(len(structure))])
