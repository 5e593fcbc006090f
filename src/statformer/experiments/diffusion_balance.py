"""Denoising learns signal and noise in proportion, classification essentially one of them.

arXiv 2412.01021, Figure 2 at n SNR^2 = 0.75 and 6.75, seen through a review. R is the largest
|<w_r, mu>| over the largest |<w_r, xi_i>|. The paper plots the inner products; the thresholds on R
are ours, set in our reading of it before this file was written.

Axes: b runs (1), m filters, r span coordinates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from statformer.experiments._feature_tracks import products
from statformer.experiments._seeds import over_seeds
from statformer.experiments.base import Cell, Control, Experiment, Row, Verdict
from statformer.nn.span import Span
from statformer.nn.vision import PatchClassifier, Quadratic, TiedDenoiser
from statformer.objectives.denoising import expected_denoising_gradient
from statformer.objectives.logistic import classifier_gradient
from statformer.optim.descent import descend
from statformer.plotting.chart import Chart, Panel, Series
from statformer.tasks.signal_noise import SignalNoisePrior
from statformer.tasks.stream import TaskStream

N, D, M = 30, 1000, 20
SIGMA0, ALPHA, BETA = 1e-3, 0.8, 0.6
CLASSIFIER_STEP = 0.1
DENOISER_STEP = {0.75: 0.05, 6.75: 0.01}  # 0.05 diverges at the stronger signal
NETWORKS = ("classification", "diffusion")
N_TIMES = 40


def measure(
    cell: Cell, rng: np.random.Generator, *, trains: bool = True, denoises: bool = True
) -> Sequence[Row]:
    """The largest products with signal and noise on the way, of both networks on one data set."""
    stream = TaskStream(int(rng.integers(2**62)), 0, range(1), dtype=torch.float64)
    prior = SignalNoisePrior(N, D, n_snr2=cell["n_snr2"], sigma=1.0, kind="orthogonal")
    batch, W = prior.sample(stream), SIGMA0 * stream.normal(2 * M, D)
    span = Span.of(batch.signal, batch.noise[:, :, 0], W)
    X, mu, xi = (span.inside(part) for part in (batch.X, batch.signal, batch.noise[:, :, 0]))
    rows: list[Row] = []
    for network in NETWORKS:
        start = span.inside(W)
        if network == "classification" or not denoises:
            classifier = PatchClassifier(start.reshape(1, 2, M, -1), Quadratic())
            gradient: Callable[[], Mapping[str, Tensor]] = partial(_labels, classifier, X, batch.y)
            trained: PatchClassifier | TiedDenoiser = classifier
            step_size, n_steps = CLASSIFIER_STEP, cell["classifier_steps"]
        else:
            trained = TiedDenoiser(start[:, :M])
            gradient = partial(_noise, trained, X)
            step_size, n_steps = DENOISER_STEP[cell["n_snr2"]], cell["denoiser_steps"]
        n_steps = n_steps if trains else 1
        times = set(np.geomspace(1, n_steps, N_TIMES).astype(int).tolist()) | {0}

        def watch(
            t: int,
            trained: PatchClassifier | TiedDenoiser = trained,
            times: set[int] = times,
            network: str = network,
        ) -> None:
            if t in times:
                filters = trained.W.detach().reshape(1, -1, X.shape[-1])
                signal, noise = products(filters, mu, xi).summary("max")
                rows.append(
                    {"network": network, "step": t, "signal": float(signal), "noise": float(noise)}
                )

        sizes = {"W": torch.full((1,), step_size, dtype=X.dtype)}
        result = descend(trained, gradient, sizes, n_steps, watch=watch)
        if bool(result.diverged):
            raise ArithmeticError(f"{network} diverged at {cell}; its step size is too large")
    return rows


def _labels(
    network: PatchClassifier, X: Float[Tensor, "b n p r"], y: Float[Tensor, "b n"]
) -> dict[str, Tensor]:
    return {"W": classifier_gradient(network, X, y)}


def _noise(network: TiedDenoiser, X: Float[Tensor, "b n p r"]) -> dict[str, Tensor]:
    return {"W": expected_denoising_gradient(network, X, ALPHA, BETA)}


def last_ratios(table: pd.DataFrame) -> pd.DataFrame:
    """log10 R after the last step: a line per seed, a column per (network, n SNR^2)."""
    last = table.loc[table.groupby(["network", "n_snr2", "seed"])["step"].idxmax()]
    last = last.assign(log_ratio=np.log10(last["signal"] / last["noise"]))
    return last.pivot_table(index="seed", columns=["network", "n_snr2"], values="log_ratio")


def holds(table: pd.DataFrame) -> Verdict:
    """R on either side of the boundary, and by how much it changes between the two settings."""
    log_R = last_ratios(table)
    low, high = sorted(DENOISER_STEP)
    by_label, by_noise = (log_R[network] for network in NETWORKS)
    checks = [
        (by_label[low], "below", 0.2, f"classification at {low}"),
        (by_label[high], "above", 3.0, f"classification at {high}"),
        (by_noise[low], "above", 0.2, f"diffusion at {low}"),
        (by_noise[high], "below", 5.0, f"diffusion at {high}"),
        (by_label[high] - by_label[low], "above", 100.0, "classification, R quotient"),
        (by_noise[high] - by_noise[low], "above", 1.0, "diffusion, R quotient"),
        (by_noise[high] - by_noise[low], "below", 9.0, "diffusion, R quotient"),
    ]
    verdicts = []
    for values, side, threshold, what in checks:
        found = over_seeds(values)
        decide = Verdict.below if side == "below" else Verdict.above
        verdicts.append(
            decide(
                10.0**found.value,
                threshold,
                threshold_source="ours",
                interval=(10.0**found.low, 10.0**found.high),
                what=what if "quotient" in what else f"R of {what}",
            )
        )
    return Verdict.all_of(*verdicts)


def figure(table: pd.DataFrame) -> Chart:
    """Inner products over steps, network by network, at both strengths of the signal."""
    panels = []
    for n_snr2, of_strength in table.groupby("n_snr2"):
        for network in NETWORKS:
            rows = of_strength[(of_strength["network"] == network) & (of_strength["step"] > 0)]
            series = []
            for kind in ("signal", "noise"):
                by_step = rows.groupby("step")[kind]
                mean = by_step.mean()
                series.append(
                    Series(
                        kind,
                        list(mean.index),
                        mean.to_list(),
                        by_step.min().to_list(),
                        by_step.max().to_list(),
                    )
                )
            title = f"{network}, n SNR² = {n_snr2}"
            panels.append(
                Panel(title, "step", "largest inner product", series, log_x=True, log_y=True)
            )
    return Chart(panels, "Mean over seeds; bands from the least to the largest.")


EXPERIMENT = Experiment(
    claim="A denoiser learns signal and noise in proportion at both strengths of the signal, a "
    "classifier essentially one of the two.",
    paper="2412.01021",
    source="Figure 2, seen through a review; the thresholds are ours",
    kind="learnability",
    grid={"n_snr2": (0.75, 6.75), "classifier_steps": (2000,), "denoiser_steps": (12_000,)},
    quick={"n_snr2": (0.75, 6.75), "classifier_steps": (2000,), "denoiser_steps": (3000,)},
    tiny={"n_snr2": (0.75, 6.75), "classifier_steps": (400,), "denoiser_steps": (200,)},
    n_seeds=10,
    quick_seeds=5,
    tiny_seeds=2,
    measure=measure,
    holds=holds,
    figure=figure,
    not_the_authors="only n SNR² is the authors'; sizes, scaling of networks and loss, schedule, "
    "noise covariance, initialisation and steps were not found",
    controls={
        "untrained": Control(measure=partial(measure, trains=False), says="one step of training"),
        "labels for both": Control(
            measure=partial(measure, denoises=False), says="the denoiser is a second classifier"
        ),
    },
    control_size="quick",
    cost="quick 12 s, full 65 s on one core",
)
