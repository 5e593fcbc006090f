"""Which filters like the signal does not change while an encoder is trained against views.

arXiv 2411.02837, in the proofs for single-modal training: the sets {r: <w_r, mu> > 0} stay what
they were at the start. Where the noise is projected off mu this is exact, since the negatives of an
anchor have the other label and so do not excite the filters that its signal excites (derived). With
the paper's noise, which is not projected, it holds with high probability; at most 5 % of the
filters may ever change, which was set in our reading of the paper before this file was written.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd

from statformer.experiments._modalities import (
    NONE,
    SIGMA0,
    TAU,
    Contrast,
    Faults,
    paired_prior,
    scene,
    stream_of,
)
from statformer.experiments._modalities_curves import NORM, RATIO, D, N
from statformer.experiments._seeds import over_seeds, seed_curve
from statformer.experiments.base import Cell, Control, Experiment, Row, Verdict
from statformer.plotting.chart import Chart, Panel, Series

CHANGED, N_TIMES = 0.05, 21


def measure(
    cell: Cell, rng: np.random.Generator, *, norm: float = NORM, faults: Faults = NONE
) -> Sequence[Row]:
    """The share of filters whose <w_r, mu> has had another sign than at the start, so far."""
    prior = paired_prior(N, D, norm, RATIO, projected=cell["projected"])
    at = scene(prior, SIGMA0, stream_of(rng), faults=faults)
    contrast = Contrast(at, "single", TAU, faults=faults)
    positive = (at.first.W @ at.first.mu.mT) > 0
    changed = np.zeros(positive.shape, dtype=bool)
    times = set(np.linspace(0, cell["epochs"], N_TIMES).astype(int).tolist())
    rows: list[Row] = []

    def watch(t: int) -> None:
        now = (contrast.encoder.W.detach() @ at.first.mu.mT) > 0
        changed[...] |= (now != positive).numpy()
        if t in times:
            rows.append({"epoch": t, "changed": float(changed.mean())})

    contrast.descend(cell["epochs"], watch)
    return rows


def measure_projected(cell: Cell, rng: np.random.Generator) -> Sequence[Row]:
    """The same with projected noise in every cell."""
    return measure({**cell, "projected": True}, rng)


def holds(table: pd.DataFrame) -> Verdict:
    """None with projected noise; few with the paper's."""
    last = table[table["epoch"] == table["epoch"].max()]
    as_theirs = over_seeds(last.loc[~last["projected"], "changed"])
    projected = float(last.loc[last["projected"], "changed"].max())
    return Verdict.all_of(
        Verdict.below(
            as_theirs.value,
            CHANGED,
            threshold_source="ours",
            interval=as_theirs.interval,
            what="share of filters that change sign, noise as the paper's",
        ),
        Verdict.below(
            projected, 0.0, threshold_source="derived", what="largest share, projected noise"
        ),
    )


def figure(table: pd.DataFrame) -> Chart:
    """The share so far over the epochs."""
    series = []
    for projected, rows in table.groupby("projected"):
        curve = seed_curve(rows, "epoch", "changed")
        series.append(
            Series(
                "noise projected off the signal" if projected else "noise as the paper's",
                curve["x"].to_list(),
                curve["value"].to_list(),
                curve["low"].to_list(),
                curve["high"].to_list(),
            )
        )
    panel = Panel(
        "Filters that have changed sides",
        "epoch",
        "share so far",
        series,
        rule=CHANGED,
        rule_label="ours",
    )
    return Chart([panel], "Single-modal training; mean over seeds with 95 % intervals.")


EXPERIMENT = Experiment(
    claim="In single-modal training the set of filters with a positive product with the signal "
    "stays what it was at the start.",
    paper="2411.02837",
    source="proofs for single-modal training [paper]; exact for projected noise [derived]; five "
    "per cent are ours",
    kind="mechanism",
    grid={"projected": (False, True), "epochs": (200,)},
    quick={"projected": (False, True), "epochs": (200,)},
    tiny={"projected": (False, True), "epochs": (60,)},
    n_seeds=40,
    quick_seeds=10,
    tiny_seeds=3,
    measure=measure,
    holds=holds,
    figure=figure,
    not_the_authors="temperature, sigma0 and number of negatives were not found",
    controls={
        "weak signal": Control(
            measure=partial(measure, norm=0.2), says="the noise along mu is as strong as mu"
        ),
        "embeddings": Control(
            measure=partial(measure, faults=Faults(similarity="embedding")),
            says="the similarity multiplies signal with noise patches",
        ),
    },
    positive=Control(measure=measure_projected, says="all noise is projected off the signal"),
    cost="quick 4 s, full about 17 s on one core",
)
