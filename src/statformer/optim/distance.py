"""The step size eta: the largest root mean square distance from the start so far.

    r_t = ||x_t - x_0|| / sqrt(d),    eta_t = max(eta_{t-1}, r_t),    eta_0 = eta0

Source: arXiv 2412.19444, Algorithms 1 and 2, steps 1 and 2. The distance is measured before the
step it scales. Scopes, guards, sampled start points and shards are ours.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from statformer.optim.blocks import batches

__all__ = ["KAPPA", "accumulator", "default_eta0", "next_eta", "sample", "squared_distance"]

KAPPA = 1e-2
"""The factor of the rule for eta0; ours, see docs/decisions/0013-first-step.md."""


def accumulator(device: torch.device) -> torch.dtype:
    """float64 where the device has it: sums over all coordinates of a model are long."""
    return torch.float32 if device.type == "mps" else torch.float64


def sample(tensor: Tensor, stride: int) -> Tensor:
    """Every `stride`-th coordinate "s" of the flattened tensor; the tensor itself for stride 1."""
    return tensor if stride == 1 else tensor.reshape(-1)[::stride]


def squared_distance(moved: list[Tensor], starts: list[Tensor], grown: list[Tensor]) -> Tensor:
    """sum |moved - starts|^2 + sum |grown|^2, 0-d; `grown` are those that started at the origin.

    Differences are taken in the precision of the start points, float32 or float64.
    """
    norms: list[Tensor] = []
    for x, x0 in batches([moved, starts]):
        here = [a if a.dtype == b.dtype else a.to(b.dtype) for a, b in zip(x, x0, strict=True)]
        norms.extend(torch._foreach_norm(torch._foreach_sub(here, x0)))
    for (x,) in batches([grown]):
        norms.extend(torch._foreach_norm([_at_least_float32(a) for a in x]))
    found = torch.stack(norms)
    return found.to(accumulator(found.device)).square().sum()


def _at_least_float32(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in {torch.float16, torch.bfloat16} else tensor


def default_eta0(norm: float, n_coordinates: float) -> float:
    """KAPPA (1 + ||x0||) / sqrt(d): the form of DoG's rule, per coordinate. Ours."""
    return KAPPA * (1.0 + norm) / math.sqrt(n_coordinates)


def next_eta(
    eta: Tensor, squared: Tensor, n_coordinates: float | Tensor, growth_rate: float
) -> Tensor:
    """max(eta, sqrt(squared / n_coordinates)), at most growth_rate eta; 0-d.

    A distance that is not a number (the parameters have overflowed) leaves eta as it is.
    """
    n_coordinates = (
        n_coordinates.clamp_min(1.0)
        if isinstance(n_coordinates, Tensor)
        else max(n_coordinates, 1.0)
    )
    found = torch.fmax(eta, (squared / n_coordinates).sqrt().to(eta.dtype))
    return found if math.isinf(growth_rate) else torch.minimum(found, eta * growth_rate)
