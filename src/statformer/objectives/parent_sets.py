"""How far predicted conditional distributions and parents are from the true ones.

Axes: any axes before d categories; b tasks, s candidate sets.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor


def divergence(p: Float[Tensor, "... d"], truth: Float[Tensor, "... d"]) -> Float[Tensor, "..."]:
    """Kullback-Leibler divergence sum_x truth log(truth / p): cross-entropy less entropy."""
    return torch.xlogy(truth, truth).sum(-1) - torch.xlogy(truth, p).sum(-1)


def variation(p: Float[Tensor, "... d"], truth: Float[Tensor, "... d"]) -> Float[Tensor, "..."]:
    """Total variation 1/2 sum_x |p - truth|."""
    return 0.5 * (p - truth).abs().sum(-1)


def surprise(logits: Float[Tensor, "b s"], true_set: Int[Tensor, " b"]) -> Float[Tensor, ""]:
    """Mean of -log softmax(logits) at the true sets; -1 is a truth that is no candidate.

    0 where no task has its truth among the candidates.
    """
    log_p = torch.log_softmax(logits, dim=-1)
    found = log_p.gather(1, true_set.clamp_min(0)[:, None])[:, 0]
    is_there = (true_set >= 0).to(found.dtype)
    return -(found * is_there).sum() / is_there.sum().clamp_min(1.0)
