"""(a) The construction: gap to LAPACK by depth and eigengap, beside rivals with as many products.

X has the squared singular values g^0, g^1, ..., so every component has the eigengap 1 - g. The gap
of an answer is the largest sine between one of its k vectors and LAPACK's.

Axes: b tables, n points, d features, k components.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from statformer.benchmarks.settings import Progress
from statformer.benchmarks.spectral_rivals import (
    Counted,
    random_projections_within,
    svds_within,
)
from statformer.benchmarks.spectral_settings import Bench
from statformer.reference.power_iteration import (
    Eigenpairs,
    covariance,
    exact_eigenpairs,
    power_iteration,
)

N_POINTS, N_FEATURES, N_COMPONENTS = 60, 24, 3
RATIOS = (0.5, 0.8, 0.95)
SEED = 500_500

RELU, LINEAR = "construction, ReLU", "construction, linear"
POWER, SVDS, RANDOMIZED = "power method", "svds (ARPACK)", "randomized SVD"
CONSTRUCTIONS = (RELU, LINEAR)
METHODS = (RELU, LINEAR, POWER, SVDS, RANDOMIZED)
PER_BATCH = 5

Matrix = Float[np.ndarray, "n d"]
Starts = Float[np.ndarray, "k d"]


@dataclass(frozen=True)
class Job:
    """Some tables of one eigengap, at one number of steps per component."""

    ratio: float
    n_steps: int
    indices: range


def table(ratio: float, index: int) -> tuple[Matrix, Starts]:
    """X of squared singular values ratio^j with random singular vectors, and k normal starts."""
    rng = np.random.default_rng([SEED, round(1000 * ratio), index])
    U = np.linalg.qr(rng.standard_normal((N_POINTS, N_FEATURES)))[0]
    V = np.linalg.qr(rng.standard_normal((N_FEATURES, N_FEATURES)))[0]
    X = (U * ratio ** (0.5 * np.arange(N_FEATURES))) @ V.T
    return X, rng.standard_normal((N_COMPONENTS, N_FEATURES))


def gap(found: Eigenpairs, exact: Eigenpairs) -> float:
    """max_j sin of the angle between v_j and its twin, which loses no digits where it is small."""
    sign = np.where((found.vectors * exact.vectors).sum(axis=1) < 0, -1.0, 1.0)
    half = np.linalg.norm(found.vectors * sign[:, None] - exact.vectors, axis=1) / 2.0
    return float((2.0 * half * np.sqrt(np.maximum(1.0 - half**2, 0.0))).max())


def measure(job: Job) -> dict[str, list[float]]:
    """Gap and largest relative error of an eigenvalue, per table and method."""
    import torch

    from statformer.constructions.power_iteration import power_transformer

    tables = [table(job.ratio, i) for i in job.indices]
    X = torch.from_numpy(np.stack([one for one, _ in tables]))
    starts = torch.from_numpy(np.stack([start for _, start in tables]))
    rows: dict[str, list[float]] = {}
    built: dict[str, list[Eigenpairs]] = {}
    for name, phi in ((RELU, "relu"), (LINEAR, "linear")):
        network = power_transformer(N_FEATURES, N_COMPONENTS, job.n_steps, phi=phi)
        values, vectors = (part.detach().numpy() for part in network(X, starts))
        built[name] = [Eigenpairs(*pair) for pair in zip(values, vectors, strict=True)]
    budget = float(N_COMPONENTS * job.n_steps)
    for i, (one, start) in enumerate(tables):
        S = covariance(one, centre=False)
        exact = exact_eigenpairs(S, N_COMPONENTS)
        power = power_iteration(S, start, job.n_steps)
        found: dict[str, Eigenpairs | None] = {name: pairs[i] for name, pairs in built.items()}
        found[POWER] = power
        seed = job.indices[i]
        found[SVDS] = _best(svds_within(one, N_COMPONENTS, seed, budget), exact)
        rivals = random_projections_within(one, N_COMPONENTS, seed, budget)
        found[RANDOMIZED] = _best(rivals, exact)
        for name, pairs in found.items():
            rows.setdefault(f"{name}: gap", []).append(1.0 if pairs is None else gap(pairs, exact))
            error = 1.0 if pairs is None else np.abs(pairs.values / exact.values - 1.0).max()
            rows.setdefault(f"{name}: values", []).append(float(error))
        for name in CONSTRUCTIONS:
            apart = gap(built[name][i], power)
            rows.setdefault(f"{name}: to the power method", []).append(apart)
    return rows


def _best(answers: Iterable[Counted], exact: Eigenpairs) -> Eigenpairs | None:
    """The closest answer of a rival whose settings were tried; None where none fits the budget."""
    pairs = [answer.pairs for answer in answers]
    return min(pairs, key=lambda found: gap(found, exact)) if pairs else None


def run(bench: Bench) -> None:
    """Measure every eigengap and depth that the record does not hold yet."""
    from statformer.constructions.power_iteration import power_transformer

    for ratio in RATIOS:
        for n_steps in bench.sizes.depths:
            name = f"ratio {ratio:g}, {n_steps} steps"
            if f"a: {name}" in bench.record:
                continue
            n = bench.sizes.constructed
            blocks = [range(i, min(i + PER_BATCH, n)) for i in range(0, n, PER_BATCH)]
            jobs = [Job(ratio, n_steps, block) for block in blocks]
            rows: dict[str, list[float]] = {}
            for i, answer in enumerate(bench.workers.run(measure, jobs)):
                for key, values in answer.items():
                    rows.setdefault(key, []).extend(values)
                bench.callback(Progress("a", name, i + 1, len(jobs)))
            network = power_transformer(N_FEATURES, N_COMPONENTS, n_steps)
            about = {
                "part": "a",
                "ratio": ratio,
                "steps": n_steps,
                "depth": network.depth,
                "theorem depth": network.theorem_depth,
                "heads": network.n_heads,
                "products": N_COMPONENTS * n_steps,
                "shape": (N_POINTS, N_FEATURES),
                "n_components": N_COMPONENTS,
            }
            bench.record.put(f"a: {name}", {**about, **summary(rows)})


def summary(rows: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Medians and largest values of the gaps and of the errors of eigenvalues."""
    columns = {name: np.array(values) for name, values in rows.items()}
    return {
        "n": len(columns[f"{POWER}: gap"]),
        "median gap": {m: float(np.median(columns[f"{m}: gap"])) for m in METHODS},
        "largest gap": {m: float(columns[f"{m}: gap"].max()) for m in METHODS},
        "median error of values": {m: float(np.median(columns[f"{m}: values"])) for m in METHODS},
        "largest gap to the power method": {
            m: float(columns[f"{m}: to the power method"].max()) for m in CONSTRUCTIONS
        },
    }
