"""The matrix whose power method SimCLR is points at the signal where n0 SNR^2 is large.

arXiv 2409.18685, Lemma 5.2, seen in secondary accounts: where n0 SNR^2 is of order one or more, the
first eigenvalue of A is about 2 norm(mu)^2 / tau (per step size) and its eigenvector is aligned
with mu. No network is trained: A is that of filters of length 0. n0 = 250 unlabelled samples are
the paper's; d = 1500 and the thresholds are ours, set in our reading of it before this file was
written.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import torch

from statformer.experiments._seeds import over_seeds, seed_curve
from statformer.experiments.base import Cell, Control, Experiment, Row, Verdict
from statformer.nn.span import Span
from statformer.objectives.contrastive import power_matrix
from statformer.plotting.chart import Chart, Panel, Series
from statformer.tasks.patch_views import with_fresh_noise
from statformer.tasks.signal_noise import SignalNoisePrior
from statformer.tasks.stream import TaskStream

STRONG, WEAK = 4.0, 0.2


def measure(cell: Cell, rng: np.random.Generator, *, paired: bool = True) -> Row:
    """|cos| of the first eigenvector and mu, and the first eigenvalue over 2 norm(mu)^2."""
    stream = TaskStream(int(rng.integers(2**62)), 0, range(1), dtype=torch.float64)
    prior = SignalNoisePrior(cell["n0"], cell["d"], n_snr2=cell["n0_snr2"], sigma=1.0)
    batch = prior.sample(stream)
    view = with_fresh_noise(batch, prior, stream)
    span = Span.of(batch.signal[:, 1:], batch.noise[:, :, 0], view.noise[:, :, 0])
    Z, views = (span.inside(X.sum(2)) for X in (batch.X, view.X))
    if not paired:
        views = views.roll(1, dims=1)
    values, vectors = torch.linalg.eigh(power_matrix(Z, views, temperature=1.0))
    mu = span.inside(batch.signal[:, 1])[0]
    return {
        "cosine": float((vectors[0, :, -1] @ mu).abs() / mu.norm()),
        "eigenvalue": float(values[0, -1] / (2.0 * mu.square().sum())),
        "gap": float(values[0, -1] / values[0, -2]),
    }


def holds(table: pd.DataFrame) -> Verdict:
    """Aligned, with its eigenvalue, wherever the signal is strong; not aligned where it is weak."""
    verdicts = []
    for n0_snr2 in sorted(float(value) for value in table["n0_snr2"].unique()):
        rows = table[table["n0_snr2"] == n0_snr2]
        cosine, off = over_seeds(rows["cosine"]), over_seeds((rows["eigenvalue"] - 1.0).abs())
        what = f"|cos| at n0 SNR² = {n0_snr2:g}"
        if n0_snr2 <= WEAK:
            verdicts.append(
                Verdict.below(
                    cosine.value,
                    0.3,
                    threshold_source="ours",
                    interval=cosine.interval,
                    what=what,
                )
            )
        if n0_snr2 >= STRONG:
            verdicts.append(
                Verdict.above(
                    cosine.value,
                    0.9,
                    threshold_source="ours",
                    interval=cosine.interval,
                    what=what,
                )
            )
            verdicts.append(
                Verdict.below(
                    off.value,
                    0.25,
                    threshold_source="ours",
                    interval=off.interval,
                    what=f"|eigenvalue / (2 norm(mu)²) - 1| at n0 SNR² = {n0_snr2:g}",
                )
            )
    return Verdict.all_of(*verdicts)


def figure(table: pd.DataFrame) -> Chart:
    """The transition: alignment, and how far the first eigenvalue stands out."""
    panels = []
    for column, title, label, log_y in (
        ("cosine", "Alignment with the signal", "|cos(u₁, mu)|", False),
        ("gap", "How the first eigenvalue stands out", "λ₁ / λ₂", True),
    ):
        curve = seed_curve(table, "n0_snr2", column)
        series = Series(
            "SimCLR",
            curve["x"].to_list(),
            curve["value"].to_list(),
            curve["low"].to_list(),
            curve["high"].to_list(),
        )
        panels.append(Panel(title, "n₀ SNR²", label, [series], log_x=True, log_y=log_y))
    return Chart(panels, "Mean over seeds with 95 % intervals.")


EXPERIMENT = Experiment(
    claim="The first eigenvector of SimCLR's power matrix is the signal where n0 SNR² is 4 or "
    "more, with eigenvalue 2 norm(mu)², and is not where it is 0.2 or less.",
    paper="2409.18685",
    source="Lemma 5.2, in secondary accounts; the thresholds are ours",
    kind="mechanism",
    grid={"n0_snr2": (0.05, 0.1, 0.2, 0.4, 0.7, 1.0, 2.0, 4.0, 10.0), "n0": (250,), "d": (1500,)},
    quick={"n0_snr2": (0.1, 0.2, 0.7, 2.0, 4.0, 10.0), "n0": (250,), "d": (1500,)},
    tiny={"n0_snr2": (0.1, 10.0), "n0": (60,), "d": (400,)},
    n_seeds=10,
    quick_seeds=5,
    tiny_seeds=3,
    measure=measure,
    holds=holds,
    figure=figure,
    not_the_authors="the exact loss, d, sigma and the SNR were not found",
    controls={
        "views of other samples": Control(
            measure=partial(measure, paired=False), says="the view is that of the next sample"
        )
    },
    cost="quick 4 s, full 10 s on one core",
)
