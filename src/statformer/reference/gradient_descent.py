"""Gradient descent for regressions, one table at a time, written to be read.

The risks have the factor 1 / n, all paths begin at w = 0, and row t of a path is w after t steps.

    ridge      (1 / 2n) |X w - y|^2 + (penalty / 2) |w|^2
    lasso      (1 / 2n) |X w - y|^2 + penalty |w|_1
    logistic   (1 / n) sum_i [log(1 + exp(s_i)) - y_i s_i] + (penalty / 2) |w|^2,   s = X w

Axes: n points, d features, t steps.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from scipy.special import expit

Array = np.ndarray
Vector = Float[Array, " d"]


def descend(
    step: Callable[[Vector], Vector], n_features: int, n_steps: int
) -> Float[Array, "t_plus_1 d"]:
    """w <- step(w), `n_steps` times from 0.

    Raises ValueError for a negative number of steps.
    """
    if n_steps < 0:
        raise ValueError(f"n_steps={n_steps}: pass 0 or more")
    path = np.zeros((n_steps + 1, n_features))
    for t in range(n_steps):
        path[t + 1] = step(path[t])
    return path


def ridge_path(
    X: Float[Array, "n d"], y: Float[Array, " n"], step_size: float, penalty: float, n_steps: int
) -> Float[Array, "t_plus_1 d"]:
    """w <- w - step_size [X' (X w - y) / n + penalty w]."""

    def step(w: Vector) -> Vector:
        return w - step_size * (X.T @ (X @ w - y) / len(X) + penalty * w)

    return descend(step, X.shape[1], n_steps)


def lasso_path(
    X: Float[Array, "n d"], y: Float[Array, " n"], step_size: float, penalty: float, n_steps: int
) -> Float[Array, "t_plus_1 d"]:
    """w <- shrink(w - step_size X' (X w - y) / n, step_size penalty): proximal gradient descent."""

    def step(w: Vector) -> Vector:
        return soft_threshold(w - step_size * (X.T @ (X @ w - y) / len(X)), step_size * penalty)

    return descend(step, X.shape[1], n_steps)


def logistic_path(
    X: Float[Array, "n d"], y: Float[Array, " n"], step_size: float, penalty: float, n_steps: int
) -> Float[Array, "t_plus_1 d"]:
    """w <- w - step_size [X' (sigmoid(X w) - y) / n + penalty w], labels y of 0 and 1."""

    def step(w: Vector) -> Vector:
        return w - step_size * (X.T @ (expit(X @ w) - y) / len(X) + penalty * w)

    return descend(step, X.shape[1], n_steps)


def soft_threshold(w: Float[Array, "*d"], threshold: float) -> Float[Array, "*d"]:
    """sign(w) max(|w| - threshold, 0): the proximal step of threshold |w|_1."""
    return np.asarray(np.sign(w) * np.maximum(np.abs(w) - threshold, 0.0))


def lasso_objective(
    X: Float[Array, "n d"], y: Float[Array, " n"], w: Vector, penalty: float
) -> float:
    """(1 / 2n) |X w - y|^2 + penalty |w|_1."""
    residual = X @ w - y
    return float(residual @ residual / (2 * len(X)) + penalty * np.abs(w).sum())
