"""A loop of linear attention is a step of preconditioned gradient descent.

arXiv 2410.08292; the paper's body was not available, the equivalence is derived and its item 1 is
that of what a reproduction must show: with u = 0 the answer is <w_L, x>, where w_0 = 0 and
w <- w + A' (1 / n) X' (y - X w). The threshold is float64 rounding; sizes are ours.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import torch

from statformer.experiments.base import Cell, Control, Experiment, Row, Verdict
from statformer.nn.looped import LoopedAttention
from statformer.plotting.chart import Chart, Panel, Series
from statformer.reference.gradient_descent import descend
from statformer.tasks.linear_regression import CovariateRegressionPrior
from statformer.tasks.stream import TaskStream

N_TASKS = 16
ROUNDING = 1e-11


def measure(
    cell: Cell,
    rng: np.random.Generator,
    *,
    step_error: float = 0.0,
    u_size: float = 0.0,
    heard_query: bool = False,
) -> Row:
    """Largest gap of the answers, relative to the largest answer."""
    d, n, n_loops = cell["d"], cell["n"], cell["loops"]
    stream = TaskStream(int(rng.integers(2**31)), 0, range(N_TASKS), dtype=torch.float64)
    tasks = CovariateRegressionPrior((1.0,) * d, n).sample(stream)
    A = 0.3 * np.eye(d) + 0.1 * rng.standard_normal((d, d)) / d**0.5
    network = LoopedAttention(
        torch.from_numpy((1.0 + step_error) * A)[None],
        torch.full((1, d), u_size, dtype=torch.float64),
        n_loops,
    )
    with torch.no_grad():
        answers = network(tasks.X, tasks.y, tasks.query).numpy()
    references = []
    for X, y, query in zip(
        *(part.numpy() for part in (tasks.X, tasks.y, tasks.query)), strict=True
    ):
        if heard_query:  # as if the mask let the query in, whose label reads 0
            X, y = np.vstack([X, query]), np.append(y, 0.0)  # noqa: PLW2901
        path = descend(partial(_step, X=X, y=y, A=A, n=n), d, n_loops)
        references.append(path[-1] @ query)
    gap = np.abs(answers - references).max() / np.abs(references).max()
    return {"gap": float(gap)}


def _step(w: np.ndarray, X: np.ndarray, y: np.ndarray, A: np.ndarray, n: int) -> np.ndarray:
    return np.asarray(w + A.T @ (X.T @ (y - X @ w)) / n)


def holds(table: pd.DataFrame) -> Verdict:
    """The worst gap is rounding."""
    return Verdict.below(
        float(table["gap"].max()), ROUNDING, threshold_source="ours", what="largest relative gap"
    )


def figure(table: pd.DataFrame) -> Chart:
    """Worst gap over loops."""
    series = []
    for d, rows in table.groupby("d"):
        worst = rows.groupby("loops")["gap"].max()
        series.append(Series(f"d = {d}", list(worst.index), worst.clip(lower=1e-18).to_list()))
    panel = Panel(
        "Loops against gradient descent",
        "loops",
        "largest relative gap",
        series,
        log_y=True,
        rule=ROUNDING,
        rule_label="rounding",
    )
    return Chart([panel], "Worst over tasks, seeds and numbers of points.")


EXPERIMENT = Experiment(
    claim="L loops of linear attention are L steps of gradient descent, preconditioned by A.",
    paper="2410.08292",
    source="item 1 of what a reproduction must show; derived from the layer, the paper's body was "
    "not available",
    kind="existence",
    grid={"d": (2, 10, 30), "n": (5, 40, 200), "loops": (1, 2, 5, 10, 20)},
    quick={"d": (2, 10), "n": (5, 40), "loops": (1, 2, 5, 10)},
    tiny={"d": (3,), "n": (8,), "loops": (1, 4)},
    n_seeds=10,
    quick_seeds=5,
    measure=measure,
    holds=holds,
    figure=figure,
    controls={
        "step size": Control(
            measure=partial(measure, step_error=1e-6), says="A is off by one part in a million"
        ),
        "u": Control(measure=partial(measure, u_size=1e-6), says="u is not 0"),
        "mask": Control(
            measure=partial(measure, heard_query=True), says="descent hears the query, too"
        ),
    },
    cost="quick 1 s on one core",
)
