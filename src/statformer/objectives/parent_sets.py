"""How far predicted conditional distributions are from the true ones.

Axes: any axes before d categories.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def divergence(p: Float[Tensor, "... d"], truth: Float[Tensor, "... d"]) -> Float[Tensor, "..."]:
    """Kullback-Leibler divergence sum_x truth log(truth / p): cross-entropy less entropy."""
    return torch.xlogy(truth, truth).sum(-1) - torch.xlogy(truth, p).sum(-1)


def variation(p: Float[Tensor, "... d"], truth: Float[Tensor, "... d"]) -> Float[Tensor, "..."]:
    """Total variation 1/2 sum_x |p - truth|."""
    return 0.5 * (p - truth).abs().sum(-1)
