"""Parents read from the context: total variation to the truth on unseen DAGs, by law of the tables.

    python -m statformer.benchmarks.bayesnet_parents --out docs/benchmarks/random_dag.json

Every network has a fresh DAG and fresh tables; all nodes are asked at the last row. Beside the
pretrained network stand the theorem's weights (`constructions.parent_sets`), with flat tables and
with five concentrations as likely, the counts of the true DAG and of all predecessors (scored 1
where no row matches), and as a bound the theorem that knows the true parents. Intervals are
bootstraps over networks. Structure: distance of the most probable sets to the true DAG, edges
missing or too many, by network.

Axes: b networks, n context rows, v variables, d categories.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from statformer.benchmarks.bayesnet_truth import counted, structure_of, variations
from statformer.constructions.parent_sets import parent_set_weights
from statformer.nn.parent_set_candidates import CandidateSets, all_subsets
from statformer.nn.parent_set_features import CONCENTRATIONS, read
from statformer.nn.parent_sets import ParentSetNetwork, count
from statformer.runs.intervals import difference_interval, mean_interval
from statformer.runs.machine import machine
from statformer.runs.record import Record
from statformer.tasks.bayes_net import BayesNetBatch, BayesNetPrior, all_earlier
from statformer.tasks.stream import TaskStream
from statformer.weights import load_weights

SEED = 20250106
CONTEXTS = (10, 50, 100, 500, 2000)
N_NETWORKS = {5: 200, 7: 150, 10: 40}  # by number of nodes
LEAST_STRANGERS = 2  # predecessors that are no parents, from which the naive count must lose
PRETRAINED, FLAT, FIVE = "pretrained", "theorem, flat tables", "theorem, five concentrations"
KNOWN, NAIVE = "MLE, true DAG", "MLE, all predecessors"
BOUND = "theorem, true parents known"
# U(0, 1) and the dense graphs are the paper's; the last two laws were in no training.
PRIORS = {
    "U(0, 1), dense, 5": BayesNetPrior(n_variables=5),
    "U(0, 1), dense, 7": BayesNetPrior(n_variables=7),
    "U(0, 1), dense, 10": BayesNetPrior(n_variables=10),
    "U(0, 1), sparse, 5": BayesNetPrior(n_variables=5, edges=(0.1, 0.5)),
    "U(0, 1), sparse, 7": BayesNetPrior(n_variables=7, edges=(0.1, 0.5)),
    "U(0, 1), sparse, 10": BayesNetPrior(n_variables=10, edges=(0.1, 0.5)),
    "Beta(0.4, 0.4), 7": BayesNetPrior(n_variables=7, edges=(0.1, 1.0), concentration=0.4),
    "Dirichlet(0.1), three levels, 5": BayesNetPrior(
        n_variables=5, edges=(0.1, 1.0), n_categories=3, concentration=0.1
    ),
    "decided, 7": BayesNetPrior(n_variables=7, edges=(0.1, 1.0), conditionals="decided"),
    "normals, 7": BayesNetPrior(n_variables=7, edges=(0.1, 1.0), conditionals="normals"),
}


def read_structure(
    batch: BayesNetBatch, n: int, network: ParentSetNetwork, few: int | None = None
) -> tuple[Float[np.ndarray, "b v d"], Float[np.ndarray, " b"]]:
    """Answers of the first networks at their last row, parents read from the first n rows.

    The candidates of a variable are all sets of its predecessors. The second answer is the distance
    of the most probable sets to the true DAG.
    """
    return _read_by_all(batch, n, {PRETRAINED: network}, few)[PRETRAINED]


def _read_by_all(
    batch: BayesNetBatch, n: int, networks: dict[str, ParentSetNetwork], few: int | None = None
) -> dict[str, tuple[Float[np.ndarray, "b v d"], Float[np.ndarray, " b"]]]:
    """`read_structure` for networks that share the counts."""
    b, v, d = len(batch.X) if few is None else few, batch.X.shape[2], batch.tables.shape[-1]
    found = {name: (np.empty((b, v, d)), np.zeros(b)) for name in networks}
    every = [CandidateSets(all_subsets(range(t), t), (d,) * v, t) for t in range(v)]
    for i in range(b):
        X = batch.X[i].numpy()
        for t, parents in enumerate(structure_of(batch, i).parents):
            counts = count(X[:n], every[t])
            reading = read(counts, every[t])
            for name, network in networks.items():
                p, distance = found[name]
                answer = network.answer(every[t], counts, reading)
                p[i, t] = answer.predict(X[-1:])[0]
                best = every[t].candidates[int(answer.probabilities.argmax())]
                distance[i] += len(set(best) ^ set(parents))
    return found


def measure(
    prior: BayesNetPrior, n: int, networks: dict[str, ParentSetNetwork], b: int
) -> dict[str, Any]:
    """Mean TV over nodes and networks by method, and differences with intervals."""
    batch = BayesNetPrior(**{**vars(prior), "n_rows": max(CONTEXTS) + 1}).sample(
        TaskStream(SEED, 0, range(b))
    )
    v = batch.X.shape[2]
    tv = {KNOWN: counted(batch, n, batch.adjacency), NAIVE: counted(batch, n, all_earlier(v))}
    distance = {}
    for name, (p, apart) in _read_by_all(batch, n, networks).items():
        tv[name], distance[name] = variations(batch, p), apart
    tv[BOUND] = variations(batch, _with_parents(batch, n))
    mean = {name: values.mean(axis=1) for name, values in tv.items()}
    judged = (np.arange(v) - batch.adjacency.sum(-1).numpy()) >= LEAST_STRANGERS
    has = judged.any(axis=1)
    ours, naive = (
        (tv[name] * judged).sum(axis=1)[has] / judged.sum(axis=1)[has]
        for name in (PRETRAINED, NAIVE)
    )
    others = [name for name in mean if name != PRETRAINED]
    return {
        "networks": b,
        "tv": {name: mean_interval([values]).as_dict() for name, values in mean.items()},
        "pretrained minus": {
            name: difference_interval([mean[PRETRAINED]], [mean[name]]).as_dict() for name in others
        },
        "pretrained minus naive, two strangers or more": difference_interval(
            [ours], [naive]
        ).as_dict(),
        "edges apart": {
            name: mean_interval([values]).as_dict() for name, values in distance.items()
        },
        "edges apart, pretrained minus": {
            name: difference_interval([distance[PRETRAINED]], [values]).as_dict()
            for name, values in distance.items()
            if name != PRETRAINED
        },
    }


def _with_parents(batch: BayesNetBatch, n: int) -> Float[np.ndarray, "b v d"]:
    network = ParentSetNetwork(parent_set_weights())
    b, _, v = batch.X.shape
    d = batch.tables.shape[-1]
    found = np.empty((b, v, d))
    for i in range(b):
        X = batch.X[i].numpy()
        for t, parents in enumerate(structure_of(batch, i).parents):
            found[i, t] = network(X[:n], (d,) * v, t, [parents]).predict(X[-1:])[0]
    return found


def main(arguments: list[str] | None = None) -> int:
    """Measure what the file does not hold yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--weights", default="random_dag", help="a name in the package, or a path")
    given = parser.parse_args(arguments)
    weights, card = load_weights(given.weights)
    networks = {
        PRETRAINED: ParentSetNetwork(weights),
        FLAT: ParentSetNetwork(parent_set_weights()),
        FIVE: ParentSetNetwork(parent_set_weights(dict.fromkeys(CONCENTRATIONS, 1.0))),
    }
    record = Record(given.out, {"weights": card["sha256"], "seed": SEED})
    record.update(machine=machine())
    for name, prior in PRIORS.items():
        for n in CONTEXTS:
            key = f"{name}: {n} rows"
            if key not in record:
                record.put(key, measure(prior, n, networks, N_NETWORKS[prior.n_variables]))
                sys.stdout.write(key + "\n")
                sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
