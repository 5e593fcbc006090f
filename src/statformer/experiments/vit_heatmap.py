"""Test loss of a patch transformer over N and SNR: its boundary keeps N SNR^2 constant.

arXiv 2409.19345, Figure 1, seen through summaries: a heat map of the test loss, cut at 0.2, with
the curve N SNR^2 = 1000 along the cut; the training loss is below 0.01 on either side. Its sizes,
noise and training were not found, and the constant depends on them: ours is reported, 1000 is not
asked for. The slope is to lie in -1/2 +- 0.1 and R^2 above 0.9; these thresholds are ours and were
set before this file was written, but the setting was chosen after first trials with other seeds,
which also gave such slopes. A slope of -1/4, N SNR^4 constant, is what the noise of fresh points
would give (derived for a linear read-out), so the interval tells them apart.

With five seeds a first quick run was undecided and the full one held. Few points are the reason: of
16 points one seed had 14 of one label, and its runs stay harmful up to strong signals. The seeds
were then raised to eight and ten, the thresholds kept.

Axes: b runs (one per SNR), s seeds, i values of N, j values of SNR.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float

from statformer.experiments._vit_data import VitData, outcome
from statformer.experiments._vit_runs import VitSetting
from statformer.experiments.base import Cell, Control, Experiment, Row, Verdict
from statformer.plotting.chart import Chart, HeatMap, Panel, Series
from statformer.runs.boundaries import Boundary, Constant, fit_boundary, fit_constant

LOWEST, HIGHEST = 0.06, 0.96  # SNR
LEVEL, SLOPES, STRAIGHT, TRAINED = 0.2, (-0.6, -0.4), 0.9, 0.01
N_FRESH = 500


@torch.no_grad()
def measure(
    cell: Cell,
    rng: np.random.Generator,
    *,
    trains: bool = True,
    labels: bool = True,
    weakens: bool = False,
) -> Sequence[Row]:
    """One row per SNR; `labels` False draws them anew, `weakens` takes SNR down as n grows."""
    setting = VitSetting(n_features=cell["n_features"])
    data = VitData.of(setting, cell["n"], int(rng.integers(2**62)))
    data = data if labels else data.relabelled()
    snrs = np.geomspace(LOWEST, HIGHEST, cell["n_snrs"])
    runs = data.runs((snrs * (16.0 / cell["n"]) ** 0.5 if weakens else snrs).tolist())
    if trains:
        runs.descend()
    found = outcome(runs, data.fresh(N_FRESH))
    columns = zip(snrs, *[column.tolist() for column in found], strict=True)
    return [dict(zip(("snr", *found._fields), row, strict=True)) for row in columns]


def grid_of(
    table: pd.DataFrame,
) -> tuple[Float[np.ndarray, "s i j"], Float[np.ndarray, " i"], Float[np.ndarray, " j"]]:
    """Test losses, the values of N, and those of SNR."""
    n, snr = (np.unique(table[name].to_numpy(dtype=np.float64)) for name in ("n", "snr"))
    wide = table.pivot_table(index=["seed", "n"], columns="snr", values="test")
    return wide.to_numpy().reshape(-1, len(n), len(snr)), n, snr


def fits(table: pd.DataFrame) -> tuple[Boundary, Constant]:
    """The boundary log SNR = a + b log N, and N SNR^2 on it. Raises ValueError without one."""
    z, n, snr = grid_of(table)
    rng = np.random.default_rng(0)
    boundary = fit_boundary(z, n, snr, LEVEL, rng, along="y")
    return boundary, fit_constant(z, n, snr**2, LEVEL, 1.0, rng, along="y")


def holds(table: pd.DataFrame) -> Verdict:
    """The largest training loss, the slope of the boundary and how straight it is."""
    loss = Verdict.below(
        float(table["train"].max()), TRAINED, threshold_source="ours", what="largest training loss"
    )
    try:
        boundary, constant = fits(table)
    except ValueError as error:
        missing = Verdict("fails", "no boundary", "a boundary", "ours", reason=str(error))
        return Verdict.all_of(loss, missing)
    slope = partial(
        Verdict.above, boundary.slope, interval=boundary.interval, threshold_source="ours"
    )
    flat = partial(
        Verdict.below, boundary.slope, interval=boundary.interval, threshold_source="ours"
    )
    straight = Verdict.above(boundary.r_squared, STRAIGHT, threshold_source="ours", what="R²")
    straight = replace(
        straight,
        measured=f"{straight.measured}; N SNR² = {constant.value:.3g} [{constant.low:.3g}, "
        f"{constant.high:.3g}] on {boundary.crossings} (the paper's 1000 is not asked for)",
    )
    return Verdict.all_of(
        loss, slope(SLOPES[0], what="slope"), flat(SLOPES[1], what="slope"), straight
    )


def figure(table: pd.DataFrame) -> Chart:
    """The map with its boundary and the curve of theory, and the map cut at the level."""
    z, n, snr = grid_of(table)
    mean, places, heights = z.mean(0).T, n.tolist(), snr.tolist()
    lines: list[Series] = []
    try:
        boundary, constant = fits(table)
        theory = np.sqrt(constant.at(n)).tolist()
        lines = [
            Series(f"fitted, slope {boundary.slope:.2f}", places, boundary.at(n).tolist()),
            Series(f"N SNR² = {constant.value:.2g}", places, theory, style="dashed"),
        ]
    except ValueError:
        pass  # a map without a boundary is drawn as it is
    sides = (f"below {LEVEL}", f"{LEVEL} or more")
    cut = (mean >= LEVEL).astype(float)
    maps = (
        ("Test loss", HeatMap(places, heights, mean.tolist(), "test loss")),
        (f"Cut at {LEVEL}", HeatMap(places, heights, cut.tolist(), "test loss", classes=sides)),
    )
    panels = [
        Panel(title, "training points N", "SNR", lines, log_x=True, log_y=True, heat=heat)
        for title, heat in maps
    ]
    trained = f"the largest training loss is {table['train'].max():.2g}"
    return Chart(panels, f"Mean over seeds; {trained}.")


EXPERIMENT = Experiment(
    claim="A patch transformer that fits its training points is benign or harmful by N SNR² alone.",
    paper="2409.19345",
    source="Figure 1, seen through summaries; the thresholds on slope and R² are ours",
    kind="learnability",
    grid={
        "n": (16, 19, 23, 28, 34, 40, 48, 58, 70, 84, 102, 122, 147, 177, 213, 256),
        "n_snrs": (16,),
        "n_features": (4000,),
    },
    quick={"n": (16, 22, 32, 45, 64, 90, 128, 180), "n_snrs": (16,), "n_features": (4000,)},
    tiny={"n": (16, 32, 64), "n_snrs": (6,), "n_features": (1000,)},
    n_seeds=10,
    quick_seeds=8,
    tiny_seeds=2,
    measure=measure,
    holds=holds,
    figure=figure,
    not_the_authors="tokens, sizes, noise, start, step size and stopping were not found and are "
    "ours, as is that training ends at a loss of 0.0095",
    controls={
        "untrained": Control(measure=partial(measure, trains=False), says="no step of training"),
        "labels without a signal": Control(
            measure=partial(measure, labels=False), says="labels are coins"
        ),
        "signals that weaken with n": Control(
            measure=partial(measure, weakens=True), says="SNR is divided by sqrt(n / 16)"
        ),
    },
    cost="quick 55 s, full 165 s on one core",
)
