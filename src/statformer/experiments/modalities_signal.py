"""How many times more signal contrast between modalities learns than contrast with views.

arXiv 2411.02837, Figure 1, third panel: signal learning is "clearly higher" for the multi-modal
method. A factor of five on the largest |<w_r, mu>| was set in our reading of the paper, before this
file was written; there 6 to 15 times had been observed at temperatures 0.1 and 0.2. While this
file was written, single runs at temperature 0.1 and sigma0 0.01 showed factors around four. The
threshold stays: it is ours, and what falls short of it is not the paper's claim. The inner product
contains the start <w_r(0), mu>, which at sigma0 0.01 is a good part of what the single-modal
filters have at the end; gamma, beside it, is what has been learned.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pandas as pd

from statformer.experiments._modalities import Faults
from statformer.experiments._modalities_curves import measure_curves, quotient
from statformer.experiments._seeds import OverSeeds
from statformer.experiments.base import Control, Experiment, Verdict
from statformer.plotting.chart import Chart, Panel, Series

FACTOR = 5.0
STATISTICS = {
    "signal": "largest product",
    "signal_mean": "mean product",
    "gamma": "largest gamma",
    "gamma_mean": "mean gamma",
}


def factors(table: pd.DataFrame, statistic: str) -> dict[tuple[Any, Any], OverSeeds]:
    """multi / single of a statistic at each temperature and sigma0."""
    return {
        (tau, sigma0): quotient(rows, statistic, "multi", "single")
        for tau, of_tau in table.groupby("tau")
        for sigma0, rows in of_tau.groupby("sigma0")
    }


def holds(table: pd.DataFrame) -> Verdict:
    """The factor of the largest inner product in every setting, and of gamma in the reason."""
    verdicts = [
        Verdict.above(
            found.value,
            FACTOR,
            threshold_source="ours",
            interval=found.interval,
            what=f"multi / single at temperature {tau:g}, sigma0 {sigma0:g}",
        )
        for (tau, sigma0), found in factors(table, "signal").items()
    ]
    verdict = Verdict.all_of(*verdicts)
    if verdict.status == "holds":
        return verdict
    learned = ", ".join(f"{found.value:.3g}" for found in factors(table, "gamma").values())
    return replace(
        verdict,
        reason=f"{verdict.reason}; the same quotients of the largest gamma: {learned}",
    )


def figure(table: pd.DataFrame) -> Chart:
    """The factor by four statistics, in each setting."""
    series, names = [], []
    for statistic, label in STATISTICS.items():
        found = factors(table, statistic)
        names = [f"τ {tau:g}, σ₀ {sigma0:g}" for tau, sigma0 in found]
        values = list(found.values())
        series.append(
            Series(
                label,
                list(range(len(values))),
                [one.value for one in values],
                [one.low for one in values],
                [one.high for one in values],
                style="bars",
            )
        )
    panel = Panel(
        "Signal learned, multi-modal over single-modal",
        "",
        "quotient",
        series,
        categories=names,
        rule=FACTOR,
        rule_label="ours",
    )
    return Chart([panel], "Geometric mean over seeds with 95 % intervals.")


EXPERIMENT = Experiment(
    claim="The largest product of a filter with the signal is five times larger after contrast "
    "between modalities than after contrast with views.",
    paper="2411.02837",
    source="Figure 1, third panel [paper: clearly higher]; the factor is ours",
    kind="learnability",
    grid={"tau": (0.1, 0.2), "sigma0": (0.01, 0.001), "epochs": (200,), "n_times": (2,)},
    quick={"tau": (0.1, 0.2), "sigma0": (0.01, 0.001), "epochs": (200,), "n_times": (2,)},
    tiny={"tau": (0.2,), "sigma0": (0.001,), "epochs": (200,), "n_times": (2,)},
    n_seeds=20,
    quick_seeds=8,
    tiny_seeds=3,
    measure=measure_curves,
    holds=holds,
    figure=figure,
    not_the_authors="temperature, sigma0, number of negatives and the statistic that the paper "
    "plots were not found",
    controls={
        "shuffled pairs": Control(
            measure=partial(measure_curves, faults=Faults(paired=False)),
            says="the partner is another sample's",
        ),
    },
    cost="quick 16 s, full about 40 s on one core",
)
