"""Priors of tables whose principal components are asked for, and of two opposite classes.

Axes: b tasks, n points, d features, r spikes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from statformer.batch import TaskBatch
from statformer.tasks.eigenpairs import EigenBatch, eigen_batch
from statformer.tasks.stream import TaskStream


@dataclass(frozen=True)
class SpikedCovariancePrior:
    """x = noise (U diag(sqrt s) z + eps), z and eps standard normal: Sigma = noise^2 (I + U S U').

    U is uniform over d x r matrices with orthonormal columns, the spikes s are log-uniform on
    `spike` (in units of the noise variance) and sorted descending. The model is Johnstone's (2001);
    the ranges are ours.

    `latent`: "subspace" "b r d" (rows of U'), "spikes" "b r". The targets of the batch are those of
    the sample, which differ from them.
    """

    n_points: int = 100
    n_features: int = 10
    n_spikes: int = 3
    spike: tuple[float, float] = (1.0, 30.0)
    noise: float = 1.0

    def __post_init__(self) -> None:
        if not 1 <= self.n_spikes <= self.n_features:
            raise ValueError(
                f"n_spikes={self.n_spikes}: pass 1 to n_features={self.n_features}, the directions"
            )
        if not 0 < self.spike[0] <= self.spike[1]:
            raise ValueError(f"spike={self.spike!r}: pass (low, high) with 0 < low <= high")

    def sample(self, stream: TaskStream) -> EigenBatch:
        """Tables with their own eigenpairs, and the truth of the population in `latent`."""
        n, d, r = self.n_points, self.n_features, self.n_spikes
        low, high = (math.log(edge) for edge in self.spike)
        spikes = torch.exp(low + (high - low) * stream.uniform(r)).sort(-1, descending=True).values
        subspace = _orthonormal(stream, d, r).mT
        signal = (stream.normal(n, r) * spikes.sqrt()[:, None]) @ subspace
        X = self.noise * (signal + stream.normal(n, d))
        return eigen_batch(X, {"subspace": subspace, "spikes": spikes})


@dataclass(frozen=True)
class PaperGaussianPrior:
    """X = Z L', L a standard-normal d x d matrix + 0.1 I, Z standard normal; L anew per instance.

    The synthetic instances of He et al. 2025 (arXiv 2501.01312), with the sizes of the public code
    that matches them as defaults. `latent`: "L" "b d d", with Sigma = L L'.
    """

    n_points: int = 5
    n_features: int = 2

    def sample(self, stream: TaskStream) -> EigenBatch:
        """Instances with the eigenpairs of their sample covariance."""
        d = self.n_features
        L = stream.normal(d, d) + 0.1 * torch.eye(d, dtype=stream.dtype, device=stream.device)
        return eigen_batch(stream.normal(self.n_points, d) @ L.mT, {"L": L})


@dataclass(frozen=True)
class TwoClassPrior:
    """x_i = z_i theta + sigma eps_i, z_i = -1 or +1 with equal odds, eps_i standard normal.

    theta points anywhere and has length `radius`, a number or a range (low, high) from which it is
    drawn uniformly. The model is the one that He et al. 2025 (arXiv 2501.01312) name; their means,
    sigma and sizes were not found, so these are ours.

    y = 0 stands for z = -1 and y = 1 for z = +1. `latent`: "theta" "b d", "radius" "b".
    """

    n_points: int = 100
    n_features: int = 20
    radius: float | tuple[float, float] = 2.0
    sigma: float = 1.0

    def sample(self, stream: TaskStream) -> TaskBatch:
        """Tables with their classes."""
        n, d = self.n_points, self.n_features
        low, high = self.radius if isinstance(self.radius, tuple) else (self.radius, self.radius)
        radius = low + (high - low) * stream.uniform()
        direction = stream.normal(d)
        theta = radius[:, None] * direction / direction.norm(dim=-1, keepdim=True)
        y = stream.integers(0, 2, n)
        z = (2 * y - 1).to(theta.dtype)
        X = z[..., None] * theta[:, None] + self.sigma * stream.normal(n, d)
        b = len(stream)
        return TaskBatch(
            X,
            y,
            torch.where((y == y[:, :1]).all(1), 1, 2),
            torch.ones(b, n, dtype=torch.bool, device=X.device),
            torch.ones(b, d, dtype=torch.bool, device=X.device),
            {"theta": theta, "radius": radius},
        )


def _orthonormal(stream: TaskStream, d: int, r: int) -> Float[Tensor, "b d r"]:
    """Orthonormal columns, uniformly: Q of a normal matrix with the signs of R's diagonal."""
    Q, R = torch.linalg.qr(stream.normal(d, r))
    return Q * torch.sign(torch.diagonal(R, dim1=-2, dim2=-1))[:, None]
