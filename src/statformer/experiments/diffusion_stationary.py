"""Gradient descent on the denoising loss comes to rest, at a place that its step sizes leave alone.

arXiv 2412.01021 speaks of the stationary points of its denoiser (theorem, seen through reviews) and
trains it by gradient descent; step size and number of steps are not found. So this asks first
whether a run comes to rest: whether its gradient falls below 1e-6 of its largest before the end, at
both strengths of the signal. The threshold is ours, from our reading of the paper.

There are two kinds of steps, "fixed" ones of 0.01 min(1, 5 / norm(mu)) and "adaptive" ones, by
which other experiments save time; that both end at the same R, to one percent, is our claim. Ours
as well are all sizes and the bound on the number of steps. A scratch run on other seeds had set
both before this file was written.

Axes: b strengths of the signal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd
from jaxtyping import Float
from torch import Tensor

from statformer.experiments._diffusion import (
    AdaptiveSteps,
    Runs,
    drawn_seed,
    largest_product,
    largest_steps,
    of_log,
    synthetic_runs,
)
from statformer.experiments._seeds import over_seeds
from statformer.experiments.base import Cell, Control, Experiment, Row, Verdict
from statformer.nn.vision import TiedDenoiser
from statformer.optim.descent import descend
from statformer.plotting.chart import Chart, Panel, Series

STRENGTHS = (0.75, 6.75)
KINDS = ("fixed", "adaptive")
AT_REST = 1e-6  # of the largest gradient; runs go on to a hundredth of it
N_TIMES = 50


def measure(
    cell: Cell, rng: np.random.Generator, *, patience: float = 1.0, scale: float = 1.0
) -> Sequence[Row]:
    """The gradient over its largest, and R, on the way, by both kinds of steps on the same data."""
    runs = synthetic_runs(STRENGTHS, drawn_seed(rng))
    n_steps = int(cell["n_steps"] * patience)
    return [row for kind in KINDS for row in _track(runs, kind, cell["step_size"], n_steps, scale)]


def _track(runs: Runs, kind: str, step_size: float, n_steps: int, scale: float) -> list[Row]:
    """A row for each strength at some times; the last of a run is where it came to rest."""
    network, gradient = runs.denoiser()
    times = {0, *np.geomspace(1, n_steps, N_TIMES).astype(int).tolist()}
    norms: list[Tensor] = []
    seen: dict[int, Tensor] = {}

    def watched() -> Mapping[str, Tensor]:
        slopes, t = gradient(), len(norms)
        norms.append(slopes["W"].flatten(1).norm(dim=1))
        if t in times:
            seen[t] = _ratio(network, runs)
        return slopes

    if kind == "adaptive":
        steps = AdaptiveSteps(network, watched, scale * largest_steps(runs.lengths))
        result = descend(network, steps, steps.sizes, n_steps, tolerance=AT_REST / 100.0)
    else:
        sizes = {"W": scale * largest_steps(runs.lengths, step_size)}
        result = descend(network, watched, sizes, n_steps, tolerance=AT_REST / 100.0)
    last, most, rows = _ratio(network, runs), result.largest_gradient, list[Row]()
    for i, n_snr2 in enumerate(STRENGTHS):
        end = int(result.n_steps[i])
        track = [(t, norms[t][i], R[i]) for t, R in seen.items() if t < end]
        for t, norm, R in [*track, (end, result.gradient_norm[i], last[i])]:
            row = {"step": t, "gradient": float(norm / most[i]), "R": float(R)}
            rows.append({"kind": kind, "n_snr2": n_snr2, **row, "at_end": t == end})
    return rows


def _ratio(network: TiedDenoiser, runs: Runs) -> Float[Tensor, " b"]:
    return largest_product(network.W, runs.signal) / largest_product(network.W, runs.noise)


def holds(table: pd.DataFrame) -> Verdict:
    """Every run at rest, the worst of both strengths counting; one R by both kinds of steps."""
    last = table[table["at_end"]]
    verdicts = []
    for kind in KINDS:
        worst = last[last["kind"] == kind].groupby("seed")["gradient"].max()
        logs = np.log10(worst.fillna(np.inf).clip(1e-300, 1e300))  # one that diverged is at inf
        verdicts.append(of_log(logs, "below", AT_REST, f"last gradient, {kind} steps"))
    logs = np.log10(
        last.assign(key=last["kind"]).pivot_table(
            index=["seed", "n_snr2"], columns="key", values="R", dropna=False
        )
    )
    apart = (logs[KINDS[0]] - logs[KINDS[1]]).abs().groupby("seed").max()
    found = over_seeds(10.0**apart - 1.0)
    verdicts.append(
        Verdict.below(
            found.value,
            0.01,
            threshold_source="ours",
            interval=found.interval,
            what="relative difference of R between the kinds of steps",
        )
    )
    return Verdict.all_of(*verdicts)


def figure(table: pd.DataFrame) -> Chart:
    """The gradient and R over the steps, seed by seed."""
    panels = []
    for column, title, label, rule in (
        ("gradient", "Coming to rest", "gradient over its largest", AT_REST),
        ("R", "Where it rests", "R", None),
    ):
        for kind in KINDS:
            series = []
            for n_snr2 in STRENGTHS:
                rows = table[(table["kind"] == kind) & (table["n_snr2"] == n_snr2)]
                one = rows[(rows["seed"] == rows["seed"].min()) & (rows["step"] > 0)]
                series.append(
                    Series(f"n SNR² = {n_snr2}", one["step"].to_list(), one[column].to_list())
                )
            panels.append(
                Panel(
                    f"{title}, {kind} steps",
                    "step",
                    label,
                    series,
                    log_x=True,
                    log_y=True,
                    rule=rule,
                    rule_label="" if rule is None else "at rest",
                )
            )
    return Chart(panels, "The first seed.")


EXPERIMENT = Experiment(
    claim="Gradient descent on the expected denoising loss comes to rest, at one place for fixed "
    "and for adaptive steps.",
    paper="2412.01021",
    source="theorem on stationary points, seen through reviews; thresholds and the part on kinds "
    "of steps are ours",
    kind="learnability",
    grid={"step_size": (0.01,), "n_steps": (20_000,)},
    quick={"step_size": (0.01,), "n_steps": (15_000,)},
    tiny={"step_size": (0.05,), "n_steps": (5000,)},
    n_seeds=20,
    quick_seeds=5,
    tiny_seeds=2,
    measure=measure,
    holds=holds,
    figure=figure,
    not_the_authors="only n SNR² is the authors'; sizes, scaling of network and loss, schedule, "
    "noise covariance, initialisation and step sizes are ours",
    controls={
        "stops early": Control(
            measure=partial(measure, patience=0.02), says="a fiftieth of the steps"
        ),
        "steps too large": Control(
            measure=partial(measure, scale=20.0), says="fixed steps twenty times as large"
        ),
    },
    cost="quick 12 s, full 50 s on one core",
)
