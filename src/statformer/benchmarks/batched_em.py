"""B': textbook EM as our network, all starts, covariance types and ridges of a table in one tensor.

The rival that isolates what was learned: it has the same engine, the same robust scaling and
Lloyd-converged starts, and nothing trained. Weights come from `constructions.em_network`.

Axes: h habits (covariance type, ridge), s starts, B = h s runs, n points, p features, c components.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from statformer.batch import Tables
from statformer.constructions.em_network import COVARIANCE_TYPES, stack_habits
from statformer.estimators.constructed import RIDGES, most_agreeing
from statformer.estimators.problems import n_parameters
from statformer.nn.em_network import EMNetwork, log_density
from statformer.nn.seeding import kmeans_plus_plus, lloyd, n_trials
from statformer.nn.standardize import compress, robust_scale

N_STARTS = 10
LLOYD_STEPS = 50
TOLERANCE = 1e-3  # nats per row and iteration, scikit-learn's rule
MOST_LOOPS = 100
_LOOPS = 5  # iterations between two looks at which runs have converged

Labels = Int[np.ndarray, " n"]


def ridge_name(ridge: float) -> str:
    """How the rival with this ridge is called in tables and files."""
    return f"B' {ridge:g}"


AGREED = "B' agreed"
NAMES = (*(ridge_name(ridge) for ridge in RIDGES), AGREED)


def robust_tables(X: Float[np.ndarray, "n p"]) -> Tables:
    """One table as the network reads it: robust scaling, far values compressed."""
    weight = np.ones((1, len(X)))
    centre, scale = robust_scale(X[None], weight)
    return Tables(compress((X[None] - centre[:, None]) / scale[:, None]), weight)


def lloyd_starts(
    tables: Tables, n_components: int, rng: np.random.Generator, n_starts: int = N_STARTS
) -> Float[np.ndarray, "s n c"]:
    """One-hot responsibilities of k-means++ centres after Lloyd steps."""
    draws = rng.random((n_starts, n_components, n_trials(n_components)))
    means = kmeans_plus_plus(tables, np.full(n_starts, n_components), draws)
    there = np.ones((n_starts, n_components), dtype=bool)
    found: Float[np.ndarray, "s n c"] = lloyd(tables, means, there, LLOYD_STEPS)
    return found


def batched_em(
    X: Float[np.ndarray, "n p"],
    n_components: int,
    rng: np.random.Generator,
    ridges: Sequence[float] = RIDGES,
) -> dict[str, Labels]:
    """Labels by each ridge, type and start by BIC; and those of the ridge that agrees most."""
    tables = robust_tables(X)
    n, p = X.shape
    start = lloyd_starts(tables, n_components, rng)
    habits = [(kind, ridge) for ridge in ridges for kind in COVARIANCE_TYPES]
    likelihood, labels = run_to_convergence(tables, start, habits)
    cost = [np.log(n) * n_parameters(kind, n_components, p) for kind, _ in habits]
    bic = np.array(cost)[:, None] - 2.0 * n * likelihood  # h s
    found = {}
    for i, ridge in enumerate(ridges):
        mine = slice(i * len(COVARIANCE_TYPES), (i + 1) * len(COVARIANCE_TYPES))
        h, s = np.unravel_index(bic[mine].argmin(), bic[mine].shape)
        found[ridge_name(ridge)] = labels[mine][h, s]
    found[AGREED] = list(found.values())[most_agreeing(list(found.values()), np.ones(n))]
    return found


def run_to_convergence(
    tables: Tables, start: Float[np.ndarray, "s n c"], habits: Sequence[tuple[str, float]]
) -> tuple[Float[np.ndarray, "h s"], Int[np.ndarray, "h s n"]]:
    """Mean log density and labels of every run; runs leave the batch when they have converged."""
    n_starts, n, _ = start.shape
    weights = stack_habits(habits, n_starts, 1).weights
    responsibilities = np.concatenate([start] * len(habits))
    density = np.full(len(responsibilities), -np.inf)
    going: Bool[np.ndarray, " B"] = np.ones(len(responsibilities), dtype=bool)
    for _ in range(MOST_LOOPS // _LOOPS):
        network = EMNetwork({k: v[:, going] for k, v in weights.items()}, n_loops=_LOOPS)
        trace = network(tables, responsibilities[going], record="last")
        responsibilities[going] = trace.responsibilities[-1]
        now = log_density(tables, trace.centres[-1]).mean(axis=-1)
        moved = np.abs(now - density[going])  # a ridge can lower the density
        density[going] = now
        going[going] = moved >= TOLERANCE * _LOOPS
        if not going.any():
            break
    labels = responsibilities.argmax(axis=-1).reshape(len(habits), n_starts, n)
    return density.reshape(len(habits), n_starts), labels
