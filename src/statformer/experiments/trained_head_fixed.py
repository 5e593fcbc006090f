"""A second layer that starts large has the phase boundary of a second layer that is fixed.

arXiv 2410.19139 (abstract): with a large v0 the second layer stays essentially constant; so the
network behaves like the one with v = +-1/m that earlier work has (Kou et al., arXiv 2303.04145).
Asked is that the constants c of n SNR^4 = c on both boundaries differ by less than a quarter, in
either direction; heads share their samples and first filters, and the ratio is taken seed by seed.
The ratio of a small v0 to a fixed one is measured beside it and decides nothing: no claim about it
was found. The threshold is ours, set before this file was written.

Axes: s seeds, i signal-to-noise ratios, j sample sizes.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
import torch

from statformer.experiments._phase_map import PhaseMap
from statformer.experiments._seeds import OverSeeds, over_seeds
from statformer.experiments._trained_head import (
    CUT,
    HEADS,
    OVERFITTED,
    POWER,
    drawn,
    phase_rows,
    snr_grid,
)
from statformer.experiments.base import Cell, Control, Experiment, Row, Verdict
from statformer.plotting.chart import Chart, Panel, Series
from statformer.tasks.signal_noise import SignalNoisePrior
from statformer.tasks.stream import TaskStream

NEAR = 1.25


def measure(cell: Cell, rng: np.random.Generator, *, fixed_strength: float = 1.0) -> Sequence[Row]:
    """All three heads on one sample; `fixed_strength` scales the signal that the fixed one sees."""
    stream = TaskStream(int(rng.integers(2**62)), 0, range(1), dtype=torch.float64)
    n, d = cell["n"], cell["d"]
    products = drawn(SignalNoisePrior(n, d, signal_norm=1.0, sigma=1.0), stream)
    snrs = snr_grid(cell["n_snrs"], d)
    seed = int(rng.integers(2**62))
    rows: list[Row] = []
    for name, head in HEADS.items():
        seen = snrs * (fixed_strength if name == "fixed" else 1.0)
        test = TaskStream(seed, 0, range(1), dtype=torch.float64)
        found = phase_rows(products, seen, head, d, test)
        rows += [
            {**row, "snr": float(snr), "head": name} for row, snr in zip(found, snrs, strict=True)
        ]
    return rows


def _ratios(table: pd.DataFrame, head: str) -> OverSeeds:
    """c(head) / c(fixed): the mean over seeds of its logarithm, and back."""
    constants = [
        PhaseMap.of(table[table["head"] == name], "snr", "n", "error", CUT).constants(POWER)
        for name in (head, "fixed")
    ]
    return OverSeeds(*(float(np.exp(x)) for x in over_seeds(np.log(constants[0] / constants[1]))))


def holds(table: pd.DataFrame) -> Verdict:
    """The ratio of constants of a large and a fixed second layer; training losses."""
    try:
        large, small = (_ratios(table, head) for head in ("large", "small"))
    except ValueError as error:
        return Verdict("fails", "no boundary", "a boundary", "ours", str(error))
    aside = f"small / fixed {small.value:.3g} [{small.low:.3g}, {small.high:.3g}]"
    checks = [
        side(
            large.value,
            threshold,
            threshold_source="ours",
            interval=large.interval,
            what=f"({aside}) large / fixed",
        )
        for side, threshold in ((Verdict.below, NEAR), (Verdict.above, 1.0 / NEAR))
    ]
    loss = float(table["loss"].max())
    checks.append(
        Verdict.below(loss, OVERFITTED, threshold_source="ours", what="largest training loss")
    )
    return Verdict.all_of(*checks)


def figure(table: pd.DataFrame) -> Chart:
    """The three boundaries in one picture, and test error along the middle sample size."""
    boundaries, curves = [], []
    middle = sorted(table["n"].unique())[table["n"].nunique() // 2]
    for head, rows in table.groupby("head", sort=False):
        label = "fixed at ±1/m" if head == "fixed" else f"v0 = {HEADS[str(head)].v0:g}"
        diagram = PhaseMap.of(rows, "snr", "n", "error", CUT)
        try:
            points = diagram.boundary().crossings
        except ValueError:
            continue
        boundaries.append(Series(label, points.x.tolist(), points.y.tolist()))
        at = rows[rows["n"] == middle].groupby("snr")["error"].mean()
        curves.append(Series(label, at.index.tolist(), at.to_list()))
    return Chart(
        [
            Panel(
                f"Test error of {CUT:g}",
                "SNR",
                "n",
                boundaries,
                log_x=True,
                log_y=True,
            ),
            Panel(f"n = {middle}", "SNR", "0-1 test error", curves, log_x=True, rule=CUT),
        ],
        "Means over seeds. Left: the line between harmful (left) and benign (right).",
    )


EXPERIMENT = Experiment(
    claim="A second layer that starts large has the boundary n SNR^4 = c of one fixed at +-1/m, "
    "with nearly its c.",
    paper="2410.19139",
    source="abstract, the large regime; the comparison and its threshold are ours",
    kind="learnability",
    grid={
        "n": tuple(int(n) for n in np.geomspace(10, 400, 10).round()),
        "d": (1000,),
        "n_snrs": (20,),
    },
    quick={"n": (10, 22, 50, 110, 240), "d": (1000,), "n_snrs": (12,)},
    tiny={"n": (10, 20, 40), "d": (1000,), "n_snrs": (8,)},
    n_seeds=20,
    quick_seeds=8,
    tiny_seeds=2,
    measure=measure,
    holds=holds,
    figure=figure,
    not_the_authors="sizes and scales were not found",
    controls={
        "weaker signal": Control(
            measure=partial(measure, fixed_strength=0.7),
            says="the fixed layer sees a signal of 0.7 of its length",
        ),
    },
    control_size="quick",
)
