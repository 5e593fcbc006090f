"""How far a subspace is from the truth: principal angles, and a loss of them.

Axes: b tables, k components, d features.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def cosines(V: Float[Tensor, "b k d"], basis: Float[Tensor, "b k d"]) -> Float[Tensor, "b k"]:
    """Cosines of the principal angles between two spans of orthonormal rows, largest first."""
    return torch.linalg.svdvals(V @ basis.mT).clamp(max=1.0)


def largest_angle(V: Float[Tensor, "b k d"], basis: Float[Tensor, "b k d"]) -> Float[Tensor, " b"]:
    """The largest principal angle, in degrees."""
    return torch.rad2deg(torch.arccos(cosines(V, basis)[:, -1]))


def distance(V: Float[Tensor, "b k d"], basis: Float[Tensor, "b k d"]) -> Float[Tensor, " b"]:
    """sqrt(sum of sin^2 of the principal angles + 1e-4) = sqrt(k - |V basis'|^2 + 1e-4).

    Between the sine of the largest angle and sqrt(k) times that; no singular vectors are needed,
    so its gradient is finite everywhere.
    """
    overlap = (V @ basis.mT).square().sum((1, 2))
    return torch.sqrt((V.shape[1] - overlap).clamp_min(0.0) + 1e-4)


def excess(
    V: Float[Tensor, "b k d"], basis: Float[Tensor, "b k d"], reachable: Float[Tensor, " b"]
) -> Float[Tensor, " b"]:
    """distance / (reachable + 0.2): tables on which nobody does well do not dominate.

    `reachable` is the distance of plain PCA of the same table before anything went wrong.
    """
    return distance(V, basis) / (reachable + 0.2)
