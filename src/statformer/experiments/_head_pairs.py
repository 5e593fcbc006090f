"""Phase diagrams of several second layers on the same samples, and how far apart they lie.

Heads of one sample share noise, labels, first filters and test rows, so the ratio of the constants
c of their boundaries n SNR^4 = c is taken seed by seed.

Axes: s seeds, i signal-to-noise ratios, j sample sizes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch

from statformer.benchmarks.features_trained_head import (
    CUT,
    HEADS,
    OVERFITTED,
    POWER,
    drawn,
    phase_rows,
    snr_grid,
)
from statformer.experiments._phase_map import PhaseMap
from statformer.experiments._seeds import OverSeeds, over_seeds
from statformer.experiments.base import Cell, Row, Verdict
from statformer.plotting.chart import Chart, Panel, Series, Style
from statformer.tasks.signal_noise import SignalNoisePrior
from statformer.tasks.stream import TaskStream

GRID: Mapping[str, Sequence[int]] = {
    "n": tuple(int(n) for n in np.geomspace(10, 400, 10).round()),
    "d": (1000,),
    "n_snrs": (20,),
}
QUICK: Mapping[str, Sequence[int]] = {"n": (10, 22, 50, 110, 240), "d": (1000,), "n_snrs": (12,)}
TINY: Mapping[str, Sequence[int]] = {"n": (10, 20, 40), "d": (1000,), "n_snrs": (8,)}


def measure_heads(
    cell: Cell,
    rng: np.random.Generator,
    heads: Sequence[str],
    *,
    last_strength: float = 1.0,
    last_name: str = "",
) -> Sequence[Row]:
    """`heads` by name on one sample.

    `last_strength` scales the signal that the last one sees; `last_name` is what rows call it.
    """
    stream = TaskStream(int(rng.integers(2**62)), 0, range(1), dtype=torch.float64)
    n, d = cell["n"], cell["d"]
    products = drawn(SignalNoisePrior(n, d, signal_norm=1.0, sigma=1.0), stream)
    snrs = snr_grid(cell["n_snrs"], d)
    seed = int(rng.integers(2**62))
    rows: list[Row] = []
    for name in heads:
        seen = snrs * (last_strength if name == heads[-1] else 1.0)
        test = TaskStream(seed, 0, range(1), dtype=torch.float64)
        found = phase_rows(products, seen, HEADS[name], d, test)
        called = last_name if last_name and name == heads[-1] else name
        rows += [
            {**row, "snr": float(snr), "head": called} for row, snr in zip(found, snrs, strict=True)
        ]
    return rows


def ratio(table: pd.DataFrame, head: str, other: str) -> OverSeeds:
    """c(head) / c(other): the mean over seeds of its logarithm, and back."""
    constants = [
        PhaseMap.of(table[table["head"] == name], "snr", "n", "error", CUT).constants(POWER)
        for name in (head, other)
    ]
    return OverSeeds(*(float(np.exp(x)) for x in over_seeds(np.log(constants[0] / constants[1]))))


def within(table: pd.DataFrame, head: str, other: str, factor: float, aside: str = "") -> Verdict:
    """Holds where c(head) / c(other) is within `factor` of 1 and every sample was fitted.

    `aside` is a third head, whose ratio to the other is told and decides nothing.
    """
    what = f"c({head}) / c({other})"
    try:
        found = ratio(table, head, other)
        if aside:
            third = ratio(table, aside, other)
            text = f"{third.value:.3g} [{third.low:.3g}, {third.high:.3g}]"
            what = f"(c({aside}) / c({other}) {text}) {what}"
    except ValueError as error:
        return Verdict("fails", "no boundary", "a boundary", "ours", str(error))
    sides = [
        side(found.value, at, threshold_source="ours", interval=found.interval, what=what)
        for side, at in ((Verdict.below, factor), (Verdict.above, 1.0 / factor))
    ]
    loss = float(table["loss"].max())
    fitted = Verdict.below(loss, OVERFITTED, threshold_source="ours", what="largest training loss")
    return Verdict.all_of(*sides, fitted)


def boundaries(table: pd.DataFrame) -> Chart:
    """All boundaries in one picture, and test error along the middle sample size.

    Dashed: second layers that are not trained.
    """
    lines, curves = [], []
    middle = sorted(table["n"].unique())[table["n"].nunique() // 2]
    for head, rows in table.groupby("head", sort=False):
        kind = HEADS[str(head)]
        label = f"v0 = {kind.v0:g}" if kind.speed else f"fixed at ±{kind.v0:g}"
        style: Style = "line" if kind.speed else "dashed"
        diagram = PhaseMap.of(rows, "snr", "n", "error", CUT)
        at = rows[rows["n"] == middle].groupby("snr")["error"].mean()
        curves.append(Series(label, at.index.tolist(), at.to_list(), style=style))
        try:
            points = diagram.boundary().crossings
        except ValueError:
            continue
        lines.append(Series(label, points.x.tolist(), points.y.tolist(), style=style))
    errors = Panel(f"n = {middle}", "SNR", "0-1 test error", curves, log_x=True, rule=CUT)
    where = Panel(f"Test error of {CUT:g}", "SNR", "n", lines, log_x=True, log_y=True)
    return Chart(
        [where, errors],
        "Means over seeds; dashed: not trained. Left: harmful on the left of a boundary, benign on "
        "its right.",
    )
