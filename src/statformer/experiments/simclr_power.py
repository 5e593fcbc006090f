"""While embeddings are small, SimCLR's gradient descent is a power method (arXiv 2409.18685).

Lemma 5.1, seen in secondary accounts: w_r(t + 1) = (I + A + Xi(t)) w_r(t), Xi(t) small where
sigma0 is. Filters that gradient descent trains on the loss itself are compared with
(I + eta A)^k w_r(0), A in closed form. Ours: what "small" is (the largest embedding below 0.1), how
close is close (1 %), set in our reading before this file was written, and the temperature 1, which
is no choice: filters over the root of the temperature follow one path at every temperature.

Axes: b runs (1), m filters, r span coordinates.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
import torch

from statformer.experiments._seeds import over_seeds, seed_curve
from statformer.experiments._simclr import TEMPERATURE, pre_train, step_size
from statformer.experiments.base import Cell, Control, Experiment, Row, Verdict
from statformer.nn.span import Span
from statformer.nn.vision import PatchEncoder
from statformer.objectives.contrastive import power_matrix
from statformer.plotting.chart import Chart, Panel, Series
from statformer.tasks.patch_views import with_fresh_noise
from statformer.tasks.signal_noise import SignalNoisePrior
from statformer.tasks.stream import TaskStream

N_FILTERS = 20
SMALL, CLOSE = 0.1, 0.01


class _LeftSmall(Exception):
    """Embeddings are so large that the power method is over."""


def measure(
    cell: Cell, rng: np.random.Generator, *, own_views: bool = True, speed: float = 1.0
) -> Sequence[Row]:
    """After every step: the largest embedding, and |W - (I + eta A)^k W(0)| over its length.

    The power method of a fault has the views of other samples, or steps of `speed` times eta.
    """
    stream = TaskStream(int(rng.integers(2**62)), 0, range(1), dtype=torch.float64)
    prior = SignalNoisePrior(cell["n0"], cell["d"], n_snr2=cell["n0_snr2"], sigma=1.0)
    batch = prior.sample(stream)
    view = with_fresh_noise(batch, prior, stream)
    W = cell["sigma0"] * stream.normal(N_FILTERS, cell["d"])
    span = Span.of(batch.signal[:, 1:], batch.noise[:, :, 0], view.noise[:, :, 0], W)
    Z, views = (span.inside(one.X.sum(2)) for one in (batch, view))
    A = power_matrix(Z, views if own_views else views.roll(1, dims=1), TEMPERATURE)
    powered, eta = span.inside(W), speed * step_size(Z, views)
    rows: list[Row] = []

    def watch(t: int, encoder: PatchEncoder) -> None:
        nonlocal powered
        if t:
            powered = powered + eta[:, None, None] * (powered @ A)
        embedding = float((Z @ encoder.W.detach().mT).norm(dim=-1).max())
        if embedding > 5 * SMALL:
            raise _LeftSmall
        distance = float((encoder.W.detach() - powered).norm() / powered.norm())
        rows.append({"step": t, "embedding": embedding, "distance": distance})

    try:
        pre_train(span.inside(W), Z, views, 1000, watch)
    except _LeftSmall:
        return rows
    raise ArithmeticError(f"embeddings stayed small for 1000 steps at {dict(cell)}")


def holds(table: pd.DataFrame) -> Verdict:
    """The largest distance while the embeddings are small, and that they have grown till then."""
    small = table[table["embedding"] < SMALL]
    verdicts = []
    for sigma0, rows in small.groupby("sigma0"):
        by_run = rows.groupby(["seed", "n0_snr2"])
        largest = over_seeds(by_run["distance"].max().groupby("seed").max())
        grown = by_run["embedding"].agg(lambda x: x.max() / x.min()).groupby("seed").min()
        found = over_seeds(grown)
        verdicts.append(
            Verdict.below(
                largest.value,
                CLOSE,
                threshold_source="ours",
                interval=largest.interval,
                what=f"relative distance, sigma0 = {sigma0:g}",
            )
        )
        verdicts.append(
            Verdict.above(
                found.value,
                2.0,
                threshold_source="ours",
                interval=found.interval,
                what=f"growth of the embeddings till then, sigma0 = {sigma0:g}",
            )
        )
    return Verdict.all_of(*verdicts)


def figure(table: pd.DataFrame) -> Chart:
    """Distance from the power method against the largest embedding, and embeddings over steps."""
    n0_snr2 = table["n0_snr2"].max()
    apart, grown = [], []
    for sigma0, rows in table[table["n0_snr2"] == n0_snr2].groupby("sigma0"):
        label = f"sigma0 = {sigma0:g}"
        # Steps that every seed took: a mean over fewer seeds would jump.
        last = rows.groupby("seed")["step"].max().min()
        shared = rows[(rows["step"] > 0) & (rows["step"] <= last)]
        curve = seed_curve(shared, "step", "embedding")
        far = seed_curve(shared, "step", "distance")
        values = far["value"].to_list()
        apart.append(Series(label, curve["value"].to_list(), values))
        x, y = curve["x"].to_list(), curve["value"].to_list()
        grown.append(Series(label, x, y))
    title = f"n₀ SNR² = {n0_snr2:g}"
    return Chart(
        [
            Panel(
                f"Distance from (I + ηA)ᵏ W(0), {title}",
                "largest embedding",
                "relative distance",
                apart,
                log_x=True,
                log_y=True,
                rule=CLOSE,
                rule_label="1 %",
            ),
            Panel(
                f"Growth of the embeddings, {title}",
                "step k",
                "largest embedding",
                grown,
                log_y=True,
                rule=SMALL,
                rule_label="small below this",
            ),
        ],
        "Means over seeds.",
    )


EXPERIMENT = Experiment(
    claim="While embeddings are below 0.1, filters that SimCLR's gradient descent trains are "
    "within 1 % of (I + eta A)^k w(0).",
    paper="2409.18685",
    source="Lemma 5.1, in secondary accounts; the thresholds are ours",
    kind="mechanism",
    grid={
        "n0_snr2": (0.2, 1.0, 4.0, 10.0),
        "sigma0": (1e-4, 1e-5, 1e-6),
        "n0": (250,),
        "d": (1500,),
    },
    quick={"n0_snr2": (0.2, 4.0), "sigma0": (1e-4, 1e-5), "n0": (250,), "d": (1500,)},
    tiny={"n0_snr2": (0.2, 4.0), "sigma0": (1e-4,), "n0": (40,), "d": (300,)},
    n_seeds=10,
    quick_seeds=5,
    tiny_seeds=2,
    measure=measure,
    holds=holds,
    figure=figure,
    not_the_authors="the exact loss, the temperature, d, the number of filters, sigma0 and the SNR "
    "were not found",
    controls={
        "views of other samples": Control(
            measure=partial(measure, own_views=False), says="A has the view of the next sample"
        ),
        "shorter steps": Control(
            measure=partial(measure, speed=0.97), says="the power method's steps are 3 % shorter"
        ),
    },
    cost="quick 6 s on one core",
)
