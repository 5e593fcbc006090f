"""Filters move in the span of the signal and the training noise; the views' noise never appears.

arXiv 2411.02837 writes w_r(t) = w_r(0) + gamma_r mu / |mu|^2 + sum_i rho_ri xi_i / |xi_i|^2, and
that is exact, for both methods, because the second argument of the similarity passes no gradient:
the noise that a view adds is only there. Trained in all 2000 features, where nothing is assumed,
what of a movement is outside the span is rounding; and training in coordinates of the span and of
the first filters, as the other experiments do, gives the same products.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
import torch

from statformer.experiments._feature_tracks import decompose
from statformer.experiments._modalities import (
    METHODS,
    NONE,
    SIGMA0,
    TAU,
    Contrast,
    Faults,
    paired_prior,
    scene,
)
from statformer.experiments._modalities_curves import NORM, RATIO
from statformer.experiments.base import Cell, Control, Experiment, Row, Verdict
from statformer.plotting.chart import Chart, Panel, Series
from statformer.tasks.stream import TaskStream

EXACT = 1e-8


def measure(cell: Cell, rng: np.random.Generator, *, faults: Faults = NONE) -> Sequence[Row]:
    """The share of a movement outside the span, and how far coordinates are from features.

    outside  the largest |rest_r| / |w_r(t) - w_r(0)| of the trained filters, in features
    gap      the largest difference of a product <w_r, mu> or <w_r, xi_i>, over the largest product
    """
    seed = int(rng.integers(2**62))
    prior = paired_prior(cell["n"], cell["d"], NORM, RATIO, projected=False)
    rows: list[Row] = []
    for method in METHODS:
        outside, products = [], []
        for in_coordinates in (False, True):
            stream = TaskStream(seed, 0, range(1), dtype=torch.float64)
            at = scene(prior, SIGMA0, stream, faults=faults, in_coordinates=in_coordinates)
            contrast = Contrast(at, method, TAU, faults=faults)
            contrast.descend(cell["epochs"])
            W = contrast.encoder.W.detach()
            products.append(W @ torch.cat([at.first.mu, at.first.xi], 1).mT)
            if in_coordinates:
                continue
            trained = [(contrast.encoder, at.first)]
            if method == "multi":
                trained.append((contrast.partner, at.second))
            for encoder, one in trained:
                outside.append(decompose(encoder.W.detach(), one.W, one.mu, one.xi).rest.max())
        gap = (products[0] - products[1]).abs().max() / products[0].abs().max()
        rows.append({"method": method, "outside": float(max(outside)), "gap": float(gap)})
    return rows


def holds(table: pd.DataFrame) -> Verdict:
    """The largest of all, for each method."""
    verdicts = []
    for method in METHODS:
        rows = table[table["method"] == method]
        for column, what in (
            ("outside", "share of the movement outside the span"),
            ("gap", "difference of features and coordinates"),
        ):
            verdicts.append(
                Verdict.below(
                    float(rows[column].max()),
                    EXACT,
                    threshold_source="derived",
                    what=f"{method}: {what}",
                )
            )
    return Verdict.all_of(*verdicts)


def figure(table: pd.DataFrame) -> Chart:
    """Both numbers of both methods."""
    series = [
        Series(
            label,
            list(range(len(METHODS))),
            [float(table.loc[table["method"] == method, column].max()) for method in METHODS],
            style="points",
        )
        for column, label in (
            ("outside", "movement outside the span"),
            ("gap", "features against coordinates"),
        )
    ]
    panel = Panel(
        "Rounding, and nothing else",
        "",
        "largest relative size",
        series,
        log_y=True,
        categories=[f"{method}-modal" for method in METHODS],
        rule=EXACT,
        rule_label="exact",
    )
    return Chart([panel], "The largest over seeds.")


EXPERIMENT = Experiment(
    claim="Both methods move their filters in the span of the signal and the training noise, and "
    "the noise of the views does not appear.",
    paper="2411.02837",
    source="decomposition of the filters [paper]; exact [derived]",
    kind="mechanism",
    grid={"n": (100,), "d": (2000,), "epochs": (200,)},
    quick={"n": (100,), "d": (2000,), "epochs": (200,)},
    tiny={"n": (20,), "d": (400,), "epochs": (100,)},
    n_seeds=5,
    quick_seeds=2,
    measure=measure,
    holds=holds,
    figure=figure,
    controls={
        "gradient through the views": Control(
            measure=partial(measure, faults=Faults(stop_gradient=False)),
            says="the second argument of the similarity passes its gradient",
        ),
    },
    cost="quick 6 s, full about 14 s on one core",
)
