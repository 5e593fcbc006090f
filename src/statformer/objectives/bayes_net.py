"""Losses of networks that answer with a conditional law of one variable.

Axes: b tasks, n context rows, v variables, d categories.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

_SMALLEST = 1e-6  # so that a certain and wrong answer has a finite logarithm


def context_frequencies(
    context: Int[Tensor, "b n v"],
    query: Int[Tensor, "b v"],
    target: int,
    parents: Bool[Tensor, "b v"],
    n_categories: int,
) -> Float[Tensor, "b d"]:
    """Frequencies of the target among the context rows that agree with the query on its parents.

    This is maximum likelihood of the known structure in context. Where no row agrees, it is the
    frequencies among all rows (Cao et al., arXiv 2501.02547, public code for binary networks; for
    Sachs' it draws another episode, which we do not).
    """
    differs = (context != query[:, None]) & parents[:, None]
    agrees = ~differs.any(-1)
    agrees = agrees | ~agrees.any(1, keepdim=True)
    seen = torch.nn.functional.one_hot(context[..., target], n_categories)
    counts = (seen * agrees[..., None]).sum(1).to(torch.get_default_dtype())
    return counts / counts.sum(-1, keepdim=True)


def l1_loss(p: Float[Tensor, "b d"], law: Float[Tensor, "b d"]) -> Float[Tensor, " b"]:
    """sum_j |p_j - law_j| / d: for two categories |p_1 - law_1|, as in the public code."""
    return (p - law).abs().mean(-1)


def cross_entropy(p: Float[Tensor, "b d"], observed: Int[Tensor, " b"]) -> Float[Tensor, " b"]:
    """-log p_observed: for two categories the binary cross-entropy of the paper's prediction."""
    return -p.gather(1, observed[:, None])[:, 0].clamp_min(_SMALLEST).log()
