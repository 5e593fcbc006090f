"""Views of samples made of patches: other noise on the same signal, and noised copies.

Axes: b tasks (runs), n points, p patches, d features of one patch.
"""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from statformer.tasks.signal_noise import PatchBatch, SignalNoisePrior
from statformer.tasks.stream import TaskStream


class Diffused(NamedTuple):
    """Noised patches X_t = alpha X + beta eps, and the eps that a denoiser is to find."""

    X: Float[Tensor, "b n p d"]
    eps: Float[Tensor, "b n p d"]


def with_added_noise(batch: PatchBatch, sigma_eps: float, stream: TaskStream) -> PatchBatch:
    """xi + eps with eps ~ N(0, sigma_eps^2 I), the signal patch as it is.

    The augmentation of arXiv 2411.02837, whose experiment has sigma_eps = 0.1. Raises ValueError
    for a sigma_eps below 0.
    """
    if not sigma_eps >= 0:
        raise ValueError(f"sigma_eps={sigma_eps}: pass at least 0")
    return batch.with_noise(batch.noise + sigma_eps * stream.normal(*batch.noise.shape[1:]))


def with_fresh_noise(batch: PatchBatch, prior: SignalNoisePrior, stream: TaskStream) -> PatchBatch:
    """The same signal with noise drawn anew from `prior`.

    The view of arXiv 2409.18685, which thereby knows the hidden label of a sample.
    """
    return batch.with_noise(prior.noise(batch.signal, batch.noise.shape[1], stream))


def diffused(
    X: Float[Tensor, "b n p d"], alpha: float, beta: float, stream: TaskStream
) -> Diffused:
    """X_t = alpha X + beta eps with standard normal eps at one time t.

    The form of arXiv 2412.01021 as far as known: alpha and beta are of constant order; the
    schedule is not found.
    """
    eps = stream.normal(*X.shape[1:])
    return Diffused(alpha * X + beta * eps, eps)
