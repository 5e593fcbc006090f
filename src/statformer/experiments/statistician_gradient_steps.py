"""A ReLU attention layer of three heads is one gradient step of ridge regression, on every token.

arXiv 2306.04637, Proposition C.2 and Theorem 4; the weights are those of
`constructions/gradient_descent.py`, derived after the text. Ours: sizes and the threshold, which is
float64 rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd

from statformer.constructions.gradient_descent import ridge_radius, ridge_transformer
from statformer.experiments._statistician import draw, spectrum
from statformer.experiments.base import Cell, Control, Experiment, Row, Verdict
from statformer.plotting.chart import Chart, Panel, Series
from statformer.reference.gradient_descent import ridge_path
from statformer.tasks.linear_regression import LinearRegressionPrior

N_STEPS = 40
ROUNDING = 1e-12


def measure(
    cell: Cell,
    rng: np.random.Generator,
    *,
    step_error: float = 0.0,
    radius_factor: float = 1.0,
    shuffled: bool = False,
) -> Sequence[Row]:
    """Largest gap of any token's weights to gradient descent after every step, and of <w, x>."""
    d, n, penalty = cell["d"], cell["n"], cell["penalty"]
    prompts = draw(LinearRegressionPrior(d, n, noise_stds=(0.5,)), 1, rng)
    X, y, query = prompts.X[0], prompts.y[0], prompts.query[0]
    step_size = 1.0 / (spectrum(X)[1] + penalty)
    network = ridge_transformer(
        *(d, n),
        penalty=penalty,
        step_size=step_size * (1.0 + step_error),
        n_steps=N_STEPS,
        radius=radius_factor * ridge_radius(X, y, query),
    )
    heard = (X[None], (rng.permutation(y) if shuffled else y)[None], query[None])
    reference = ridge_path(X, y, step_size, penalty, N_STEPS)
    gaps = [
        float(np.abs(w[0] - v).max()) for w, v in zip(network.path(*heard), reference, strict=True)
    ]
    read = float(np.abs(network(*heard)[0] - query @ reference[-1]).max())
    return [{"step": t, "gap": gap, "read_out_gap": read} for t, gap in enumerate(gaps)]


def holds(table: pd.DataFrame) -> Verdict:
    """Both gaps are rounding in the worst table."""
    return Verdict.all_of(
        Verdict.below(
            float(table["gap"].max()),
            ROUNDING,
            threshold_source="ours",
            what="largest gap of the weights",
        ),
        Verdict.below(
            float(table["read_out_gap"].max()),
            ROUNDING,
            threshold_source="ours",
            what="largest gap of <w, x>",
        ),
    )


def figure(table: pd.DataFrame) -> Chart:
    """Worst gap over steps, by number of features."""
    series = []
    for d, rows in table.groupby("d"):
        worst = rows[rows["step"] > 0].groupby("step")["gap"].max()
        series.append(Series(f"d = {d}", list(worst.index), worst.clip(lower=1e-18).to_list()))
    panel = Panel(
        "Layers against gradient descent",
        "layers",
        "largest gap of any weight",
        series,
        log_y=True,
        rule=ROUNDING,
        rule_label="rounding",
    )
    return Chart([panel], "Worst over tables, tokens, penalties and numbers of points.")


EXPERIMENT = Experiment(
    claim="A stack of identical ReLU attention layers with three heads is ridge gradient descent "
    "on every token, and two heads read <w, x> off it.",
    paper="2306.04637",
    source="Proposition C.2 and Theorem 4, read in the paper's text; its displayed matrices were "
    "not available, those used are derived",
    kind="existence",
    grid={"d": (1, 4, 16, 40), "n": (8, 40, 120), "penalty": (0.0, 0.1, 1.0)},
    quick={"d": (1, 4, 16), "n": (8, 40), "penalty": (0.0, 0.1)},
    tiny={"d": (3,), "n": (8,), "penalty": (0.0, 0.1)},
    n_seeds=10,
    quick_seeds=5,
    measure=measure,
    holds=holds,
    figure=figure,
    controls={
        "step size": Control(
            measure=partial(measure, step_error=1e-6),
            says="the step size is off by one part in a million",
        ),
        "mask": Control(
            measure=partial(measure, radius_factor=1e-3),
            says="the mask is too weak to keep the query out",
        ),
        "labels": Control(
            measure=partial(measure, shuffled=True), says="the network hears shuffled labels"
        ),
    },
    cost="quick 1 s on one core",
)
