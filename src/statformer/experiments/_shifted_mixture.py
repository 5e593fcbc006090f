"""Isotropic mixtures with one assumption broken: weights, covariance or tails.

Axes: b tasks, n points, d features, c components.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from statformer.batch import TaskBatch
from statformer.tasks.gaussian_mixture import PaperMixturePrior
from statformer.tasks.stream import TaskStream


@dataclass(frozen=True)
class ShiftedPrior(PaperMixturePrior):
    """`PaperMixturePrior` with other weights, covariance or tails.

    x = theta_z + sigma A e. The first component has weight `first_weight` and the others share the
    rest; A stretches one random direction so that variances differ by `aspect` and their mean is 1;
    e is Gaussian, or Student-t of `degrees` > 2 scaled to variance 1 in each column.
    """

    first_weight: float | None = None
    aspect: float = 1.0
    degrees: float = math.inf

    def sample(self, stream: TaskStream) -> TaskBatch:
        """As `PaperMixturePrior.sample`; the posterior of these tables is not its own."""
        batch = super().sample(stream)
        n, d, c = self.n_points, self.n_features, self.n_components
        means, y = batch.latent["means"], batch.y
        e = (batch.X - _of(means, y)) / self.sigma
        if self.first_weight is not None:
            others = stream.integers(1, c, n)
            y = torch.where(stream.uniform(n) < self.first_weight, torch.zeros_like(y), others)
        if math.isfinite(self.degrees):
            half = self.degrees / 2.0
            e = e * torch.sqrt((half - 1.0) / stream.gamma(half, n))[..., None]
        if self.aspect > 1.0:
            Q, _ = torch.linalg.qr(stream.normal(d, d))
            variances = e.new_ones(d)
            variances[0] = self.aspect
            e = (e @ Q) * torch.sqrt(variances / variances.mean()) @ Q.mT
        return replace(batch, X=_of(means, y) + self.sigma * e, y=y)


def _of(means: Float[Tensor, "b c d"], y: Int[Tensor, "b n"]) -> Float[Tensor, "b n d"]:
    return torch.gather(means, 1, y[..., None].expand(-1, -1, means.shape[-1]))
