"""TGMM degrades little at other N and when the means are perturbed (2505.11918).

Item 3 of what a reproduction must show [reviews]: small degradation for N other than trained, and
for a growing perturbation of the test means (N(0, s^2) is added to them). The authors' numbers and
their "small" were not found; at most 1.5 times the error at N = 64 and s = 0 is ours. It is a ratio
to the network's own error: one that is good to begin with has the harder task, and EM, whose error
goes as 1 / N, would not pass at N = 32.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd

from statformer.experiments._seeds import over_seeds, seed_curve
from statformer.experiments._tgmm_estimates import (
    N_TRAINED,
    NOT_THE_AUTHORS,
    by_em,
    by_network,
    draw,
    network_of,
    scores,
    seeds,
)
from statformer.experiments.base import Cell, Control, Experiment, Row, Verdict
from statformer.plotting.chart import Chart, Panel, Series

LENGTHS, SPREADS = (32, 64, 128), (0.0, 0.5, 1.0, 2.0)
MOST_RATIO = 1.5


def measure(cell: Cell, rng: np.random.Generator, units: float = 1.0) -> Sequence[Row]:
    """l2 error of TGMM and of EM (2 k-means++ starts) for each N at s = 0, and each s at N = 64.

    `units` multiplies what the network reads wherever N or s is not as in training.
    """
    network = network_of(cell, rng)
    rows = []
    pairs = [(n, 0.0) for n in LENGTHS] + [(N_TRAINED, s) for s in SPREADS if s]
    for n, spread in pairs:
        found = draw(cell["n_instances"], n, cell["d"], cell["K"], rng, spread)
        as_trained = n == N_TRAINED and not spread
        starts = seeds(found.X, cell["K"], rng)
        read = found._replace(X=found.X * (1.0 if as_trained else units))
        rows.append(
            {
                "n": n,
                "spread": spread,
                "TGMM": scores(found, by_network(network, read))["l2"],
                "EM": scores(found, by_em(found.X, starts[:, :2]))["l2"],
            }
        )
    return rows


def holds(table: pd.DataFrame) -> Verdict:
    """The worst ratio to the error at N = 64 and s = 0 is at most 1.5."""
    mean = table.pivot_table(index="seed", columns=["n", "spread"], values="TGMM")
    usual = mean[N_TRAINED, 0.0]
    places = [(n, 0.0) for n in LENGTHS] + [(N_TRAINED, spread) for spread in SPREADS]
    ratios = {place: over_seeds(mean[place] / usual) for place in places}
    n, spread = max(ratios, key=lambda place: ratios[place].value)
    return Verdict.below(
        ratios[n, spread].value,
        MOST_RATIO,
        threshold_source="ours",
        interval=ratios[n, spread].interval,
        what=f"l2 error / that at N = 64, s = 0; worst at N = {n}, s = {spread:g}:",
    )


def figure(table: pd.DataFrame) -> Chart:
    """l2 error over N, and over the perturbation."""
    panels = []
    for axis, label, rows in (
        ("n", "points N", table[table["spread"] == 0.0]),
        ("spread", "perturbation s of the means", table[table["n"] == N_TRAINED]),
    ):
        series = []
        for method in ("TGMM", "EM"):
            curve = seed_curve(rows, axis, method)
            x, y = list(curve["x"]), list(curve["value"])
            series.append(Series(method, x, y, list(curve["low"]), list(curve["high"])))
        panels.append(Panel(label, label, "l2 error", series, log_x=axis == "n"))
    return Chart(panels, "EM with two k-means++ starts; trained at N up to 64 and s = 0.")


EXPERIMENT = Experiment(
    claim="The error grows little at other N and for perturbed means.",
    paper="2505.11918",
    source="item 3 of what a reproduction must show [abstract, public reviews]",
    kind="learnability",
    grid={"d": (2, 4, 8), "K": (2, 3, 4), "n_instances": (128,), "n_steps": (10001,)},
    quick={"d": (2, 4), "K": (2, 4), "n_instances": (64,), "n_steps": (0,)},
    tiny={"d": (2,), "K": (2,), "n_instances": (4,), "n_steps": (3,)},
    n_seeds=5,
    quick_seeds=4,
    measure=measure,
    holds=holds,
    figure=figure,
    cost="quick about 30 s of one core",
    not_the_authors=NOT_THE_AUTHORS,
    control_size="quick",
    controls={
        "other units": Control(
            measure=partial(measure, units=-3.0),
            says="wherever something is shifted the network reads -3 times the points",
        )
    },
    timeout_minutes=120,
)
