"""Early on a classifier's features grow exponentially, and a denoiser's linearly in high dimension.

arXiv 2412.01021: the largest |<w_r, mu>| and |<w_r, xi_i>| of a denoiser grow linearly at first,
those of a classifier exponentially (theorems for high dimension, seen through reviews). A curve is
followed until it is ten times its start, and a straight line is fitted to it and to its logarithm;
the two R^2 are compared. That test is ours, from our reading of the paper.

How high the dimension must be is not found. Derived: the denoiser's rate is a multiple of
norm(w_r)^2, at first sigma0^2 d. When <w_r, mu> is ten times its start, that is some 25 sigma0
norm(mu), the filter is longer by (25 sigma0)^2 (1 + 4 / (n SNR^2)) in square, of which the second
part is noise. At d = 1000 this is several times sigma0^2 d and no line is to be expected, and a
scratch run on other seeds had shown none; so d is an axis, and the largest d decides.

Also ours: filters of length 3e-3 at the start, so that no output is felt before the end, and step
sizes. A classifier's faster product grows by 2 % in a step; a denoiser takes some
hundreds of steps. For a classifier the product is that with what it learns: noise at the weaker
signal, signal at the stronger.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import torch

from statformer.experiments._diffusion import (
    M,
    N,
    drawn_seed,
    largest_product,
    synthetic_runs,
)
from statformer.experiments._feature_tracks import growth
from statformer.experiments._seeds import over_seeds
from statformer.experiments.base import Cell, Control, Experiment, Row, Verdict
from statformer.nn.vision import PatchClassifier, TiedDenoiser
from statformer.optim.descent import descend
from statformer.plotting.chart import Chart, Panel, Series

STRENGTHS = (0.75, 6.75)
LENGTH = 3e-3  # of a filter at the start
FACTOR = 10.0
N_TIMES = 25
LEARNED = {  # what is followed: of a classifier what it learns, of a denoiser the signal
    ("classification", 0.75): "noise",
    ("classification", 6.75): "signal",
    ("diffusion", 0.75): "signal",
    ("diffusion", 6.75): "signal",
}


def measure(cell: Cell, rng: np.random.Generator, *, swapped: bool = False) -> Sequence[Row]:
    """R^2 of both fits to each curve until it is ten times its start, and points of the curve."""
    d = cell["d"]
    sigma0 = LENGTH * d**-0.5
    runs = synthetic_runs(STRENGTHS, drawn_seed(rng), d=d, sigma0=sigma0)
    rows: list[Row] = []
    trained: TiedDenoiser | PatchClassifier
    for network in ("classification", "diffusion"):
        denoises = (network == "diffusion") != swapped
        if denoises:
            trained, gradient = runs.denoiser()
            sizes = 0.4 / (sigma0 * d * runs.lengths)
        else:
            trained, gradient = runs.classifier()
            fastest = torch.clamp(runs.lengths.square() / (2 * M), min=d / (N * M))
            sizes = 0.02 / fastest
        kinds = [LEARNED[network, n_snr2] for n_snr2 in STRENGTHS]
        curves: list[torch.Tensor] = []

        def watch(
            _t: int,
            trained: TiedDenoiser | PatchClassifier = trained,
            kinds: list[str] = kinds,
            curves: list[torch.Tensor] = curves,
        ) -> torch.Tensor:
            W = trained.get_parameter("W")
            both = {
                "signal": largest_product(W, runs.signal),
                "noise": largest_product(W, runs.noise),
            }
            curves.append(torch.stack([both[kind][i] for i, kind in enumerate(kinds)]))
            return curves[-1] > FACTOR * curves[0]

        descend(trained, gradient, {"W": sizes}, cell["n_steps"], watch=watch)
        for i, n_snr2 in enumerate(STRENGTHS):
            values = torch.stack(curves)[:, i].numpy()
            rows.extend({"network": network, "n_snr2": n_snr2, **row} for row in _points(values))
    return rows


def _points(values: np.ndarray) -> list[Row]:
    """Some points of a curve until it is ten times its start, each with R^2 of both fits."""
    steps = np.arange(float(len(values)))
    fits = growth(steps, values, FACTOR)
    above = np.flatnonzero(values > FACTOR * values[0])
    end = int(above[0]) if len(above) else len(values) - 1
    chosen = sorted(set(np.linspace(0, end, N_TIMES).astype(int).tolist()))
    return [
        {
            "linear": fits.linear,
            "exponential": fits.exponential,
            "reached": float(values[end] / values[0]),
            "part": t / end,
            "value": float(values[t] / values[0]),
        }
        for t in chosen
    ]


def advantages(table: pd.DataFrame) -> pd.DataFrame:
    """A line per (network, n_snr2, d, seed): both R^2, and by how much the linear one is larger."""
    keys = ["network", "n_snr2", "d", "seed"]
    first = table.groupby(keys)[["linear", "exponential", "reached"]].first().reset_index()
    return first.assign(advantage=first["linear"] - first["exponential"])


def holds(table: pd.DataFrame) -> Verdict:
    """At the largest d; what the denoiser does at smaller ones is told beside it."""
    fits = advantages(table)
    largest = fits["d"].max()
    verdicts = []
    for (network, n_snr2), rows in fits[fits["d"] == largest].groupby(["network", "n_snr2"]):
        denoises = network == "diffusion"
        found = over_seeds(rows["advantage"] if denoises else -rows["advantage"])
        name = "linear less exponential" if denoises else "exponential less linear"
        what = f"R² of {network}, {name}, n SNR² = {n_snr2}, d = {largest}"
        verdicts.append(
            Verdict.above(
                found.value, 0.0, threshold_source="ours", interval=found.interval, what=what
            )
        )
        reached = float(rows["reached"].min())
        what = f"growth of {network} at n SNR² = {n_snr2}"
        verdicts.append(Verdict.above(reached, FACTOR, threshold_source="ours", what=what))
        if not denoises:
            straight = over_seeds(rows["exponential"])
            verdicts.append(
                Verdict.above(
                    straight.value,
                    0.98,
                    threshold_source="ours",
                    interval=straight.interval,
                    what=f"R² of {network}, exponential",
                )
            )
    verdict = Verdict.all_of(*verdicts)
    smaller = fits[(fits["network"] == "diffusion") & (fits["d"] < largest)]
    told = [
        f"{over_seeds(rows['advantage']).value:.3f} at d = {d}, n SNR² = {n_snr2}"
        for (d, n_snr2), rows in smaller.groupby(["d", "n_snr2"])
    ]
    if not told:
        return verdict
    return replace(
        verdict,
        measured=f"{verdict.measured}; diffusion in lower dimension, linear less exponential: "
        + ", ".join(told),
    )


def figure(table: pd.DataFrame) -> Chart:
    """Curves of all seeds at the largest d on both scales; which fit is better over d."""
    largest = table["d"].max()
    panels: list[Panel] = []
    for network, rows in table[table["d"] == largest].groupby("network"):
        series = []
        for n_snr2, of_strength in rows.groupby("n_snr2"):
            one = of_strength[of_strength["seed"] == of_strength["seed"].min()]
            label = f"{LEARNED[network, n_snr2]} at n SNR² = {n_snr2}"
            series.append(Series(label, one["part"].to_list(), one["value"].to_list()))
        panels.extend(
            Panel(
                f"{network}, d = {largest}, {scale} scale",
                "part of the way to ten times the start",
                "product over its start",
                series,
                log_y=scale == "log",
            )
            for scale in ("linear", "log")
        )
    fits = advantages(table)
    series = []
    for (network, n_snr2), rows in fits.groupby(["network", "n_snr2"]):
        lines = [
            (d, over_seeds(rows.loc[rows["d"] == d, "advantage"])) for d in sorted(set(rows["d"]))
        ]
        series.append(
            Series(
                f"{network}, n SNR² = {n_snr2}",
                [float(d) for d, _ in lines],
                [found.value for _, found in lines],
                [found.low for _, found in lines],
                [found.high for _, found in lines],
            )
        )
    panels.append(
        Panel(
            "Which scale is straighter",
            "dimension d of a patch",
            "R² linear less exponential",
            series,
            log_x=True,
            rule=0.0,
            rule_label="neither",
        )
    )
    return Chart(panels, "Curves: the first seed. Last panel: means and 95 % intervals over seeds.")


EXPERIMENT = Experiment(
    claim="Early on, what a classifier learns grows exponentially, and in high dimension what a "
    "denoiser learns of the signal grows linearly.",
    paper="2412.01021",
    source="theorems on both networks, seen through reviews; the test is ours",
    kind="learnability",
    grid={"d": (1000, 4000, 16_000, 64_000), "n_steps": (4000,)},
    quick={"d": (1000, 4000, 16_000), "n_steps": (4000,)},
    tiny={"d": (16_000,), "n_steps": (4000,)},
    n_seeds=20,
    quick_seeds=8,
    tiny_seeds=3,
    measure=measure,
    holds=holds,
    figure=figure,
    not_the_authors="only n SNR² is the authors'; sizes, scaling of networks and loss, schedule, "
    "noise covariance, initialisation and step sizes are ours",
    controls={
        "networks swapped": Control(
            measure=partial(measure, swapped=True), says="the denoiser's curves are a classifier's"
        ),
    },
    cost="quick 5 s, full 25 s on one core",
)
