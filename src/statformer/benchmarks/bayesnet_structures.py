"""(d) Structures read from rows beside hill-climbing: how far from the true one, and what it costs.

    distance  structural Hamming distance between the equivalence classes
    lost      mean over held-out rows of log p_true(row) - log p_found(row), in nats
    seconds   of the processor, one thread, structure and tables together

Random DAGs, sparse and dense, with random tables; every learner sees the same rows, in columns of
a random order, once without knowledge and once with the order of the variables. Each structure gets
tables of counts plus one, but for the pretrained network, which makes its own (without an order it
takes the constructed structure). Axes: b networks, n
rows, v variables, d categories.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from statformer.benchmarks.bayesnet_learners import (
    SMOOTHING,
    TRUTH,
    Learner,
    learners,
    named,
    search_libraries,
    table_of,
)
from statformer.benchmarks.bayesnet_settings import Bench, Sizes
from statformer.benchmarks.settings import Progress
from statformer.estimators.bayes_net import AttentionBayesNet
from statformer.estimators.bayes_net_classes import hamming_distance
from statformer.reference.bayes_net import Structure
from statformer.tasks.bayes_net import BayesNetBatch, BayesNetPrior
from statformer.tasks.stream import TaskStream

KNOWLEDGE = ("order unknown", "order known")
MEASURES = ("distance", "lost", "seconds")
VARIABLES = (5, 7, 10)
DENSITIES = {"sparse": (0.2, 0.4), "dense": (0.7, 1.0)}  # p of an edge is drawn from this
LAWS: Mapping[str, Mapping[str, Any]] = {
    "U(0, 1)": {},
    "Beta(0.4, 0.4)": {"concentration": 0.4},
    "three categories": {"n_categories": 3},
}
HELD_OUT = 1000
SEED = 20061112


def priors(n_rows: int) -> dict[str, BayesNetPrior]:
    """Every kind of network, with rows to learn from and others to be scored on."""
    return {
        f"{v} variables, {density}, {law}": BayesNetPrior(
            "random", n_rows + HELD_OUT, n_variables=v, edges=edges, **settings
        )
        for v in VARIABLES
        for density, edges in DENSITIES.items()
        for law, settings in LAWS.items()
    }


def run(bench: Bench) -> None:
    """Measure the cells that the record does not hold yet."""
    search_libraries()  # an import is no search
    sizes = bench.sizes
    every = priors(max(sizes.searched_rows))
    entries = [(name, prior, n) for name, prior in every.items() for n in sizes.searched_rows]
    for i, (kind, prior, n) in enumerate(entries):
        name = f"{kind}, {n} rows"
        if f"d: {name}" not in bench.record:
            bench.record.put(f"d: {name}", {"part": "d", **measure(prior, n, sizes)})
        bench.callback(Progress("d", name, i + 1, len(entries)))


def measure(prior: BayesNetPrior, n: int, sizes: Sizes) -> dict[str, Any]:
    """Lists, one number per network, by knowledge, learner and measure."""
    batch = prior.sample(TaskStream(SEED, 0, range(sizes.searched_networks)))
    found: dict[str, dict[str, Any]] = {knowledge: {} for knowledge in KNOWLEDGE}
    truth: list[float] = []
    last = BayesNetBatch(batch.X[:, -HELD_OUT:], batch.adjacency, batch.tables)
    own = last.truth().gather(-1, last.X[..., None])[..., 0]
    best = own.log().sum(-1).mean(-1)
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for i in range(sizes.searched_networks):
            task = Task(batch, i, n, float(best[i]))
            truth.append(
                round(task.lost(AttentionBayesNet(task.named, smoothing=SMOOTHING).fit(task.df)), 6)
            )
            for knowledge in KNOWLEDGE:
                order = task.order if knowledge == "order known" else None
                for name, learn in learners().items():
                    lists = found[knowledge].setdefault(name, {m: [] for m in MEASURES})
                    for m, value in task.scored(learn, order).items():
                        lists[m].append(round(value, 6))
    return {
        "variables": batch.X.shape[2],
        "rows": n,
        "networks": sizes.searched_networks,
        **found,
        f"lost by {TRUTH}": truth,
    }


class Task:
    """One network and its rows, in columns of a random order."""

    def __init__(self, batch: BayesNetBatch, i: int, n: int, best: float) -> None:
        X, v, d = batch.X[i].numpy(), batch.X.shape[2], batch.tables.shape[-1]
        column_of = np.random.default_rng([SEED, i, v]).permutation(v)  # of a variable
        of_column = np.argsort(column_of)
        parents = [np.flatnonzero(row) for row in batch.adjacency[i].numpy()]
        listed = [tuple(sorted(column_of[parents[m]].tolist())) for m in of_column]
        self.structure = Structure(tuple(listed))
        self.names = [f"x{c}" for c in range(v)]
        self.named = named(self.structure, self.names)
        self.order = [f"x{c}" for c in column_of]
        self.df = table_of(X[:n, of_column], d)
        self.held_out = table_of(X[-HELD_OUT:, of_column], d)
        self.best = best

    def scored(self, learn: Learner, order: list[str] | None) -> dict[str, float]:
        """The measures of what a learner finds."""
        began = time.process_time()
        model = learn(self.df, order)
        seconds = time.process_time() - began
        found = Structure(
            tuple(
                tuple(self.names.index(str(p)) for p in model.structure_[name])
                for name in self.names
            )
        )
        distance = float(hamming_distance(self.structure, found))
        return {"distance": distance, "lost": self.lost(model), "seconds": seconds}

    def lost(self, model: AttentionBayesNet) -> float:
        """Nats per held-out row that the true network is ahead."""
        return self.best - model.score(self.held_out)
