"""Along training |grad L|^2 is at least L^((2 L - 1) / L) / 16 while the loss is not tiny.

arXiv 2410.08292, Theorem 3.4, seen through reading notes; its threshold of "tiny" was not found. At
finite n the gradient is 0 at the minimum and the loss is not, so the inequality must end somewhere:
here it is asked for while the loss is above 10 times that of the best multiple of I (ours). Plain
gradient descent on A, u = 0, Sigma = I, n >> d; loss and gradient of a logged point are means over
4,000 fresh second moments.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from statformer.experiments._looped import BATCH, D, best_scalar, covariance, second_moments
from statformer.experiments.base import Cell, Control, Experiment, Row, Verdict
from statformer.nn.looped import LoopedAttention
from statformer.objectives.looped import expected_error
from statformer.plotting.chart import Chart, Panel, Series

N_LOGGED = 30
N_PROBES = 4000
CONSTANT = 1.0 / 16.0
TINY = 10.0  # times the loss of the best multiple of I


def measure(
    cell: Cell, rng: np.random.Generator, *, gradient_factor: float = 1.0, to_the_end: bool = False
) -> Sequence[Row]:
    """Loss, squared gradient and their ratio to the bound at points evenly spaced in log steps."""
    n_loops, n = cell["loops"], cell["n"]
    start = torch.from_numpy(0.05 * rng.standard_normal((1, D, D)))
    network = LoopedAttention(start, torch.zeros(1, D, dtype=torch.float64), n_loops)
    rate = 0.5 / (2 * n_loops * (2 * n_loops - 1))  # half of 1 / curvature at A = 0
    floor = best_scalar(n, n_loops, rng)[1]
    logged = set(np.unique(np.geomspace(1, cell["steps"], N_LOGGED).astype(int)).tolist())
    rows = []
    for step in range(1, cell["steps"] + 1):
        if step in logged:
            loss, gradient = _loss_and_gradient(network, N_PROBES, n, rng)
            squared = float(gradient.square().sum()) * gradient_factor**2
            bound = CONSTANT * loss ** ((2 * n_loops - 1) / n_loops)
            rows.append(
                {
                    "step": step,
                    "loss": loss,
                    "squared_gradient": squared,
                    "ratio": squared / bound,
                    "counts": to_the_end or loss > TINY * floor,
                }
            )
        _, gradient = _loss_and_gradient(network, BATCH, n, rng)
        with torch.no_grad():
            network.A.sub_(rate * gradient)
    return rows


def _loss_and_gradient(
    network: LoopedAttention, n_tasks: int, n_points: int, rng: np.random.Generator
) -> tuple[float, Tensor]:
    eigenvalues = covariance("identity")
    S = second_moments(n_tasks, n_points, eigenvalues, rng)
    loss = expected_error(network, S, eigenvalues).mean()
    (gradient,) = torch.autograd.grad(loss, network.A)
    return float(loss.item()), gradient


def holds(table: pd.DataFrame) -> Verdict:
    """The least ratio to the bound, of points that count, is at least 1."""
    counted = table[table["counts"]]
    decades = np.log10(counted["loss"].max() / counted["loss"].min())
    return Verdict.above(
        float(counted["ratio"].min()),
        1.0,
        threshold_source="paper",
        what=f"least |grad|^2 / bound over {decades:.1f} decades of the loss",
    )


def figure(table: pd.DataFrame) -> Chart:
    """Squared gradient against loss; the dashed line is the bound."""
    panels = []
    for n_loops in sorted(int(one) for one in table["loops"].unique()):
        rows = table[table["loops"] == n_loops]
        x = np.geomspace(rows["loss"].min(), rows["loss"].max(), 20)
        power = (2 * n_loops - 1) / n_loops
        series = [
            Series(
                "above 10 floors" if counts else "below",
                some["loss"].to_list(),
                some["squared_gradient"].to_list(),
                style="points",
            )
            for counts, some in rows.groupby("counts")
        ]
        series.append(Series("bound", x.tolist(), (CONSTANT * x**power).tolist(), style="dashed"))
        title = f"{n_loops} loops"
        panels.append(Panel(title, "loss", "|grad|^2", series, log_x=True, log_y=True))
    return Chart(panels, "All seeds; gradient descent from a small start.")


EXPERIMENT = Experiment(
    claim="Along training the squared gradient is at least 1/16 of the loss to the power "
    "(2 L - 1) / L, while the loss is not tiny.",
    paper="2410.08292",
    source="Theorem 3.4, seen through reading notes; its threshold of tiny was not found",
    kind="learnability",
    grid={"loops": (1, 2, 3, 5), "n": (200, 2000), "steps": (3000,)},
    quick={"loops": (1, 2, 4), "n": (1000,), "steps": (600,)},
    tiny={"loops": (1,), "n": (1000,), "steps": (60,)},
    n_seeds=5,
    quick_seeds=3,
    measure=measure,
    holds=holds,
    figure=figure,
    not_the_authors="number of points, start and where the loss is tiny were not found",
    controls={
        "weak gradient": Control(
            measure=partial(measure, gradient_factor=0.05), says="a twentieth of the gradient"
        ),
        "to the end": Control(
            measure=partial(measure, to_the_end=True),
            says="points at the minimum of finite n count, too",
        ),
    },
    cost="quick 22 s on one core",
)
