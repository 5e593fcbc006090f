"""Tables for the constructions of Bai et al.: drawn from their prior, as numpy arrays.

Axes: b tables, n context points, d features.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float

from statformer.tasks.linear_regression import LinearRegressionPrior
from statformer.tasks.stream import TaskStream

Array = np.ndarray


class Prompts(NamedTuple):
    """X "b n d", y "b n", query "b 1 d", the true weights w "b d" and the noise "b"."""

    X: Float[Array, "b n d"]
    y: Float[Array, "b n"]
    query: Float[Array, "b 1 d"]
    w: Float[Array, "b d"]
    noise_std: Float[Array, " b"]


def draw(prior: LinearRegressionPrior, n_tables: int, rng: np.random.Generator) -> Prompts:
    """Tables in float64."""
    stream = TaskStream(int(rng.integers(2**31)), 0, range(n_tables), dtype=torch.float64)
    tasks = prior.sample(stream)
    arrays = (tasks.X, tasks.y, tasks.query[:, None], tasks.w, tasks.noise_std)
    return Prompts(*(array.numpy() for array in arrays))


def spectrum(X: Float[Array, "n d"]) -> tuple[float, float]:
    """(alpha, beta): the extreme eigenvalues of X'X / n."""
    eigenvalues = np.linalg.eigvalsh(X.T @ X / len(X))
    return max(float(eigenvalues[0]), 0.0), float(eigenvalues[-1])
