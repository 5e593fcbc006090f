"""Pieces of the wide prior that act on the cloud of points: weights, spectra, maps, background.

Each function serves tables in which its piece is on; whoever calls it picks the tables. All of it
is ours.

Axes: b tasks, n points, d features, c components, h hidden units.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from statformer.tasks.ingredients import log_uniform, standardised
from statformer.tasks.stream import TaskStream

LARGEST_CONDITION = 1e4
MOST_BACKGROUND = 0.2


def imbalanced(stream: TaskStream, weights: Float[Tensor, "b c"], n: int) -> Float[Tensor, "b c"]:
    """pi_k 10^(-s u_k), s in 1 to 2.5 and u_k uniform, never below 4 / n where a component is."""
    c = weights.shape[1]
    steepness = (1.0 + 1.5 * stream.uniform()) * math.log(10.0)
    tilted = weights * torch.exp(-steepness[:, None] * stream.uniform(c))
    tilted = tilted / tilted.sum(-1, keepdim=True)
    tilted = torch.where(weights > 0, tilted.clamp_min(min(4.0 / n, 0.5 / c)), 0.0)
    return tilted / tilted.sum(-1, keepdim=True)


def wide_spectrum(
    stream: TaskStream, means: Float[Tensor, "b c d"], A: Float[Tensor, "b c d d"]
) -> tuple[Tensor, Tensor]:
    """M A_k with M = R diag(s): variances spread over a factor of 10 to 10^4, R a rotation.

    The mean of s^2 is 1. In half of the tables the centres are turned and stretched along (the
    whole table is an ill-conditioned image of a plain one: separation as Mahalanobis sees it does
    not change), in the others the noise alone is.
    """
    d = means.shape[-1]
    width = log_uniform(stream, 10.0, LARGEST_CONDITION).log()
    place = stream.uniform(d)
    low, high = place.amin(-1, keepdim=True), place.amax(-1, keepdim=True)
    place = (place - low) / (high - low).clamp_min(1e-6)  # the ends are reached
    variances = torch.exp((place - 1.0) * width[:, None])
    variances = variances / variances.mean(-1, keepdim=True)
    R, _ = torch.linalg.qr(stream.normal(d, d))
    M = R * variances.sqrt()[:, None, :]
    along = (stream.uniform() < 0.5)[:, None, None]
    return torch.where(along, means @ M.mT, means), M[:, None] @ A


def coupled_map(stream: TaskStream, X: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
    """Two additive couplings in a turned frame: an invertible smooth map, so no clusters collide.

    The standardised columns turn by R and part into halves u, v; then u += a f(v), v += a g(u)
    with f, g(x) = V sin(W x + b), random, 16 hidden units, a in 0.3 to 1.5.
    """
    d, h = X.shape[-1], 16
    half = d // 2
    R, _ = torch.linalg.qr(stream.normal(d, d))
    amount = log_uniform(stream, 0.3, 1.5)[:, None, None]
    Z = standardised(X).clamp(-20.0, 20.0) @ R
    u, v = Z[..., :half], Z[..., half:]

    def network(x: Tensor, width: int) -> Tensor:
        W = stream.normal(x.shape[-1], h) * (1.2 / math.sqrt(x.shape[-1]))
        b = 2.0 * math.pi * stream.uniform(1, h)
        V = stream.normal(h, width) * math.sqrt(2.0 / h)
        return torch.sin(x @ W + b) @ V

    u = u + amount * network(v, half)
    v = v + amount * network(u, d - half)
    return torch.cat([u, v], dim=-1) @ R.mT


def background(
    stream: TaskStream, X: Float[Tensor, "b n d"], y: Int[Tensor, "b n"]
) -> tuple[Tensor, Tensor]:
    """2 to 20 % of the points become uniform in the box of the 1 % and 99 % quantiles; y is -1."""
    n, d = X.shape[1:]
    share = 0.02 + (MOST_BACKGROUND - 0.02) * stream.uniform()
    pick: Bool[Tensor, "b n"] = stream.uniform(n) < share[:, None]
    ordered = torch.sort(X, dim=1).values
    low, high = ordered[:, int(0.01 * n), None], ordered[:, min(int(0.99 * n), n - 1), None]
    middle, half = (low + high) / 2.0, 0.55 * (high - low)
    box = middle + half * (2.0 * stream.uniform(n, d) - 1.0)
    return torch.where(pick[..., None], box, X), torch.where(pick, torch.full_like(y, -1), y)
