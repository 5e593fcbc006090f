"""What of the comparison survives other choices where arXiv 2411.02837 says nothing.

Temperature, sigma0, number of negatives, and the head's samples and regularisation were not found.
Our claim, stated before this file was run: out of distribution the multi-modal encoder beats the
single-modal one in every setting, by a point (0.01) or more. Which settings also meet what is asked
of the paper's figure elsewhere (losses below 0.2 of their start, multi-modal accuracy of 0.9, a gap
of 0.15, more signal, less noise) is counted, and decides nothing. At a temperature of 0.5 and more
200 epochs are few (derived: growth exponents of 0.8 and 1.4 at 1), so that little is learned there.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd

from statformer.experiments._feature_tracks import products
from statformer.experiments._modalities import (
    METHODS,
    NONE,
    Contrast,
    Faults,
    Probe,
    few_negatives,
    paired_prior,
    scene,
    stream_of,
)
from statformer.experiments._modalities_curves import NORM, RATIO, D, N
from statformer.experiments._seeds import over_seeds
from statformer.experiments.base import Cell, Control, Experiment, Row, Verdict
from statformer.plotting.chart import Chart, Panel, Series

SETTING = ["tau", "sigma0", "n_negatives"]
HEADS = ("50 test samples", "200 test samples", "1000 test samples", "100 training samples")
RIDGES = (0.1, 1.0, 10.0)
MARGIN = 0.01
HEAD, RIDGE = HEADS[1], 1.0  # those of the other experiments
SURVIVES = {
    "both losses below 0.2": lambda one: max(one["loss_single"], one["loss_multi"]) < 0.2,
    "multi 0.9 or more": lambda one: one["accuracy_multi"] >= 0.9,
    "gap 0.15 or more": lambda one: one["accuracy_multi"] - one["accuracy_single"] >= 0.15,
    "more signal": lambda one: one["signal_multi"] > one["signal_single"],
    "less noise": lambda one: one["noise_multi"] < one["noise_single"],
}


def measure(cell: Cell, rng: np.random.Generator, *, faults: Faults = NONE) -> Sequence[Row]:
    """Both methods from one start, a row for each head: its samples and its ridge.

    `n_negatives` of the other label per sample, 0 for all of them.
    """
    stream = stream_of(rng)
    prior = paired_prior(N, D, NORM, RATIO, projected=False)
    at = scene(prior, cell["sigma0"], stream, faults=faults)
    probe = Probe(prior.first, at, stream)
    negatives = few_negatives(at, cell["n_negatives"], stream)
    fits = dict(
        zip(HEADS, (*(probe.samples(n) for n in (50, 200, 1000)), probe.train), strict=True)
    )
    trained, found = {}, {}
    for method in METHODS:
        contrast = Contrast(at, method, cell["tau"], negatives=negatives, faults=faults)
        first_loss = contrast.loss()
        contrast.descend(cell["epochs"])
        signal, noise = products(contrast.encoder.W.detach(), at.first.mu, at.first.xi).summary(
            "max"
        )
        found[f"loss_{method}"] = contrast.loss() / first_loss
        found[f"signal_{method}"], found[f"noise_{method}"] = float(signal), float(noise)
        trained[method] = contrast.encoder
    rows: list[Row] = []
    for head, fit_on in fits.items():
        for ridge in RIDGES:
            accuracies = {
                f"accuracy_{method}": probe.accuracy(encoder, ridge=ridge, fit_on=fit_on)
                for method, encoder in trained.items()
            }
            rows.append({"head": head, "ridge": ridge, **accuracies, **found})
    return rows


def holds(table: pd.DataFrame) -> Verdict:
    """The least gap of all settings, with the lowest end of an interval."""
    gaps = {
        setting: over_seeds(rows["accuracy_multi"] - rows["accuracy_single"])
        for setting, rows in table.groupby([*SETTING, "head", "ridge"])
    }
    worst, least = min(gaps.items(), key=lambda item: item[1].value)
    names = ", ".join(
        f"{name} {value}" for name, value in zip([*SETTING, "head", "ridge"], worst, strict=True)
    )
    clear = sum(gap.low > MARGIN for gap in gaps.values())
    survivors = ", ".join(f"{name}: {count}" for name, count in surviving(table).items())
    n_settings = table.groupby(SETTING).ngroups
    verdict = Verdict.above(
        least.value,
        MARGIN,
        threshold_source="ours",
        interval=(min(gap.low for gap in gaps.values()), least.high),
        what=f"{clear} of {len(gaps)} settings clearly so; least gap multi - single at {names}:",
    )
    told = f"{verdict.measured}; of {n_settings} trainings {survivors}"
    return Verdict(
        verdict.status, told, verdict.threshold, verdict.threshold_source, verdict.reason
    )


def surviving(table: pd.DataFrame) -> dict[str, int]:
    """In how many trainings each of the other claims is met, by means over seeds."""
    means = trainings(table)
    return {name: int(means.apply(met, axis=1).sum()) for name, met in SURVIVES.items()}


def trainings(table: pd.DataFrame) -> pd.DataFrame:
    """Means over seeds of each training, with the head of the other experiments."""
    rows = table[(table["head"] == HEAD) & (table["ridge"] == RIDGE)]
    return rows.drop(columns=["head"]).groupby(SETTING).mean(numeric_only=True)


def figure(table: pd.DataFrame) -> Chart:
    """Accuracies over the trainings, and over the heads."""
    by_training = table[(table["head"] == HEAD) & (table["ridge"] == RIDGE)]
    all_negatives = by_training[by_training["n_negatives"] == 0]
    names = ["tau", "sigma0"]
    panels = [
        _panel(
            "Temperature and sigma0",
            [f"τ {tau:g}, σ₀ {sigma0:g}" for (tau, sigma0), _ in all_negatives.groupby(names)],
            [rows for _, rows in all_negatives.groupby(names)],
        ),
        _panel(
            "Negatives per sample",
            [
                "all" if count == 0 else str(count)
                for count, _ in by_training.groupby("n_negatives")
            ],
            [rows for _, rows in by_training.groupby("n_negatives")],
        ),
        _panel(
            "Samples of the head",
            list(HEADS),
            [table[(table["head"] == head) & (table["ridge"] == RIDGE)] for head in HEADS],
        ),
        _panel(
            "Ridge of the head",
            [f"{ridge:g}" for ridge in RIDGES],
            [table[(table["head"] == HEAD) & (table["ridge"] == ridge)] for ridge in RIDGES],
        ),
    ]
    return Chart(
        panels,
        f"Means with 95 % intervals over seeds; where nothing else is said the head has {HEAD} and "
        "a ridge of 1, and means run over all other settings.",
    )


def _panel(title: str, categories: list[str], groups: list[pd.DataFrame]) -> Panel:
    series = []
    for method in METHODS:
        column = f"accuracy_{method}"
        found = [over_seeds(rows.groupby("seed")[column].mean()) for rows in groups]
        series.append(
            Series(
                f"{method}-modal",
                list(range(len(found))),
                [one.value for one in found],
                [one.low for one in found],
                [one.high for one in found],
                style="bars",
            )
        )
    return Panel(
        title, "", "OOD accuracy", series, categories=categories, rule=0.5, rule_label="chance"
    )


EXPERIMENT = Experiment(
    claim="Out of distribution the multi-modal encoder beats the single-modal one whatever the "
    "temperature, sigma0, number of negatives and head.",
    paper="ours",
    source="after Figure 1 of arXiv 2411.02837, over what was not found in it",
    kind="learnability",
    grid={
        "tau": (0.1, 0.2, 0.5, 1.0),
        "sigma0": (0.01, 0.001),
        "n_negatives": (0, 1, 10),
        "epochs": (200,),
    },
    quick={
        "tau": (0.1, 0.2, 0.5, 1.0),
        "sigma0": (0.01, 0.001),
        "n_negatives": (0, 10),
        "epochs": (200,),
    },
    tiny={"tau": (0.1,), "sigma0": (0.01,), "n_negatives": (0,), "epochs": (100,)},
    n_seeds=20,
    quick_seeds=5,
    tiny_seeds=3,
    measure=measure,
    holds=holds,
    figure=figure,
    controls={
        "shuffled pairs": Control(
            measure=partial(measure, faults=Faults(paired=False)),
            says="the partner is another sample's",
        ),
        "untrained": Control(
            measure=partial(measure, faults=Faults(trains=False)), says="no step is taken"
        ),
    },
    cost="quick 52 s, full about 5 min on one core",
)
