"""Looped attention trained on fresh tasks, and the best it could be.

What the authors used (optimizer, rates, batches, numbers of points) was not found. Here: Adam with
a falling rate, or plain gradient descent, on `expected_error` of fresh second moments.

Axes: b tasks, n points, d features.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import minimize_scalar
from torch import Tensor

from statformer.nn.looped import LoopedAttention
from statformer.objectives.looped import expected_error

D = 10
SPREAD = tuple(float(e) for e in np.geomspace(0.5, 2.0, D))
BATCH = 256


def covariance(name: str) -> Float[Tensor, " d"]:
    """Eigenvalues of Sigma: "identity", or "spread" from 1/2 to 2."""
    return (
        torch.ones(D, dtype=torch.float64) if name == "identity" else torch.tensor(SPREAD).double()
    )


def second_moments(
    n_tasks: int, n_points: int, eigenvalues: Float[Tensor, " d"], rng: np.random.Generator
) -> Float[Tensor, "b d d"]:
    """S = X'X / n of n >= d points x ~ N(0, Sigma), drawn as a Wishart matrix (Bartlett 1933).

    Raises ValueError for fewer points than features, where the triangular factor is another.
    """
    d = len(eigenvalues)
    if n_points < d:
        raise ValueError(f"{n_points} points of {d} features; pass at least as many points")
    lower = np.tril(rng.standard_normal((n_tasks, d, d)), -1)
    chi = np.sqrt(rng.chisquare(n_points - np.arange(d), size=(n_tasks, d)))
    lower[:, np.arange(d), np.arange(d)] = chi
    factor = eigenvalues.sqrt()[:, None] * torch.from_numpy(lower)
    return factor @ factor.mT / n_points


def fresh(
    n_layers: int, n_loops: int, rng: np.random.Generator, d: int = D, size: float = 0.01
) -> LoopedAttention:
    """Small normal weights."""
    A, u = rng.standard_normal((n_layers, d, d)), rng.standard_normal((n_layers, d))
    return LoopedAttention(torch.from_numpy(size * A), torch.from_numpy(size * u), n_loops)


def train(
    network: LoopedAttention,
    loss: Callable[[LoopedAttention], Tensor],
    n_steps: int,
    rate: float = 0.03,
) -> LoopedAttention:
    """Adam; the rate falls to 0 along a cosine."""
    optimizer = torch.optim.Adam(network.parameters(), lr=rate, betas=(0.9, 0.9))
    falling = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: 0.5 * (1.0 + math.cos(math.pi * step / n_steps))
    )
    for _ in range(n_steps):
        optimizer.zero_grad()
        torch.autograd.backward(loss(network))
        optimizer.step()
        falling.step()
    return network


def fresh_loss(
    n_points: int,
    eigenvalues: Float[Tensor, " d"],
    rng: np.random.Generator,
    mean: Float[Tensor, " d"] | None = None,
) -> Callable[[LoopedAttention], Tensor]:
    """Mean `expected_error` of a new batch at every call; `mean` is that of w."""

    def loss(network: LoopedAttention) -> Tensor:
        S = second_moments(BATCH, n_points, eigenvalues, rng)
        return expected_error(network, S, eigenvalues, mean).mean()

    return loss


def best_scalar(
    n_points: int, n_loops: int, rng: np.random.Generator, n_tasks: int = 4000
) -> tuple[float, float]:
    """(a, loss) of the best A = a I for Sigma = I: n / (n + d + 1) for one loop, else Monte Carlo.

    The loss at a is E sum_i (1 - a s_i)^(2 L) over the eigenvalues s of S.
    """
    if n_loops == 1:
        return n_points / (n_points + D + 1), D * (D + 1) / (n_points + D + 1)
    S = second_moments(n_tasks, n_points, covariance("identity"), rng)
    s = torch.linalg.eigvalsh(S).numpy()

    def loss(a: float) -> float:
        return float(((1.0 - a * s) ** (2 * n_loops)).sum(axis=1).mean())

    found = minimize_scalar(loss, bounds=(0.0, 1.2), method="bounded", options={"xatol": 1e-5})
    return float(found.x), float(found.fun)


def whitened(A: Float[Tensor, "d d"], eigenvalues: Float[Tensor, " d"]) -> Float[np.ndarray, "d d"]:
    """Sigma^(1/2) A Sigma^(1/2)."""
    root = eigenvalues.sqrt()
    return (root[:, None] * A.detach() * root).numpy()
