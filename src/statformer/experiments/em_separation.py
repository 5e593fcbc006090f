"""Trained from noise, the error follows EM's over the separation (arXiv 2502.06007).

The paper states that a pretrained Transformer with an initialisation reaches the minimax rate
[abstract]; its formula was not found, exp(-(1 + o(1)) Delta^2 / (8 sigma^2)) is the usual one. The
trained network, EM with known sigma, Lloyd and the Bayes-optimal rule read the same tables, the
first three from the same k-means++ start. The line of log error over Delta^2 / (8 sigma^2) is
compared with the oracle's over the same separations, for at finite Delta the oracle's slope is not
-1 either. Thresholds are ours. The abscissa of an exponential rate is no logarithm, so the decades
that are stated are those of the error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd

from statformer.experiments._em_networks import (
    NOT_THE_AUTHORS,
    held_out,
    network_error,
    rival_errors,
    small_recipe,
    train,
)
from statformer.experiments._seeds import over_seeds, seed_curve
from statformer.experiments.base import Cell, Control, Experiment, Row, Verdict
from statformer.plotting.chart import Chart, Panel, Series
from statformer.runs.fits import Fit, fit_line

SEPARATIONS = (1.0, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0)
COMPARED = (2.0, 2.5, 3.0, 4.0, 5.0)  # where the error is compared with the better of EM and Lloyd
FITTED = (2.5, 3.0, 4.0, 5.0, 6.0)
MOST_RATIO, LEAST_SLOPE = 1.25, 0.8
METHODS = ("network", "EM", "Lloyd", "oracle")


def measure(
    cell: Cell, rng: np.random.Generator, n_steps: int | None = None, is_em: bool = False
) -> Sequence[Row]:
    """Misclustered share of each method at each separation; with `is_em` the network is EM."""
    recipe = small_recipe(n_components=cell["k"], width=cell["width"])
    steps = cell["n_steps"] if n_steps is None else n_steps
    network = train(recipe, steps, rng)
    rows = []
    for separation in SEPARATIONS:
        prior = replace(recipe.prior, separation=(separation, separation))
        n_tables = cell["n_tables"] * (4 if separation >= 5.0 else 1)
        batch = held_out(replace(recipe, prior=prior), n_tables)
        found = {"network": network_error(network, batch), **rival_errors(batch)}
        if is_em:
            found["network"] = found["EM"]
        errors = {name: float(values.mean()) for name, values in found.items()}
        rows.append({"separation": separation, **errors})
    return rows


def holds(table: pd.DataFrame) -> Verdict:
    """The error is near the better of EM and Lloyd; the line is as steep as the oracle's."""
    near = table[table["separation"].isin(COMPARED)]
    ratio = near["network"] / near[["EM", "Lloyd"]].min(axis=1)
    by_place = near.assign(ratio=ratio).groupby(["k", "separation"])
    ratios = {place: over_seeds(rows["ratio"]) for place, rows in by_place}
    worst = max(ratios, key=lambda place: ratios[place].value)
    verdicts = [
        Verdict.below(
            ratios[worst].value,
            MOST_RATIO,
            threshold_source="ours",
            interval=ratios[worst].interval,
            what=f"error / better of EM and Lloyd, worst at k={worst[0]} Delta={worst[1]:g}:",
        )
    ]
    for k, rows in table.groupby("k"):
        mine, best = line(rows, "network"), line(rows, "oracle")
        verdicts.append(
            Verdict.above(
                mine.slope / best.slope,
                LEAST_SLOPE,
                threshold_source="ours",
                interval=(mine.high / best.slope, mine.low / best.slope),
                what=f"slope {mine.slope:.3f} / oracle's {best.slope:.3f} (k={k}, "
                f"{decades(rows):.1f} decades of error):",
            )
        )
    return Verdict.all_of(*verdicts)


def line(table: pd.DataFrame, method: str) -> Fit:
    """log error over Delta^2 / 8; the interval is over seeds. Seeds without an error are left out.

    Slopes are e-folds of the error per unit of Delta^2 / (8 sigma^2).
    """
    rows = table[table["separation"].isin(FITTED) & (table[method] > 0)]
    x = rows["separation"].to_numpy() ** 2 / 8.0
    y = np.log(rows[method].to_numpy())
    return fit_line(x, y, np.random.default_rng(0), rows["seed"].to_numpy())


def decades(table: pd.DataFrame) -> float:
    """Decades of the network's error between the ends of the fit."""
    mean = table.groupby("separation")["network"].mean()
    return float(np.log10(mean[min(FITTED)] / max(mean[max(FITTED)], 1e-12)))


def figure(table: pd.DataFrame) -> Chart:
    """log error over Delta^2 / 8 sigma^2, one panel per k."""
    panels = []
    for k, rows in table.groupby("k"):
        series = []
        for method in METHODS:
            curve = seed_curve(rows[rows[method] > 0], "separation", method)
            x, y = list(curve["x"] ** 2 / 8.0), list(curve["value"])
            if method == "network":
                low, high = list(curve["low"].clip(lower=1e-5)), list(curve["high"])
                series.append(Series(method, x, y, low, high))
            else:
                series.append(Series(method, x, y, style="dashed"))
        panels.append(
            Panel(f"k = {k}", "Delta^2 / (8 sigma^2)", "misclustered share", series, log_y=True)
        )
    return Chart(panels, "Same tables and same k-means++ start; band over training seeds.")


EXPERIMENT = Experiment(
    claim="A Transformer trained from noise clusters at EM's error, and at its rate.",
    paper="2502.06007",
    source="abstract: the minimax rate with an initialisation; the rate's formula is the usual one",
    kind="learnability",
    grid={"k": (2, 3), "width": (32,), "n_steps": (10000,), "n_tables": (4000,)},
    quick={"k": (2,), "width": (16,), "n_steps": (1500,), "n_tables": (500,)},
    tiny={"k": (2,), "width": (8,), "n_steps": (5,), "n_tables": (30,)},
    n_seeds=5,
    quick_seeds=3,
    measure=measure,
    holds=holds,
    figure=figure,
    cost="quick 112 s of one core of a busy machine",
    not_the_authors=NOT_THE_AUTHORS,
    control_size="quick",
    positive=Control(
        measure=partial(measure, n_steps=1, is_em=True), says="EM in the network's place"
    ),
    controls={"untrained": Control(measure=partial(measure, n_steps=1), says="one training step")},
    timeout_minutes=60,
)
