"""A denoiser learns signal to noise as n SNR^2 / 2 at first; at rest the ratio hardly knows it.

arXiv 2412.01021 has the ratio of the products with signal and with noise at stationary points of
the order of n SNR^2 (theorem, seen through reviews), and a reviewer saw it change much less between
the two settings of its Figure 2. This experiment asks when in a run the order holds.

Derived: while the filters are as long as at the start, each step adds to every w_r a multiple of
the sum of all patches. So what has been learned of mu_y, <w_r(t) - w_r(0), mu_y>, is to what has
been learned of xi_i as n_y norm(mu)^2 : norm(xi_i)^2 + sum_j <xi_i, xi_j>, or n SNR^2 / 2 where
classes are of one size and noise vectors almost at right angles. Nothing holds the ratio there.

How far a run has come is told by |W - W(0)| / |W(0)|. Thresholds: at a tenth the slope of log ratio
over log n SNR^2 is 0.9 to 1.1 and the ratio within a factor 2 of n SNR^2 / 2 (derived, the margins
ours); at rest the slope is at most half (ours). A scratch run of other experiments had shown slopes
of about 0.1 at rest.

Axes: b strengths of the signal.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
import torch

from statformer.experiments._diffusion import (
    TOLERANCE,
    AdaptiveSteps,
    drawn_seed,
    largest_product,
    largest_steps,
    of_log,
    synthetic_runs,
)
from statformer.experiments._seeds import seed_curve
from statformer.experiments.base import Cell, Control, Experiment, Row, Verdict
from statformer.optim.descent import descend
from statformer.plotting.chart import Chart, Panel, Series
from statformer.runs.fits import Fit, fit_line

WEAKEST = 0.1
EARLY = 0.1
STAGES = (EARLY, 0.2, 0.5, 1.0, 2.0, 4.0, 8.0)  # |W - W(0)| / |W(0)|


def measure(cell: Cell, rng: np.random.Generator, *, labels: bool = False) -> Sequence[Row]:
    """What has been learned of signal and noise as each stage is first reached, and at the end."""
    strengths = np.geomspace(WEAKEST, cell["strongest"], cell["n_strengths"])
    runs = synthetic_runs(strengths.tolist(), drawn_seed(rng))
    trained, gradient = runs.classifier() if labels else runs.denoiser()
    W = trained.get_parameter("W")
    first = W.detach().clone()
    n_steps = cell["n_steps"] // 5 if labels else cell["n_steps"]
    reached = torch.zeros(len(strengths), len(STAGES), dtype=torch.bool)
    stages = torch.tensor(STAGES, dtype=torch.float64)
    rows: list[Row] = []

    def watch(t: int, *, at_rest: bool = False) -> None:
        learned = W.detach() - first
        come = learned.flatten(1).norm(dim=1) / first.flatten(1).norm(dim=1)
        new = (come[:, None] >= stages) & ~reached
        if not (at_rest or bool(new.any())):
            return
        signal, noise = (largest_product(learned, part) for part in (runs.signal, runs.noise))
        for i, n_snr2 in enumerate(strengths):
            kept = [float(come[i])] if at_rest else stages[new[i]].tolist()
            products = {"signal": float(signal[i]), "noise": float(noise[i])}
            where = {"n_snr2": float(n_snr2), "step": t, "at_rest": at_rest}
            rows.extend({**where, "stage": stage, **products} for stage in kept)
        reached[new] = True

    steps = AdaptiveSteps(trained, gradient, largest_steps(runs.lengths))
    result = descend(trained, steps, steps.sizes, n_steps, watch=watch, tolerance=TOLERANCE)
    if bool(result.diverged.any()):
        raise ArithmeticError(f"a run diverged at n SNR^2 = {strengths[result.diverged.numpy()]}")
    watch(int(result.n_steps.max()), at_rest=True)
    return rows


def with_logs(table: pd.DataFrame) -> pd.DataFrame:
    """log10 of n SNR^2 ("x") and of learned signal over learned noise ("y")."""
    x, y = np.log10(table["n_snr2"]), np.log10(table["signal"] / table["noise"])
    return table.assign(x=x, y=y)


def slope(rows: pd.DataFrame) -> Fit:
    """Of log ratio over log n SNR^2, with an interval over seeds."""
    x, y, seeds = (rows[name].to_numpy() for name in ("x", "y", "seed"))
    return fit_line(x, y, np.random.default_rng(0), seeds)


def holds(table: pd.DataFrame) -> Verdict:
    """Slope and size of the ratio early on; the slope at rest."""
    logs = with_logs(table)
    rest, way = logs[logs["at_rest"]], logs[~logs["at_rest"]]
    early = way[way["stage"] == EARLY]
    first, last = slope(early), slope(rest)
    per_seed = (early["y"] - early["x"] + np.log10(2.0)).groupby(early["seed"]).mean()
    what, size = f"slope at a growth of {EARLY}", "early ratio over n SNR² / 2"
    verdicts = [
        Verdict.above(
            first.slope, 0.9, threshold_source="ours", interval=first.interval, what=what
        ),
        Verdict.below(
            first.slope, 1.1, threshold_source="ours", interval=first.interval, what=what
        ),
        of_log(per_seed, "above", 0.5, size),
        of_log(per_seed, "below", 2.0, size),
        Verdict.below(
            last.slope, 0.5, threshold_source="ours", interval=last.interval, what="slope at rest"
        ),
    ]
    return Verdict.all_of(*verdicts)


def figure(table: pd.DataFrame) -> Chart:
    """The ratio over n SNR^2 at some stages, and its slope over the stages."""
    logs = with_logs(table)
    rest, way = logs[logs["at_rest"]], logs[~logs["at_rest"]]
    n_strengths = logs["n_snr2"].nunique()
    shown = [
        (f"growth {stage:g}", rows)
        for stage, rows in way.groupby("stage")
        if rows["n_snr2"].nunique() == n_strengths
    ]
    series = [_curve(rows, label) for label, rows in (shown[0], *shown[2::2], ("at rest", rest))]
    places = sorted(float(place) for place in logs["n_snr2"].unique())
    half = [place / 2.0 for place in places]
    series.append(Series("n SNR² / 2", places, half, style="dashed"))
    ratio = Panel(
        "Learned signal over learned noise", "n SNR²", "ratio", series, log_x=True, log_y=True
    )
    fits = [(float(rows["stage"].iloc[0]), slope(rows)) for _, rows in shown]
    fits.append((float(rest["stage"].median()), slope(rest)))
    curve = Series(
        "slope",
        [stage for stage, _ in fits],
        [fit.slope for _, fit in fits],
        [fit.low for _, fit in fits],
        [fit.high for _, fit in fits],
    )
    over_time = Panel(
        "Slope on the way",
        "|W − W(0)| / |W(0)|, the last at rest",
        "slope of log ratio",
        [curve],
        log_x=True,
        rule=1.0,
        rule_label="in proportion to n SNR²",
    )
    return Chart(
        [ratio, over_time],
        "Means over seeds with 95 % intervals; the last point of the slope is at the median growth "
        "of runs at rest.",
    )


def _curve(rows: pd.DataFrame, label: str) -> Series:
    curve = seed_curve(rows, "n_snr2", "y")
    value, low, high = ((10.0 ** curve[name]).to_list() for name in ("value", "low", "high"))
    return Series(label, curve["x"].to_list(), value, low, high)


EXPERIMENT = Experiment(
    claim="A denoiser first learns signal and noise in the ratio n SNR² / 2; at rest the ratio "
    "grows far slower than n SNR².",
    paper="2412.01021",
    source="after the theorem on stationary points, seen through reviews, which has the order of "
    "n SNR² there; the law of the early phase is derived, the part at rest ours",
    kind="learnability",
    grid={"strongest": (30.0,), "n_strengths": (13,), "n_steps": (12_000,)},
    quick={"strongest": (30.0,), "n_strengths": (9,), "n_steps": (8000,)},
    tiny={"strongest": (6.0,), "n_strengths": (4,), "n_steps": (2500,)},
    n_seeds=20,
    quick_seeds=5,
    tiny_seeds=2,
    measure=measure,
    holds=holds,
    figure=figure,
    not_the_authors="only n SNR² is the authors', and of it 0.75 and 6.75; sizes, scaling of "
    "network and loss, schedule, noise covariance, initialisation and step sizes are ours",
    controls={
        "labels": Control(measure=partial(measure, labels=True), says="a classifier is trained"),
    },
    cost="quick 16 s, full 65 s on one core",
)
