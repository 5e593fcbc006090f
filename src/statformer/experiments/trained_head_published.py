"""Kou et al.'s published diagram: where d = const (|mu| / sigma)^4 parts benign from harmful.

The setting of the public script of arXiv 2303.04145: a fixed second layer, n = 20 samples,
strengths |mu| up to 9.9, widths d from 100 to 1090, noise of deviation 1 that is not projected off
the signal, one label in ten flipped in training and test, 10 filters per class, the mean over
patches, 100 steps of 0.1, 10 repetitions; test error cut at 0.2. The order of the patches does not
matter to the network and is not drawn; first filters are normal with the deviation 1 / sqrt(3 d) of
the framework's uniform ones; fresh samples are drawn as m inner products.

n |mu|^4 = C sigma^4 d says that the boundary has slope 4 in log d against log |mu|. Asked is a
slope within 4 +- 1, R^2 of 0.9, and one crossing on most lines; thresholds ours, set before any
diagram was made. It need not be so: the slope is that of d far above n, and here d goes down to
5 n, 100 steps do not fit every sample, and first filters are not small.

Axes: b strengths, m filters, s seeds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
import torch

from statformer.benchmarks.features_trained_head import (
    CUT,
    HEADS,
    POWER,
    drawn,
    sampled_error,
)
from statformer.experiments._mean_rule import mean_rule_error
from statformer.experiments._phase_map import PhaseMap
from statformer.experiments.base import Cell, Control, Experiment, Row, Verdict
from statformer.optim.patch_descent import descend_patches
from statformer.plotting.chart import Chart
from statformer.tasks.signal_noise import SignalNoisePrior
from statformer.tasks.stream import TaskStream

N, FLIPPED = 20, 0.1
STEP_SIZE, N_STEPS = 0.1, 100
LARGEST = 9.9
STEEPEST, FLATTEST, STRAIGHT, ONCE = POWER + 1.0, POWER - 1.0, 0.9, 0.8


def measure(
    cell: Cell,
    rng: np.random.Generator,
    *,
    d_fixed: int | None = None,
    by_mean_rule: bool = False,
) -> Sequence[Row]:
    """Error against flipped labels and training loss at every strength, at one width."""
    stream = TaskStream(int(rng.integers(2**62)), 0, range(1), dtype=torch.float64)
    d = cell["d"] if d_fixed is None else d_fixed
    prior = SignalNoisePrior(N, d, signal_norm=1.0, sigma=1.0, projected=False, label_flip=FLIPPED)
    products = drawn(prior, stream, sigma0=1.0 / math.sqrt(3.0 * d))
    norms = torch.linspace(LARGEST / cell["n_norms"], LARGEST, cell["n_norms"]).double()
    # 1/10 of the sum over 10 filters per class, 1/2 of the sum over patches: v = +-1/20 = +-1/m
    v = HEADS["fixed"].weights(len(norms))
    sizes = torch.full((len(norms),), STEP_SIZE, dtype=torch.float64)
    trained = descend_patches(products, norms, v, sizes, N_STEPS, head_speed=0.0)
    if by_mean_rule:
        clean = mean_rule_error(products, norms, projected=False)
    else:
        clean = sampled_error(products, trained, norms, stream, projected=False)
    error = FLIPPED + (1.0 - 2.0 * FLIPPED) * clean
    return [
        {"norm": float(norm), "error": float(wrong), "loss": float(loss)}
        for norm, wrong, loss in zip(norms, error, trained.loss, strict=True)
    ]


def holds(table: pd.DataFrame) -> Verdict:
    """Slope, straightness and crossings."""
    try:
        fit = PhaseMap.of(table, "norm", "d", "error", CUT).boundary()
    except ValueError as error:
        return Verdict("fails", "no boundary", "a boundary", "ours", str(error))
    crossed = fit.crossings
    share = crossed.n_points / (crossed.n_points + crossed.n_none + crossed.n_several)
    slopes = [
        side(fit.slope, at, threshold_source="ours", interval=fit.interval, what="slope")
        for side, at in ((Verdict.above, FLATTEST), (Verdict.below, STEEPEST))
    ]
    return Verdict.all_of(
        *slopes,
        Verdict.above(fit.r_squared, STRAIGHT, threshold_source="ours", what="R²"),
        Verdict.above(share, ONCE, threshold_source="ours", what="lines crossed once"),
    )


def figure(table: pd.DataFrame) -> Chart:
    """Test error over (strength, width) with both boundaries, and its cut."""
    diagram = PhaseMap.of(table, "norm", "d", "error", CUT)
    panels = diagram.panels(
        "Fixed second layer, n = 20",
        ("|mu| / sigma", "d", "0-1 test error"),
        (-POWER, "d = const |mu|⁴"),
    )
    largest = table.groupby(["norm", "d"])["loss"].mean().max()
    return Chart(panels, f"Means over seeds. Largest mean training loss: {largest:.2f}.")


EXPERIMENT = Experiment(
    claim="In the published setting of a fixed second layer, d = const |mu|^4 parts benign from "
    "harmful overfitting.",
    paper="2303.04145",
    source="the authors' public script; n |mu|^4 >= C sigma^4 d from secondary accounts",
    kind="learnability",
    grid={"d": tuple(range(100, 1100, 10)), "n_norms": (99,)},
    quick={"d": (100, 150, 220, 330, 500, 740, 1090), "n_norms": (33,)},
    tiny={"d": (100, 200, 400, 800), "n_norms": (25,)},
    n_seeds=10,
    quick_seeds=10,
    tiny_seeds=4,
    measure=measure,
    holds=holds,
    figure=figure,
    controls={
        "same d": Control(measure=partial(measure, d_fixed=300), says="all patches have one width"),
    },
    control_size="quick",
    positive=Control(measure=partial(measure, by_mean_rule=True), says="errors of the mean of y x"),
    not_the_authors="first filters normal instead of uniform, of the same deviation; seeds unknown",
    cost="quick 3 s on one core",
)
