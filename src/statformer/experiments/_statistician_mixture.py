"""Ridges of several penalties, chosen among by validation, beside the exact Bayes predictor.

The folded form of `RidgeSelector`: the closed form of its layers, run until they are within 1e-6 of
ridge regression; the choice by `mixing_weights`. The query x ~ N(0, I) is integrated out, so a
predictor w has the risk sigma^2 + |w - w_true|^2 exactly.

Axes: b tables, n context points, d features, k noise levels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from statformer.constructions.algorithm_selection import mixing_weights
from statformer.experiments._statistician import Prompts
from statformer.nn.folded import n_ridge_layers, ridge_factors
from statformer.reference.ridge import bayes_penalty, mixture_bayes, ridge

NOISE_STDS = (0.1, 0.5)  # the paper's pair
N_FEATURES = 20
GAMMA = 1e-3
ERROR = 1e-6

Array = np.ndarray


def n_validation(n_context: int) -> int:
    """ceil(N^(2/3) (log K)^(1/3)): the size of the split in Theorem 17."""
    return math.ceil(n_context ** (2 / 3) * math.log(len(NOISE_STDS)) ** (1 / 3))


def ridge_stack(X: Float[Array, "n d"], y: Float[Array, " n"], penalty: float) -> Array:
    """The weights that the layers for this penalty end with, within `ERROR` of ridge."""
    n = len(X)
    e, U = np.linalg.eigh(X.T @ X / n)
    e = np.maximum(e, 0.0)
    depth = n_ridge_layers(e, penalty, ERROR)
    factors = ridge_factors(e, penalty, float(1.0 / (e.max() + penalty)), depth)
    return np.asarray(U @ (factors * (U.T @ (X.T @ y / n))))


def select(
    X: Float[Array, "n d"],
    y: Float[Array, " n"],
    validation: tuple[Float[Array, "v d"], Float[Array, " v"]],
) -> Float[Array, " d"]:
    """sum_k weight_k w_k: fitted on (X, y), weighed by the loss on the validation points."""
    penalties = [bayes_penalty(sigma, *X.shape) for sigma in NOISE_STDS]
    W = np.stack([ridge_stack(X, y, penalty) for penalty in penalties])
    losses = 0.5 * np.square(W @ validation[0].T - validation[1]).mean(axis=1)
    return np.asarray(mixing_weights(losses, GAMMA) @ W)


def excess(w: Float[Array, " d"], truth: Float[Array, " d"]) -> float:
    """|w - truth|^2: the risk above the noise."""
    return float(np.sum((w - truth) ** 2))


def split(prompts: Prompts, table: int, size: int) -> tuple[Array, Array, tuple[Array, Array]]:
    """X and y of the points that train, and the last `size` that validate."""
    X, y = prompts.X[table], prompts.y[table]
    return X[:-size], y[:-size], (X[-size:], y[-size:])


def rivals(prompts: Prompts, table: int, noise_stds: Sequence[float]) -> dict[str, float]:
    """Excess of the mixture Bayes predictor and of every fixed penalty; all points train."""
    X, y, truth = prompts.X[table], prompts.y[table], prompts.w[table]
    found = {"bayes": excess(mixture_bayes(X, y, noise_stds), truth)}
    for sigma in noise_stds:
        w = ridge(X, y, bayes_penalty(sigma, *X.shape))
        found[f"fixed {sigma:g}"] = excess(w, truth)
    return found
