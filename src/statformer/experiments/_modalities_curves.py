"""A run of both methods of arXiv 2411.02837, and all that its Figure 1 may have plotted.

Which statistic the paper's panels show is not found, so the largest and the mean are recorded, of
inner products and of the coefficients of w_r(t) = w_r(0) + gamma_r mu / |mu|^2 + sum_i rho_ri xi_i
/ |xi_i|^2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from statformer.experiments._feature_tracks import decompose, products
from statformer.experiments._modalities import (
    METHODS,
    NONE,
    Contrast,
    Faults,
    Probe,
    paired_prior,
    scene,
    stream_of,
)
from statformer.experiments._seeds import OverSeeds, over_seeds, seed_curve
from statformer.experiments.base import Cell, Row
from statformer.plotting.chart import Series

N, D, NORM, RATIO = 100, 2000, 5.0, 3.0  # the paper's


def measure_curves(cell: Cell, rng: np.random.Generator, *, faults: Faults = NONE) -> Sequence[Row]:
    """Both methods from one start on one training set; a row at each of n_times epochs.

    loss            of training; "loss_share" is it over its first value
    accuracy        out of distribution, of a head fitted on other such samples
    accuracy_head   the same of a head fitted on the training samples
    signal, noise   the largest |<w_r, mu>| and |<w_r, xi_i>|; with "_mean" the mean
    gamma, rho      the largest coefficients; with "_mean" the mean of their sizes
    """
    stream = stream_of(rng)
    prior = paired_prior(N, D, NORM, RATIO, projected=False)
    at = scene(prior, cell["sigma0"], stream, faults=faults)
    probe = Probe(prior.first, at, stream)
    epochs = cell["epochs"]
    times = set(np.linspace(0, epochs, cell["n_times"]).astype(int).tolist())
    rows: list[Row] = []
    for method in METHODS:
        contrast = Contrast(at, method, cell["tau"], faults=faults)
        contrast.descend(epochs, _recorder(contrast, probe, times, rows))
    return rows


def _recorder(
    contrast: Contrast, probe: Probe, times: set[int], rows: list[Row]
) -> Callable[[int], None]:
    first, first_loss = contrast.scene.first, contrast.loss()

    def watch(t: int) -> None:
        if t not in times:
            return
        W, loss = contrast.encoder.W.detach(), contrast.loss()
        found = products(W, first.mu, first.xi)
        moved = decompose(W, first.W, first.mu, first.xi)
        row: dict[str, float | str] = {
            "method": contrast.method,
            "epoch": t,
            "loss": loss,
            "loss_share": loss / first_loss,
            "accuracy": probe.accuracy(contrast.encoder),
            "accuracy_head": probe.accuracy(contrast.encoder, fit_on=probe.train),
        }
        for name, values in (
            ("signal", found.signal),
            ("noise", found.noise),
            ("gamma", moved.gamma),
            ("rho", moved.rho),
        ):
            row[name] = float(values.abs().max())
            row[f"{name}_mean"] = float(values.abs().mean())
        rows.append(row)

    return watch


def at_end(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """What `column` is after the last epoch: a line per seed, a column per method."""
    last = table[table["epoch"] == table["epoch"].max()]
    return last.pivot(index="seed", columns="method", values=column)


def quotient(table: pd.DataFrame, column: str, over: str, under: str) -> OverSeeds:
    """The geometric mean over seeds of one method's `column` over the other's, at the end."""
    ends = at_end(table, column)
    found = over_seeds((ends[over] / ends[under]).map(np.log))
    return OverSeeds(*(float(np.exp(value)) for value in found))


def method_series(
    table: pd.DataFrame, column: str, label: str = "", *, dashed: bool = False
) -> list[Series]:
    """`column` over the epochs, a curve for each method with its interval over seeds."""
    series = []
    for method in METHODS:
        curve = seed_curve(table[table["method"] == method], "epoch", column)
        low, high = (None, None) if dashed else (curve["low"].to_list(), curve["high"].to_list())
        series.append(
            Series(
                f"{method}-modal{label}",
                curve["x"].to_list(),
                curve["value"].to_list(),
                low,
                high,
                style="dashed" if dashed else "line",
            )
        )
    return series
