"""A second modality that is no stronger than the first brings little.

Ours, on the data of arXiv 2411.02837: its advantage asks for norm(mu') = C norm(mu) with C of at
least 2.66, and has C = 3. With C = 1, two modalities of one strength, the accuracy out of
distribution is that of contrast with views, within 0.05 either way: then it is the strength of the
second signal that the paper's comparison shows, rather than that there are two modalities. The
claim was made after a first figure of `modalities_boundary`, in which the curves of the two methods
lay on each other over C n SNR^2; the margin is that of `modalities_strength`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd

from statformer.experiments._modalities import (
    METHODS,
    NONE,
    SIGMA0,
    TAU,
    Contrast,
    Faults,
    Probe,
    paired_prior,
    scene,
    stream_of,
)
from statformer.experiments._modalities_curves import NORM, D, N
from statformer.experiments._seeds import OverSeeds, over_seeds
from statformer.experiments.base import Cell, Control, Experiment, Row, Verdict
from statformer.plotting.chart import Chart, Panel, Series

MARGIN = 0.05


def measure(
    cell: Cell,
    rng: np.random.Generator,
    *,
    ratio: float = 1.0,
    faults: Faults = NONE,
) -> Sequence[Row]:
    """The accuracies of both methods, and of the encoder at the start ("untrained")."""
    stream = stream_of(rng)
    prior = paired_prior(N, D, cell["strength"] * NORM, ratio, projected=False)
    at = scene(prior, SIGMA0, stream, faults=faults)
    probe = Probe(prior.first, at, stream)
    rows: list[Row] = []
    for method in METHODS:
        contrast = Contrast(at, method, TAU, faults=faults)
        if method == "single":
            rows.append({"method": "untrained", "accuracy": probe.accuracy(contrast.encoder)})
        contrast.descend(cell["epochs"])
        rows.append({"method": method, "accuracy": probe.accuracy(contrast.encoder)})
    return rows


def measure_as_strong(cell: Cell, rng: np.random.Generator) -> Sequence[Row]:
    """The same with the paper's strength of the first modality in every cell."""
    return measure({**cell, "strength": 1.0}, rng)


def _differences(table: pd.DataFrame, under: str) -> dict[float, OverSeeds]:
    """Multi-modal minus another, at each strength."""
    found = {}
    for strength in sorted({float(value) for value in table["strength"]}):
        rows = table[table["strength"] == strength]
        accuracy = rows.pivot(index="seed", columns="method", values="accuracy")
        found[strength] = over_seeds(accuracy["multi"] - accuracy[under])
    return found


def holds(table: pd.DataFrame) -> Verdict:
    """No difference at any strength of both signals, and at the largest something is learned."""
    verdicts = []
    for strength, found in _differences(table, "single").items():
        ends = sorted(abs(end) for end in found.interval)
        verdicts.append(
            Verdict.below(
                abs(found.value),
                MARGIN,
                threshold_source="ours",
                interval=(0.0 if found.low <= 0 <= found.high else ends[0], ends[1]),
                what=f"|multi - single| of OOD accuracy at {strength:g} times the paper's mu "
                f"({'+' if found.value > 0 else '-'})",
            )
        )
    learned = _differences(table, "untrained").popitem()[1]
    verdicts.append(
        Verdict.above(
            learned.value,
            2 * MARGIN,
            threshold_source="ours",
            interval=learned.interval,
            what="multi - untrained at the largest",
        )
    )
    return Verdict.all_of(*verdicts)


def figure(table: pd.DataFrame) -> Chart:
    """Accuracies at each strength of both signals."""
    strengths = sorted({float(value) for value in table["strength"]})
    series = []
    for method in ("untrained", *METHODS):
        rows = table[table["method"] == method]
        found = [over_seeds(rows.loc[rows["strength"] == one, "accuracy"]) for one in strengths]
        series.append(
            Series(
                method if method == "untrained" else f"{method}-modal",
                list(range(len(found))),
                [one.value for one in found],
                [one.low for one in found],
                [one.high for one in found],
                style="bars",
            )
        )
    panel = Panel(
        "Two modalities of one strength",
        "strength of both signals, in units of the paper's first",
        "accuracy out of distribution",
        series,
        categories=[f"{one:g}" for one in strengths],
        rule=0.5,
        rule_label="chance",
    )
    return Chart([panel], "Mean over seeds with 95 % intervals.")


EXPERIMENT = Experiment(
    claim="With a second modality that is as strong as the first, contrast between modalities "
    "transfers no better and no worse than contrast with views.",
    paper="ours",
    source="after the assumption C >= 2.66 of arXiv 2411.02837; the margin is ours",
    kind="learnability",
    grid={"strength": (0.7, 1.0, 1.4), "epochs": (200,)},
    quick={"strength": (0.7, 1.0, 1.4), "epochs": (200,)},
    tiny={"strength": (1.0,), "epochs": (60,)},
    n_seeds=20,
    quick_seeds=8,
    measure=measure,
    holds=holds,
    figure=figure,
    controls={
        "the paper's C": Control(
            measure=partial(measure, ratio=3.0), says="the second signal is three times as strong"
        ),
        "untrained": Control(
            measure=partial(measure, faults=Faults(trains=False)), says="no step is taken"
        ),
    },
    positive=Control(measure=measure_as_strong, says="the paper's strength in every cell"),
    control_size="quick",
    cost="quick 8 s, full about 20 s on one core",
)
