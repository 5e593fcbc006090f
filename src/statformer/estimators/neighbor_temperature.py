"""The temperature, and the weight of the prior, that best predict labels of left-out rows.

Source: ours. Axes: n rows of the context, q of them left out in turn, d columns, v entries of a
label.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize_scalar

from statformer.estimators.neighbor_context import Scores

Matrix = np.ndarray
CONTEXT = 5000  # rows drawn
LEFT_OUT = 1000  # of these, each in turn
# Weights of the class prior beside n_effective rows. One surprise costs log(rows) or so: below the
# least of them a thousand left-out rows would not tell how rare surprises are.
PRIOR_ROWS = (0.03, 0.1, 0.3, 1.0, 3.0)
_GRID = 10
_NEAR, _FAR = 1e-2, 1e1  # the search goes from a hundredth of a near distance to ten mean ones


class Told(NamedTuple):
    """How well left-out labels are told, and with which weight of the prior."""

    loss: float
    prior_rows: float


class Calibrated(NamedTuple):
    """What `calibrate` found."""

    temperature: float
    prior_rows: float


# (labels read "q v", n_effective "q", labels "q v") -> mean loss, and the weight that it is of
Loss = Callable[[Matrix, Matrix, Matrix], Told]


def mix_with_prior(
    share: Float[np.ndarray, "q v"],
    n_effective: Float[np.ndarray, " q"],
    prior: Float[np.ndarray, " v"],
    prior_rows: float,
) -> Float[np.ndarray, "q v"]:
    """(n_eff share + prior_rows prior) / (n_eff + prior_rows): few rows are not believed wholly."""
    n_eff = n_effective[:, None]
    return (n_eff * share + prior_rows * prior) / (n_eff + prior_rows)


def class_loss(prior: Float[np.ndarray, " v"]) -> Loss:
    """- mean log p(class), in nats, p mixed with the prior at the best of `PRIOR_ROWS`.

    One copy of a left-out row earns at most p = (1 + 0.03 prior) / 1.03.
    """

    def loss(read: Matrix, n_effective: Matrix, labels: Matrix) -> Told:
        own = labels > 0
        share, of_class = read[own][:, None], np.broadcast_to(prior, read.shape)[own][:, None]
        told = []
        for rows in PRIOR_ROWS:
            p = mix_with_prior(share, n_effective, of_class, rows)
            told.append(Told(-float(np.log(p).mean()), rows))
        return min(told)

    return loss


def squared_loss(scale: Float[np.ndarray, " v"]) -> Loss:
    """Mean over rows and entries of ((answer - label) / scale)^2."""

    def loss(read: Matrix, n_effective: Matrix, labels: Matrix) -> Told:  # noqa: ARG001
        return Told(float((((read - labels) / scale) ** 2).mean()), 0.0)

    return loss


def calibrate(X: Matrix, labels: Any, loss: Loss, rng: np.random.Generator) -> Calibrated:
    """T > 0 and the weight of the prior of least leave-one-out loss, by a bounded search on log T.

    Up to 5,000 rows are drawn and each of up to 1,000 of them is left out in turn. Rows that occur
    several times always with the same label are taken once: as copies of what is left out they
    would make T = 0 look perfect. Where equal rows disagree they are repeated observations, and all
    stay. `labels[index]` is "n v". 1.0 where rows do not differ.
    """
    chosen = np.arange(len(X))
    if len(X) > LEFT_OUT:  # in a random order, for the first ones are left out
        chosen = rng.permutation(len(X))[:CONTEXT]
    rows, truth = X[chosen].astype(np.float64), labels[chosen]
    once = _once(rows, truth)
    if once is not None:
        rows, truth = rows[once], truth[once]
    squares = _distances(rows, min(len(rows), LEFT_OUT))
    apart = np.where(squares > 0, squares, np.inf).min(axis=1)
    apart = apart[np.isfinite(apart)]
    if len(apart) == 0:
        alike = np.broadcast_to(truth.mean(axis=0), truth.shape)
        return Calibrated(1.0, loss(alike, np.full(len(truth), len(truth)), truth).prior_rows)
    low = np.log(_NEAR * np.quantile(apart, 0.05))
    high = np.log(_FAR * squares[np.isfinite(squares)].mean(dtype=np.float64))
    squares -= squares.min(axis=1, keepdims=True)
    told = truth[: len(squares)]

    def at(log_t: float) -> Told:
        mass = np.exp(squares * squares.dtype.type(-np.exp(-log_t)))
        total = mass.sum(axis=1, dtype=np.float64)
        n_effective = total**2 / np.einsum("qn,qn->q", mass, mass, dtype=np.float64)
        return loss((mass @ truth) / total[:, None], n_effective, told)

    grid = np.linspace(low, high, _GRID)
    best = int(np.argmin([at(log_t).loss for log_t in grid]))
    ends = grid[max(best - 1, 0)], grid[min(best + 1, _GRID - 1)]
    found = minimize_scalar(
        lambda log_t: at(log_t).loss, bounds=ends, method="bounded", options={"xatol": 0.02}
    )
    return Calibrated(float(np.exp(found.x)), at(found.x).prior_rows)


def _once(rows: Matrix, truth: Matrix) -> Matrix | None:
    """The distinct rows where none occurs with two labels; None where one does."""
    _, first = np.unique(rows, axis=0, return_index=True)
    both = np.unique(np.column_stack([rows, truth]), axis=0)
    return np.sort(first) if len(first) == len(both) else None


def _distances(rows: Matrix, n_left_out: int) -> Float[np.ndarray, "q n"]:
    """|x_n - x_q|^2 of the first rows to all rows, float32; infinite to themselves."""
    scores = Scores(1.0, rows.mean(axis=0))
    keys = scores.keys(rows)
    own = -keys[:n_left_out, -1:]
    squares = own - scores.queries(rows[:n_left_out]) @ keys.T
    squares[np.arange(n_left_out), np.arange(n_left_out)] = np.inf
    # rounding makes distances of equal rows a little more or less than 0
    squares[squares < 1e-12 * own] = 0.0
    return squares.astype(np.float32)
