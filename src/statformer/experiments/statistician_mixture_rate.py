"""The excess risk of validation in context over the Bayes risk falls at least like N^(-1/3).

arXiv 2306.04637, Theorem 17: for each noise level the risk is at most the Bayes risk of that level
plus O((log K / N)^(1/3)) up to logarithms. Both are measured exactly but for the draw of tables.
The slope is fitted from N = 40, twice d, over 1.8 decades (2.4 in full).
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd

from statformer.experiments._statistician import draw
from statformer.experiments._statistician_mixture import (
    N_FEATURES,
    NOISE_STDS,
    excess,
    n_validation,
    select,
    split,
)
from statformer.experiments.base import Cell, Control, Experiment, Row, Verdict
from statformer.plotting.chart import Chart, Panel, Series
from statformer.reference.ridge import bayes_penalty, ridge
from statformer.runs.fits import fit_line
from statformer.tasks.linear_regression import LinearRegressionPrior

N_TABLES = 50  # per cell and seed
RATE = -1.0 / 3.0


def measure(cell: Cell, rng: np.random.Generator, *, frozen: bool = False) -> Row:
    """Mean risk of the selector above that of the ridge which knows the noise level."""
    sigma, n = cell["noise"], cell["n"]
    prompts = draw(LinearRegressionPrior(N_FEATURES, n, noise_stds=(sigma,)), N_TABLES, rng)
    above = 0.0
    for table in range(N_TABLES):
        X, y, truth = prompts.X[table], prompts.y[table], prompts.w[table]
        some = slice(None, 40 if frozen else None)
        kept = prompts._replace(X=prompts.X[:, some], y=prompts.y[:, some])
        own = excess(select(*split(kept, table, n_validation(len(kept.X[0])))), truth)
        above += (own - excess(ridge(X, y, bayes_penalty(sigma, *X.shape)), truth)) / N_TABLES
    return {"above_bayes": above}


def holds(table: pd.DataFrame) -> Verdict:
    """The slope of log excess over log N is at most -1/3 for each noise level."""
    verdicts = []
    for noise, rows in table.groupby("noise"):
        means = rows.groupby(["n", "seed"])["above_bayes"].mean().clip(lower=1e-12).reset_index()
        fit = fit_line(
            np.log10(means["n"].to_numpy(dtype=np.float64)),
            np.log10(means["above_bayes"].to_numpy()),
            np.random.default_rng(0),
            means["seed"].to_numpy(),
        )
        verdicts.append(
            Verdict.below(
                fit.slope,
                RATE,
                threshold_source="paper",
                interval=fit.interval,
                what=f"slope at noise {noise:g} over {fit.decades:.1f} decades",
            )
        )
    return Verdict.all_of(*verdicts)


def figure(table: pd.DataFrame) -> Chart:
    """Excess over N; the dashed line falls like N^(-1/3)."""
    series = []
    for noise, rows in table.groupby("noise"):
        by_n = rows.groupby("n")["above_bayes"]
        mean = by_n.mean()
        series.append(
            Series(
                f"noise {noise:g}",
                list(mean.index),
                mean.to_list(),
                by_n.min().clip(lower=1e-9).to_list(),
                by_n.max().to_list(),
            )
        )
    n = sorted(table["n"].unique())
    top = float(table[table["n"] == n[0]]["above_bayes"].max())
    line = [top * (one / n[0]) ** RATE for one in n]
    series.append(Series("N^(-1/3)", n, line, style="dashed"))
    panel = Panel(
        "Risk above the Bayes risk", "context points N", "excess", series, log_x=True, log_y=True
    )
    return Chart([panel], "Mean over seeds; bands from the least to the largest.")


EXPERIMENT = Experiment(
    claim="On each noise level of a mixture the constructed selector's risk exceeds the Bayes risk "
    "by no more than order N^(-1/3).",
    paper="2306.04637",
    source="Theorem 17, read in the paper's text",
    kind="existence",
    grid={"noise": NOISE_STDS, "n": (40, 80, 160, 640, 2560, 10240)},
    quick={"noise": NOISE_STDS, "n": (40, 80, 160, 640, 2560)},
    tiny={"noise": (0.5,), "n": (40, 160, 640)},
    n_seeds=40,
    quick_seeds=12,
    tiny_seeds=3,
    measure=measure,
    holds=holds,
    figure=figure,
    controls={
        "frozen": Control(
            measure=partial(measure, frozen=True), says="only the first 40 points are heard"
        )
    },
    cost="quick 4 s on one core",
)
