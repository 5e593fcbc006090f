"""(c) The paper's family: misclustering over separation, beside EM and Lloyd from the same start.

x = theta_z + sigma N(0, I), three equidistant centres in four columns, 200 rows, equal weights.
EM and Lloyd (`reference/em.py`) know sigma and the family.

Axes: n points, d features, c components.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from statformer.benchmarks.batched_em import robust_tables
from statformer.benchmarks.network import cluster_with_k
from statformer.benchmarks.scores import n_errors
from statformer.benchmarks.settings import Bench, Progress
from statformer.estimators.base import resolve_weights
from statformer.nn.em_network import EMNetwork
from statformer.nn.seeding import is_component, kmeans_plus_plus, n_trials
from statformer.nn.seeding import lloyd as batched_lloyd
from statformer.reference.em import isotropic_em, lloyd
from statformer.runs.intervals import mean_interval, ratio_interval

SEPARATIONS = (1.0, 2.0, 3.0, 3.5, 4.0, 4.5, 5.0, 6.0)
WITH_TARGET = (3.0, 3.5, 4.0, 4.5, 5.0)
N_POINTS, N_FEATURES, N_COMPONENTS = 200, 4, 3
SEED = 7_777_777
STEPS, MOST_STEPS = 25, 400  # EM goes on until no responsibility moves by 1e-6 in 25 steps

OURS = "pretrained (10 starts)"
SAME_START = "pretrained, same start"
EM = "EM, same start"
LLOYD = "Lloyd, same start"
FROM_TRUTH = "EM from the true centres"
ORACLE = "Bayes-optimal"
METHODS = (OURS, SAME_START, EM, LLOYD, FROM_TRUTH, ORACLE)

Matrix = Float[np.ndarray, "n d"]
Labels = Int[np.ndarray, " n"]


@dataclass(frozen=True)
class Job:
    """A block of tables at one separation."""

    separation: float
    index: int
    n_tables: int
    weights: str


def measure(job: Job) -> dict[str, list[int]]:
    """Misclustered points per table and method."""
    from statformer.tasks.gaussian_mixture import PaperMixturePrior, posterior
    from statformer.tasks.stream import TaskStream

    at = (job.separation, job.separation)
    prior = PaperMixturePrior(N_POINTS, N_FEATURES, N_COMPONENTS, separation=at)
    seed = SEED + round(10 * job.separation)
    batch = prior.sample(TaskStream(seed, job.index, range(job.n_tables)))
    X, y = batch.X.double().numpy(), batch.y.numpy()
    truth = batch.latent["means"].double().numpy()
    best = posterior(batch).argmax(dim=-1).numpy()
    ours = cluster_with_k(list(X), [N_COMPONENTS] * len(X), job.weights, job.index)
    rows: dict[str, list[int]] = {name: [] for name in METHODS}
    for i in range(len(X)):
        rng = np.random.default_rng([seed, job.index, i])
        found = _from_one_start(X[i], prior.sigma, job.weights, rng)
        found[FROM_TRUTH] = known_sigma_em(X[i], truth[i], prior.sigma)
        for name, labels in found.items():
            rows[name].append(n_errors(y[i], labels))
        mine = ours[i]
        rows[OURS].append(N_POINTS if mine is None else n_errors(y[i], mine))
        rows[ORACLE].append(int((best[i] != y[i]).sum()))
    return rows


def _from_one_start(
    X: Matrix, sigma: float, weights: str, rng: np.random.Generator
) -> dict[str, Labels]:
    """The network, EM and Lloyd from the same k-means++ seeds, drawn in standardised columns."""
    tables = robust_tables(X)
    draws = rng.random((1, N_COMPONENTS, n_trials(N_COMPONENTS)))
    K = np.array([N_COMPONENTS])
    seeds = kmeans_plus_plus(tables, K, draws)
    start = batched_lloyd(tables, seeds, is_component(K, N_COMPONENTS, seeds), 10)
    trace = EMNetwork(resolve_weights(weights).em)(tables, start, record="last")
    # the same seeds as rows of the table: the one that is nearest in standardised columns is it
    rows = [int(((tables.X[0] - seed) ** 2).sum(axis=1).argmin()) for seed in seeds[0]]
    return {
        SAME_START: trace.responsibilities[-1][0].argmax(axis=-1),
        EM: known_sigma_em(X, X[rows], sigma),
        LLOYD: lloyd(X, X[rows], 100)[-1][1],
    }


def known_sigma_em(X: Matrix, means: Float[np.ndarray, "c d"], sigma: float) -> Labels:
    """Labels of EM with Sigma_k = sigma^2 I, equal weights at the start, run to convergence."""
    weights = np.full(len(means), 1.0 / len(means))
    before: Float[np.ndarray, "n c"] = np.zeros((len(X), len(means)))
    for _ in range(MOST_STEPS // STEPS):
        mixture, after = isotropic_em(X, weights, means, sigma, STEPS)[-1]
        weights, means = mixture.weights, mixture.means
        moved = float(np.abs(after - before).max())
        before = after
        if moved < 1e-6:
            break
    labels: Labels = before.argmax(axis=1)
    return labels


def run(bench: Bench) -> None:
    """Measure all separations that the record does not hold yet."""
    sizes = bench.sizes
    for separation in SEPARATIONS:
        key = f"c: separation {separation:g}"
        if key in bench.record:
            continue
        wanted = sizes.paper_tables if separation in WITH_TARGET else sizes.paper_tables // 5
        per_job = min(50, wanted)
        n_jobs = -(-wanted // per_job)
        jobs = [Job(separation, i, per_job, bench.weights) for i in range(n_jobs)]
        rows: dict[str, list[int]] = {}
        for i, part in enumerate(bench.workers.run(measure, jobs)):
            for name, values in part.items():
                rows.setdefault(name, []).extend(values)
            bench.callback(Progress("c", f"separation {separation:g}", i + 1, n_jobs))
        about = {
            "part": "c",
            "separation": separation,
            "shape": (N_POINTS, N_FEATURES),
            "n_components": N_COMPONENTS,
            "seed": SEED + round(10 * separation),
        }
        bench.record.put(key, {**about, **summary(rows)})


def summary(rows: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """Share of misclustered points, and its ratio to EM from the true centres."""
    errors = {name: np.array(values, dtype=np.float64) for name, values in rows.items()}
    truth = errors[FROM_TRUTH]
    return {
        "n": len(truth),
        "n points": len(truth) * N_POINTS,
        "errors": {name: int(values.sum()) for name, values in errors.items()},
        "error rate": {
            name: mean_interval([values / N_POINTS]).as_dict() for name, values in errors.items()
        },
        "ratio to EM from the true centres": {
            name: ratio_interval([values], [truth]).as_dict()
            for name, values in errors.items()
            if name != FROM_TRUTH and truth.sum() > 0
        },
    }
