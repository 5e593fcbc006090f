"""Instances whose answer is the eigenpairs of their own covariance.

Axes: b tasks, n points, d features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class EigenBatch:
    """Instances and the eigenpairs of the centred sample covariance, factor 1 / (n - 1).

    X            "b n d"
    eigenvalues  "b d"    descending
    eigenvectors "b d d"  unit rows, one per eigenvalue; their signs mean nothing
    latent       what the instances were drawn from
    """

    X: Float[Tensor, "b n d"]
    eigenvalues: Float[Tensor, "b d"]
    eigenvectors: Float[Tensor, "b d d"]
    latent: Mapping[str, Tensor] = field(default_factory=dict)


def eigen_batch(
    X: Float[Tensor, "b n d"], latent: Mapping[str, Tensor] | None = None
) -> EigenBatch:
    """The instances with their targets, computed in float64 by LAPACK and returned in X's dtype.

    Raises ValueError for fewer than two points.
    """
    n = X.shape[1]
    if n < 2:
        raise ValueError(f"X has {n} points per instance; a covariance needs at least 2")
    centred = X.double() - X.double().mean(1, keepdim=True)
    values, columns = torch.linalg.eigh(centred.mT @ centred / (n - 1))
    return EigenBatch(
        X,
        values.flip(-1).clamp_min(0.0).to(X.dtype),
        columns.mT.flip(-2).to(X.dtype),
        {} if latent is None else latent,
    )
