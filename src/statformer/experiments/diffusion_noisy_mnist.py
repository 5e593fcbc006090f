"""Noisy-MNIST: a classifier's filters turn to the noise or to the digits, a denoiser's to both.

arXiv 2412.01021: a digit of MNIST is the signal patch, a Gaussian patch stands beside it; over the
SNR a denoiser keeps its features in balance and a classifier concentrates on one kind (seen through
reviews). Its networks, numbers of classes and samples, the scale of the images, its measure and its
numbers are not found.

Ours in their place: digits 0 and 1; every image scaled to one length, so that n SNR^2 is what it is
in the synthetic data; the networks of the synthetic data (quadratic classifier, tied denoiser);
and the measure. Signal is the mean of all training images of a class (each scaled to length 1),
scaled to the length of an image, and noise are the patches xi_i that the networks were trained on:

    R = max_r,y |<w_r, mu_y>| / max_r,i |<w_r, xi_i>|.

Products with digits never seen and with fresh noise are recorded beside it. Thresholds are those of
our reading of the synthetic experiment, at n SNR^2 = 0.1 and 30 for 0.75 and 6.75: digits of one
class differ and both classes share pixels, so that the change of the classifier comes later, as a
scratch run on one other seed had shown. The denoiser takes `AdaptiveSteps`.

Axes: b strengths of the signal, n points, h rows and w columns of a picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from statformer.experiments._diffusion import (
    ALPHA,
    BETA,
    CLASSIFIER_STEP,
    AdaptiveSteps,
    M,
    Patches,
    denoising_gradient,
    drawn_seed,
    largest_product,
    largest_steps,
    of_log,
)
from statformer.experiments._diffusion_digits import DigitRuns, digit_runs
from statformer.experiments._seeds import seed_curve
from statformer.experiments.base import Cell, Control, Experiment, Row, Verdict
from statformer.nn.vision import PatchClassifier, Quadratic, TiedDenoiser
from statformer.objectives.logistic import classifier_gradient
from statformer.optim.descent import descend
from statformer.plotting.chart import Chart, HeatMap, Panel, Series

STRENGTHS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
NETWORKS = ("classification", "diffusion")
MOST_PIXELS = 14  # of a filter's picture, along a side


def measure(
    cell: Cell, rng: np.random.Generator, *, denoises: bool = True, patience: float = 1.0
) -> Sequence[Row]:
    """Products of both networks with signal and noise, known and fresh, at each strength."""
    n = cell["n_points"]
    runs = digit_runs(cell["images"], n, STRENGTHS, drawn_seed(rng))
    lengths = runs.means[:, 0].norm(dim=-1)
    rows: list[Row] = []
    for network in NETWORKS:
        trained: TiedDenoiser | PatchClassifier
        if network == "diffusion" and denoises:
            trained = TiedDenoiser(runs.W[:, :M].clone())
            patches = Patches(runs.X.flatten(1, 2), torch.ones_like(runs.X[..., 0].flatten(1)), n)
            gradient = partial(_of_noise, trained, patches)
            steps = AdaptiveSteps(trained, gradient, largest_steps(lengths))
            n_steps = int(cell["denoiser_steps"] * patience)
            result = descend(trained, steps, steps.sizes, n_steps)
        else:
            trained = PatchClassifier(runs.W.reshape(len(lengths), 2, M, -1).clone(), Quadratic())
            sizes = {"W": torch.full_like(lengths, CLASSIFIER_STEP)}
            n_steps = int(cell["classifier_steps"] * patience)
            result = descend(trained, partial(_of_labels, trained, runs), sizes, n_steps)
        if bool(result.diverged.any()):
            raise ArithmeticError(f"{network} diverged on {cell['images']}")
        rows.extend(_rows(network, trained, runs))
    return rows


def _of_noise(network: TiedDenoiser, patches: Patches) -> dict[str, Tensor]:
    return {"W": denoising_gradient(network, patches, ALPHA, BETA)}


def _of_labels(network: PatchClassifier, runs: DigitRuns) -> dict[str, Tensor]:
    return {"W": classifier_gradient(network, runs.X, runs.y)}


def _rows(network: str, trained: TiedDenoiser | PatchClassifier, runs: DigitRuns) -> list[Row]:
    W = trained.get_parameter("W").detach().flatten(1, -2)
    numbers = {
        "signal": largest_product(W, runs.means),
        "noise": largest_product(W, runs.X[:, :, 1]),
        "fresh_digits": largest_product(W, runs.fresh[:, :, 0]),
        "fresh_noise": largest_product(W, runs.fresh[:, :, 1]),
    }
    if isinstance(trained, PatchClassifier):
        right = trained(runs.fresh).detach() * runs.fresh_y > 0
        numbers["accuracy"] = right.to(W.dtype).mean(1)
    nearest = (W @ runs.means.mT).abs().amax(-1).argmax(1)
    side = math.isqrt(runs.basis.shape[-1])
    rows: list[Row] = []
    for i, n_snr2 in enumerate(STRENGTHS):
        filter_ = (W[i, nearest[i]] @ runs.basis[i]).reshape(-1, side)
        found = {name: float(values[i]) for name, values in numbers.items()}
        shown = _picture(filter_) if n_snr2 in (STRENGTHS[0], STRENGTHS[-1]) else ""
        rows.append({"network": network, "n_snr2": n_snr2, **found, "filter": shown})
    return rows


def _picture(filter_: Float[Tensor, "h w"]) -> str:
    """Pixels of a filter as text, row by row, in blocks where there are too many."""
    block = math.ceil(filter_.shape[-1] / MOST_PIXELS)
    small = torch.nn.functional.avg_pool2d(filter_[None, None], block)[0, 0]
    small = small / small.abs().amax()
    return ";".join(" ".join(f"{value:.2f}" for value in row) for row in small.tolist())


def with_log(table: pd.DataFrame) -> pd.DataFrame:
    """log10 of R ("y")."""
    return table.assign(y=np.log10(table["signal"] / table["noise"]))


def holds(table: pd.DataFrame) -> Verdict:
    """Where both networks end at either end of the range, and the denoiser everywhere between."""
    logs = with_log(table).pivot_table(index="seed", columns=["network", "n_snr2"], values="y")
    by_label, by_noise = (logs[network] for network in NETWORKS)
    low, high = STRENGTHS[0], STRENGTHS[-1]
    verdicts = [
        of_log(by_label[low], "below", 0.2, f"R of classification at {low}"),
        of_log(by_label[high], "above", 3.0, f"R of classification at {high}"),
        of_log(by_noise.T.min(), "above", 0.2, "least R of diffusion"),
        of_log(by_noise.T.max(), "below", 5.0, "largest R of diffusion"),
        of_log(by_label[high] - by_label[low], "above", 100.0, "classification, R quotient"),
        of_log(by_noise[high] - by_noise[low], "below", 9.0, "diffusion, R quotient"),
    ]
    return Verdict.all_of(*verdicts)


def figure(table: pd.DataFrame) -> Chart:
    """R over n SNR^2; bars of signal against noise; filters as pictures."""
    logs = with_log(table)
    ratios = [_curve(logs[logs["network"] == network], network) for network in NETWORKS]
    panels = [
        Panel(
            "Digits over noise",
            "n SNR²",
            "R",
            ratios,
            log_x=True,
            log_y=True,
            rule=1.0,
            rule_label="R = 1",
        )
    ]
    ends = (STRENGTHS[0], STRENGTHS[-1])
    places = [(network, n_snr2) for network in NETWORKS for n_snr2 in ends]
    at = table.set_index(["network", "n_snr2"]).sort_index()
    bars = [
        Series(
            label,
            range(len(places)),
            [at[column].loc[place].pipe(_mean) for place in places],
            style="bars",
        )
        for label, column in (
            ("class means", "signal"),
            ("trained noise", "noise"),
            ("fresh noise", "fresh_noise"),
        )
    ]
    names = [f"{network[:7]}., {n_snr2:g}" for network, n_snr2 in places]
    panels.append(
        Panel(
            "What the filters answer to",
            "network and n SNR²",
            "largest product",
            bars,
            log_y=True,
            categories=names,
        )
    )
    right = seed_curve(table[table["network"] == "classification"], "n_snr2", "accuracy")
    x, value, low, high = (right[name].to_list() for name in ("x", "value", "low", "high"))
    accuracy = Series("classification", x, value, low, high)
    panels.append(
        Panel(
            "Digits never seen, beside fresh noise",
            "n SNR²",
            "accuracy",
            [accuracy],
            log_x=True,
            rule=0.5,
            rule_label="guessing",
        )
    )
    first = table[table["seed"] == table["seed"].min()].set_index(["network", "n_snr2"])
    for network, n_snr2 in places:
        text = str(first.loc[(network, n_snr2), "filter"])
        pixels = [[float(value) for value in row.split()] for row in text.split(";")]
        heat = HeatMap(range(len(pixels[0])), range(len(pixels)), pixels[::-1], "weight")
        panels.append(Panel(f"{network}, n SNR² = {n_snr2:g}", "column", "row", heat=heat))
    return Chart(
        panels,
        "Geometric means over seeds with 95 % intervals; pictures: the filter with "
        "the largest product with a class mean, first seed, in blocks of pixels.",
    )


def _mean(values: pd.Series) -> float:
    return float(10.0 ** np.log10(values).mean())


def _curve(rows: pd.DataFrame, label: str) -> Series:
    curve = seed_curve(rows, "n_snr2", "y")
    value, low, high = ((10.0 ** curve[name]).to_list() for name in ("value", "low", "high"))
    return Series(label, curve["x"].to_list(), value, low, high)


EXPERIMENT = Experiment(
    claim="With digits of MNIST for signal, a denoiser's filters stay balanced at every strength, "
    "and a classifier's go from noise to digits.",
    paper="2412.01021",
    source="Noisy-MNIST experiment, seen through reviews; measure and thresholds are ours",
    kind="learnability",
    grid={
        "images": ("mnist",),
        "n_points": (60,),
        "classifier_steps": (2000,),
        "denoiser_steps": (6000,),
    },
    quick={
        "images": ("mnist",),
        "n_points": (60,),
        "classifier_steps": (1000,),
        "denoiser_steps": (2000,),
    },
    tiny={
        "images": ("made",),
        "n_points": (20,),
        "classifier_steps": (300,),
        "denoiser_steps": (500,),
    },
    n_seeds=10,
    quick_seeds=5,
    tiny_seeds=4,
    measure=measure,
    holds=holds,
    figure=figure,
    not_the_authors="the SNRs, how they are set, classes, number of images, networks, schedule, "
    "steps and the measure were not found",
    controls={
        "labels for both": Control(
            measure=partial(measure, denoises=False), says="the denoiser is a second classifier"
        ),
        "untrained": Control(measure=partial(measure, patience=0.01), says="a few steps"),
    },
    cost="quick 20 s, full 85 s on one core",
)
