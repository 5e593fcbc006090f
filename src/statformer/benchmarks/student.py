"""Student-t mixtures by our own batched EM: the layers at rho = 1, nothing learned.

A rival for heavy tails. Score of a component: log pi_k + log t_nu(x; mu_k, Sigma_k); robustness
weights (nu + d) / (nu + m), the scatter divided by their sum (the parameter-expanded form, Kent,
Tyler and Vardi 1994, which converges faster to the same point).

Axes: h habits (covariance type, nu), s starts, B = h s runs, n points, p features, c components.
"""

from __future__ import annotations

import math
from itertools import product

import numpy as np
from jaxtyping import Float, Int
from scipy.special import gammaln, logsumexp

from statformer.batch import Centres, Tables
from statformer.benchmarks.batched_em import lloyd_starts, robust_tables
from statformer.constructions.em_network import COVARIANCE_TYPES, em_weights
from statformer.estimators.problems import n_parameters
from statformer.nn.em_network import EMNetwork

DEGREES = (3.0, 8.0)
RIDGE = 1e-4
N_STARTS = 5
MOST_LOOPS = 60
TOLERANCE = 1e-3
_LOOPS = 6

Labels = Int[np.ndarray, " n"]


def student_mixture(
    X: Float[np.ndarray, "n p"], n_components: int, rng: np.random.Generator
) -> Labels:
    """Labels of the start, covariance type and nu (3 or 8) with the lowest BIC; robust scaling."""
    tables = robust_tables(X)
    n, p = X.shape
    start = lloyd_starts(tables, n_components, rng, N_STARTS)
    habits = list(product(COVARIANCE_TYPES, DEGREES))
    weights = _weights(habits, N_STARTS)
    nu = np.repeat([degrees for _, degrees in habits], N_STARTS)
    responsibilities = np.concatenate([start] * len(habits))
    density = np.full(len(responsibilities), -np.inf)
    going = np.ones(len(responsibilities), dtype=bool)
    for _ in range(MOST_LOOPS // _LOOPS):
        network = EMNetwork({k: v[:, going] for k, v in weights.items()}, n_loops=_LOOPS)
        trace = network(tables, responsibilities[going], record="last")
        responsibilities[going] = trace.responsibilities[-1]
        now = student_density(tables, trace.centres[-1], nu[going]).mean(axis=-1)
        moved = np.abs(now - density[going])
        density[going] = now
        going[going] = moved >= TOLERANCE * _LOOPS
        if not going.any():
            break
    cost = [np.log(n) * n_parameters(kind, n_components, p) for kind, _ in habits]
    bic = np.repeat(cost, N_STARTS) - 2.0 * n * density
    labels: Labels = responsibilities[int(bic.argmin())].argmax(axis=-1)
    return labels


def student_density(
    tables: Tables, centres: Centres, nu: Float[np.ndarray, " B"]
) -> Float[np.ndarray, "B n"]:
    """log sum_k pi_k t_nu(x; mu_k, Sigma_k) of every row under every run."""
    X = tables.X[0]
    p = X.shape[1]
    factor = np.linalg.cholesky(centres.covariances)  # B c p p
    inverse = np.linalg.inv(factor)
    z = np.einsum("bcij,nj->bcin", inverse, X)
    z = z - (inverse @ centres.means[..., None])
    maha = (z**2).sum(axis=2)  # B c n
    half_log_det = np.log(np.diagonal(factor, axis1=-2, axis2=-1)).sum(axis=-1)
    constant = gammaln((nu + p) / 2.0) - gammaln(nu / 2.0) - 0.5 * p * np.log(nu * math.pi)
    log_pi = np.log(np.maximum(centres.weights, 1e-300))
    score = (constant[:, None] + log_pi - half_log_det)[..., None]
    score = score - 0.5 * (nu + p)[:, None, None] * np.log1p(maha / nu[:, None, None])
    score = np.where(centres.is_component[..., None], score, -np.inf)
    found: Float[np.ndarray, "B n"] = logsumexp(score, axis=1)
    return found


def _weights(habits: list[tuple[str, float]], n_starts: int) -> dict[str, np.ndarray]:
    """One looped layer per run: plain EM's covariance target, rho = 1 and this nu."""
    rows = []
    for kind, nu in habits:
        row = em_weights(kind, RIDGE)
        row["b_tail"] = np.array([[60.0, math.log(nu - 1.0)]])  # rho = 1 in float64
        rows.append(row)
    found = {}
    for name in rows[0]:
        per_run = np.repeat(np.stack([row[name][0] for row in rows]), n_starts, axis=0)[None]
        found[name] = per_run if name == "log_ridge" else per_run[:, :, None, :]
    return found
