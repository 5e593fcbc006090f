"""An error of eps in every layer's gradient moves the weights by at most t step_size eps.

arXiv 2306.04637, Lemma 14: for convex losses and step sizes up to 2 / L_f inexact steps add up at
most linearly. Two errors are tried: a vector of length eps that one more head writes in every layer
(where nothing pulls it back, in the null space of the data, or in a random direction), and the
broken line that stands for the sigmoid in logistic regression. Sizes are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
from jaxtyping import Float

from statformer.constructions.gradient_descent import (
    DescentTransformer,
    logistic_transformer,
    ridge_radius,
    ridge_transformer,
    sigmoid_error,
)
from statformer.experiments._statistician import draw, spectrum
from statformer.experiments.base import Cell, Control, Experiment, Row, Verdict
from statformer.plotting.chart import Chart, Panel, Series
from statformer.reference.gradient_descent import logistic_path, ridge_path
from statformer.tasks.linear_regression import LinearRegressionPrior

D, N, N_STEPS = 8, 6, 100  # fewer points than features: two directions are never pulled back
EPS = 1e-3
N_UNITS, BOUND = 24, 12.0  # of the broken line
SLACK = 1e-9  # of a ratio of 1, for rounding
LEAST = 1e-2  # shown; the first layer of the broken sigmoid is exact, as 0 is one of its knots


def measure(cell: Cell, rng: np.random.Generator, *, step_factor: float = 1.0) -> Sequence[Row]:
    """|w_t - gradient descent| after t layers, and its ratio to t step_size eps."""
    prompts = draw(LinearRegressionPrior(D, N, noise_stds=(0.5,)), 1, rng)
    X, y, query = prompts.X[0], prompts.y[0], prompts.query[0]
    beta = spectrum(X)[1]
    longest = float(np.linalg.norm(X, axis=1).mean())
    if cell["error"] == "broken sigmoid":
        y = (y > 0).astype(np.float64)
        step_size = step_factor * float(cell["step"]) * 2.0 / (beta / 4.0)
        network = logistic_transformer(
            *(D, N),
            penalty=0.0,
            step_size=step_size,
            n_steps=N_STEPS,
            radius=BOUND,
            n_units=N_UNITS,
        )
        eps = sigmoid_error(BOUND, N_UNITS) * longest
        reference = logistic_path(X, y, step_size, 0.0, N_STEPS)
    else:
        eps = EPS
        step_size = step_factor * float(cell["step"]) * 2.0 / beta
        network = ridge_transformer(
            *(D, N),
            penalty=0.0,
            step_size=step_size,
            n_steps=N_STEPS,
            radius=10.0 * ridge_radius(X, y, query),
        )
        _inject(network, step_size * eps * _direction(X, cell["error"], rng))
        reference = ridge_path(X, y, step_size, 0.0, N_STEPS)
    path = network.path(X[None], y[None], query[None])
    rows = []
    for t in range(1, N_STEPS + 1):
        off = float(np.linalg.norm(path[t][0, -1] - reference[t]))
        rows.append({"layer": t, "off": off, "ratio": off / (t * step_size * eps)})
    return rows


def _direction(X: Float[np.ndarray, "n d"], kind: str, rng: np.random.Generator) -> np.ndarray:
    """A unit vector: random, or orthogonal to all rows of X."""
    v = rng.standard_normal((X.shape[1],))
    if kind == "null space":
        v = np.asarray(v - np.linalg.pinv(X) @ (X @ v))
    return np.asarray(v / np.linalg.norm(v))


def _inject(network: DescentTransformer, vector: Float[np.ndarray, " d"]) -> None:
    """One more head in every gradient layer: all tokens' weights move by `vector`."""
    layout, layers = network.layout, network.transformer.layers
    score = layout.matrix({("one", "one"): 1.0})
    value = np.zeros_like(score)
    value[layout["one"], layout["w 0"]] = vector
    step = layers[0]
    heads = {
        name: np.concatenate([getattr(step, name), extra[None]])
        for name, extra in (("W_QK", score), ("W_OV", value))
    }
    layers[:-1] = [replace(step, **heads)] * (len(layers) - 1)


def holds(table: pd.DataFrame) -> Verdict:
    """The worst ratio to the linear bound is at most 1."""
    return Verdict.below(
        float(table["ratio"].max()),
        1.0 + SLACK,
        threshold_source="paper",
        what="largest |w_t - descent| / (t step_size eps)",
    )


def figure(table: pd.DataFrame) -> Chart:
    """Distance to descent in units of step_size eps over layers; the bound is the diagonal."""
    series = []
    for error, rows in table.groupby("error"):
        by_layer = (rows["ratio"] * rows["layer"]).groupby(rows["layer"])
        worst, best = by_layer.max().clip(lower=LEAST), by_layer.min().clip(lower=LEAST)
        layers = list(worst.index)
        series.append(Series(str(error), layers, worst.to_list(), best.to_list(), worst.to_list()))
    layers = sorted(table["layer"].unique())
    series.append(Series("bound: t", layers, layers, style="dashed"))
    panel = Panel(
        "How errors add up",
        "layers t",
        "distance / (step_size eps)",
        series,
        log_x=True,
        log_y=True,
    )
    return Chart([panel], "Worst table and step size; bands reach down to the best.")


EXPERIMENT = Experiment(
    claim="An error of eps in the gradient of every layer moves the weights by at most t step_size "
    "eps after t layers, for convex losses and step sizes up to 2 / L_f.",
    paper="2306.04637",
    source="Lemma 14, read in the paper's text; item 3 of what a reproduction must show",
    kind="existence",
    grid={"error": ("null space", "random", "broken sigmoid"), "step": (0.25, 0.5, 1.0)},
    quick={"error": ("null space", "random", "broken sigmoid"), "step": (0.25, 0.5, 1.0)},
    tiny={"error": ("null space", "random"), "step": (0.5,)},
    n_seeds=20,
    quick_seeds=5,
    measure=measure,
    holds=holds,
    figure=figure,
    controls={
        "long steps": Control(
            measure=partial(measure, step_factor=2.2),
            says="steps 10 % longer than 2 / L_f, where descent is no longer a contraction",
        ),
    },
    cost="quick 1 s on one core",
)
