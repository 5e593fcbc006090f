"""Losses and scores for P(K | X).

Axes: b tasks, k numbers of components (entry j is K = j + 1).
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor


def log_score(log_p: Float[Tensor, "b k"], n_components: Int[Tensor, " b"]) -> Float[Tensor, " b"]:
    """-log P(K | X) of the true number of components, in nats; floored at P = 1e-9."""
    chosen = torch.gather(log_p, 1, n_components[:, None] - 1)[:, 0]
    return -chosen.clamp_min(-20.7)


def count_errors(
    log_p: Float[Tensor, "b k"], n_components: Int[Tensor, " b"]
) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"]]:
    """Exactness (0 or 1) and absolute error of the most probable K."""
    error = (log_p.argmax(-1) + 1 - n_components).abs().to(log_p.dtype)
    return (error == 0).to(log_p.dtype), error
