"""Rivals that read missing cells and categories as they are.

Axes: n points, d numeric columns, q columns of codes, h covariance types, s starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from statformer._extras import require
from statformer.batch import Tables
from statformer.benchmarks.batched_em import lloyd_starts
from statformer.benchmarks.classical import FAILURES
from statformer.benchmarks.sources import Table
from statformer.constructions.em_network import COVARIANCE_TYPES, stack_habits
from statformer.estimators.problems import n_parameters
from statformer.nn.em_network import EMNetwork, log_density
from statformer.nn.standardize import compress, robust_scale

N_STARTS = 10
MOST_ITERATIONS = 300
RIDGE = 1e-2
MOST_LOOPS = 100
TOLERANCE = 1e-3  # nats per row and iteration
_LOOPS = 5

Labels = Int[np.ndarray, " n"]

STEPMIX = "StepMix (10)"
MARGINALISING = ("EM marginalising, full (10)", "EM marginalising by BIC (4 x 10)")


def stepmix(table: Table, n_components: int, seed: int) -> Labels:
    """StepMix (Morin et al. 2025), 10 starts: independent columns given the class.

    Numbers are normal with a variance per class and column, codes categorical; a missing cell says
    nothing. Numbers are z-scores of what was observed.
    """
    models: dict[str, list[str]] = {}
    frame: dict[str, np.ndarray] = {}
    for j, x in enumerate(table.X.T):
        spread = np.nanstd(x)
        frame[f"x{j}"] = (x - np.nanmean(x)) / (spread if spread > 0 else 1.0)
        models.setdefault("continuous_nan", []).append(f"x{j}")
    if table.codes is not None:
        for j, code in enumerate(table.codes.T):
            frame[f"c{j}"] = np.where(code < 0, np.nan, code.astype(np.float64))
            models.setdefault("categorical_nan", []).append(f"c{j}")
    described = require("stepmix.utils", "bench").get_mixed_descriptor
    data, descriptor = described(pd.DataFrame(frame), **models)
    model = require("stepmix", "bench").StepMix(
        n_components=n_components,
        measurement=descriptor,
        n_init=N_STARTS,
        max_iter=MOST_ITERATIONS,
        random_state=seed,
        progress_bar=0,
    )
    labels: Labels = np.asarray(model.fit(data).predict(data), dtype=np.int64)
    return labels


def native_labels(table: Table, seed: int) -> dict[str, Labels | None]:
    """Labels by every rival that reads this table as it is; None where it raised.

    EM that marginalises reads numbers alone; it is run where cells are missing and nothing else.
    """
    found: dict[str, Labels | None] = {}
    try:
        found[STEPMIX] = stepmix(table, table.n_components, seed)
    except FAILURES:
        found[STEPMIX] = None
    if table.codes is None and np.isnan(table.X).any():
        try:
            found |= marginalising_em(table.X, table.n_components, np.random.default_rng(seed))
        except FAILURES:
            found |= dict.fromkeys(MARGINALISING)
    return found


def marginalising_em(
    X: Float[np.ndarray, "n d"], n_components: int, rng: np.random.Generator
) -> dict[str, Labels]:
    """Textbook EM in which a missing cell is integrated out (Ghahramani and Jordan 1994).

    Our layers with constructed weights: 10 starts (k-means++ and Lloyd on medians), ridge .01,
    full covariances alone, and the best of full, tied, diagonal and spherical by BIC. Columns are
    scaled by the median and interquartile range of what was observed.
    """
    n, d = X.shape
    observed = ~np.isnan(X)
    scaled = np.zeros((n, d))
    for j in range(d):
        seen = X[observed[:, j], j][None, :, None]
        centre, scale = robust_scale(seen, np.ones((1, seen.shape[1])))
        scaled[observed[:, j], j] = ((seen - centre[:, None]) / scale[:, None])[0, :, 0]
    # 0 is the median, so the plain table for the starts and the padded one are the same
    weight = np.ones((1, n))
    X0 = compress(scaled[None])
    start = lloyd_starts(Tables(X0, weight), n_components, rng, N_STARTS)
    tables = Tables(X0, weight, observed=observed[None])
    habits = [(kind, RIDGE) for kind in COVARIANCE_TYPES]
    likelihood, labels = _run_to_convergence(tables, start, habits)
    cost = [np.log(n) * n_parameters(kind, n_components, d) for kind, _ in habits]
    bic = np.array(cost)[:, None] - 2.0 * n * likelihood  # h s
    full = COVARIANCE_TYPES.index("full")
    h, s = np.unravel_index(bic.argmin(), bic.shape)
    return dict(zip(MARGINALISING, (labels[full, bic[full].argmin()], labels[h, s]), strict=True))


def _run_to_convergence(
    tables: Tables, start: Float[np.ndarray, "s n c"], habits: Sequence[tuple[str, float]]
) -> tuple[Float[np.ndarray, "h s"], Int[np.ndarray, "h s n"]]:
    """Mean log density of the observed cells, and labels, of every run.

    After the first iterations a run goes on from its centres: missing cells are expected under
    those, which responsibilities alone do not hold.
    """
    n_starts, n, _ = start.shape
    weights = stack_habits(habits, n_starts, 1).weights
    runs = len(habits) * n_starts
    density, labels = np.full(runs, -np.inf), np.zeros((runs, n), dtype=np.int64)
    going = np.ones(runs, dtype=bool)
    at: Any = np.concatenate([start] * len(habits))
    for _ in range(MOST_LOOPS // _LOOPS):
        network = EMNetwork({k: v[:, going] for k, v in weights.items()}, n_loops=_LOOPS)
        trace = network(tables, at, record="last")
        labels[going] = trace.responsibilities[-1].argmax(axis=-1)
        now = log_density(tables, trace.centres[-1]).mean(axis=-1)
        moved = np.abs(now - density[going]) >= TOLERANCE * _LOOPS
        density[going] = now
        at = trace.centres[-1][moved]
        going[going] = moved
        if not going.any():
            break
    shape = (len(habits), n_starts)
    return density.reshape(shape), labels.reshape(*shape, n)
