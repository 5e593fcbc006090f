"""T = ceil(2 kappa log(B_x B_w / 2 eps)) layers are within eps of ridge regression.

arXiv 2306.04637, Theorem 4 (step size 1 / (beta + penalty), |w_ridge| <= B_w / 2); the formula of T
is derived from the rate in its proof, |w_t - w|^2 <= exp(-t / kappa) |w|^2, under which the gap
halves at least once per 2 log 2 kappa = 1.39 kappa layers. Here B_w = 2 |w_ridge| and B_x the
longest row, the tightest values allowed. Gradient descent is known to be twice as quick as this
rate, log 2 kappa = 0.69 kappa layers, so "at least once" is what is tested.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd

from statformer.constructions.gradient_descent import (
    n_ridge_steps,
    ridge_radius,
    ridge_transformer,
)
from statformer.experiments._statistician import draw, spectrum
from statformer.experiments.base import Cell, Control, Experiment, Row, Verdict
from statformer.plotting.chart import Chart, Panel, Series
from statformer.reference.ridge import ridge
from statformer.tasks.linear_regression import LinearRegressionPrior

ERROR = 1e-6
HALVING = 2.0 * math.log(2.0)  # layers per kappa, at most
N_POINTS = 60  # of the curve that is kept


def measure(
    cell: Cell, rng: np.random.Generator, *, step_factor: float = 1.0, shuffled: bool = False
) -> Sequence[Row]:
    """Gap of the predictions at all tokens to closed-form ridge, along the layers.

    "halving": layers in which the gap halves, in units of kappa, over the last half of the path.
    """
    d, n, penalty = cell["d"], cell["n"], cell["penalty"]
    prompts = draw(LinearRegressionPrior(d, n, noise_stds=(0.5,)), 1, rng)
    X, y, query = prompts.X[0], prompts.y[0], prompts.query[0]
    alpha, beta = spectrum(X)
    exact, kappa = ridge(X, y, penalty), (beta + penalty) / (alpha + penalty)
    rows = np.vstack([X, query])
    size = 2.0 * np.linalg.norm(exact) * np.linalg.norm(rows, axis=1).max()
    depth = n_ridge_steps(kappa, float(size), ERROR)
    network = ridge_transformer(
        *(d, n),
        penalty=penalty,
        step_size=step_factor / (beta + penalty),
        n_steps=depth,
        radius=ridge_radius(X, y, query),
    )
    heard = rng.permutation(y) if shuffled else y
    weights = np.stack([w[0] for w in network.path(X[None], heard[None], query[None])])
    gaps = np.abs(np.einsum("ltd,td->lt", weights - exact, rows)).max(axis=1)
    end = int(np.searchsorted(-gaps, -1e-11)) if gaps[-1] < 1e-11 else depth  # before rounding
    start = end // 2
    halvings = math.log2(gaps[start] / gaps[min(end, depth)])
    halving = (min(end, depth) - start) / kappa / max(halvings, 1e-9)
    kept = np.unique(np.linspace(0, depth, N_POINTS).astype(int))
    return [
        {
            "layer_per_kappa": t / kappa,
            "gap": float(gaps[t]),
            "last_gap": float(gaps[-1]),
            "kappa": kappa,
            "layers": depth,
            "halving": halving,
        }
        for t in kept.tolist()
    ]


def holds(table: pd.DataFrame) -> Verdict:
    """The worst last gap is at most eps, and the slowest halving takes at most 2 log 2 kappa."""
    return Verdict.all_of(
        Verdict.below(
            float(table["last_gap"].max()),
            ERROR,
            threshold_source="derived",
            what="largest gap after T layers",
        ),
        Verdict.below(
            float(table["halving"].max()),
            HALVING,
            threshold_source="derived",
            what="layers per halving, in units of kappa, slowest",
        ),
    )


def figure(table: pd.DataFrame) -> Chart:
    """Gap over layers in units of kappa, one curve per penalty."""
    series = []
    for penalty, rows in table[table["seed"] == 0].groupby("penalty"):
        largest = (rows["d"] == rows["d"].max()) & (rows["n"] == rows["n"].max())
        curve = rows[largest].sort_values("layer_per_kappa")
        series.append(
            Series(
                f"penalty {penalty:g}",
                curve["layer_per_kappa"].to_list(),
                curve["gap"].clip(lower=1e-16).to_list(),
            )
        )
    panel = Panel(
        "Gap to ridge regression",
        "layers / kappa",
        "largest gap of a prediction",
        series,
        log_y=True,
        rule=ERROR,
        rule_label="eps",
    )
    return Chart([panel], "One table per penalty; the curves end at the stated depth.")


EXPERIMENT = Experiment(
    claim="T = ceil(2 kappa log(B_x B_w / 2 eps)) identical layers are within eps of ridge "
    "regression, and the gap halves at least once per 1.4 kappa layers.",
    paper="2306.04637",
    source="Theorem 4 and its proof, read in the paper's text; the formula of T is derived",
    kind="existence",
    grid={"d": (3, 10, 20), "n": (20, 40), "penalty": (0.01, 0.1, 1.0)},
    quick={"d": (3, 10), "n": (20, 40), "penalty": (0.03, 0.3)},
    tiny={"d": (3,), "n": (12,), "penalty": (0.3,)},
    n_seeds=10,
    quick_seeds=3,
    measure=measure,
    holds=holds,
    figure=figure,
    controls={
        "short steps": Control(
            measure=partial(measure, step_factor=0.2), says="a fifth of the step size"
        ),
        "labels": Control(
            measure=partial(measure, shuffled=True), says="the network hears shuffled labels"
        ),
    },
    cost="quick 1 s on one core",
)
