"""Attacks that training uses: one step from any start, and projected gradient descent.

Axes: n images, k channels, h by w pixels, c classes. Images are in [0, 1]; eps and step are in
pixel units here, eps_255 / 255 of what the trainer is told. The model's mode is left as it is, and
gradients are taken for the perturbation alone, so that no parameter's gradient is touched (the
released code of SKG-FAT fills them and clears them again).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from statformer.objectives.adversarial import soft_cross_entropy

__all__ = ["SingleStep", "in_range", "pgd", "single_step"]

Images = Float[Tensor, "n k h w"]


class SingleStep(NamedTuple):
    """The perturbation d, and the logits at x + d0 where the step began."""

    delta: Images
    at_start: Float[Tensor, "n c"]


def in_range(delta: Images, x: Images, eps: float | None) -> Images:
    """d clipped to [-eps, eps] (not where eps is None), then so that x + d is in [0, 1]."""
    if eps is not None:
        delta = delta.clamp(-eps, eps)
    return (x + delta).clamp(0.0, 1.0) - x


def single_step(
    model: Callable[[Tensor], Tensor],
    x: Images,
    targets: Float[Tensor, "n c"],
    *,
    start: Images,
    eps: float | None,
    step: float,
    keep_graph: bool = False,
) -> SingleStep:
    """d = clip(d0 + step sign(g)), g the gradient of the soft cross-entropy at x + d0.

    First to the ball of radius `eps` (not where it is None), then so that x + d is in [0, 1];
    x + d0 itself is not clipped before (code of SKG-FAT). The logits at x + d0 carry a gradient to
    the parameters with `keep_graph` only.
    """
    with torch.enable_grad():
        moved = start.detach().clone().requires_grad_()
        at_start = model(x + moved)
        loss = soft_cross_entropy(at_start, targets)
        (gradient,) = torch.autograd.grad(loss, moved, retain_graph=keep_graph)
    delta = in_range(start.detach() + step * gradient.sign(), x, eps)
    return SingleStep(delta, at_start if keep_graph else at_start.detach())


def pgd(
    model: Callable[[Tensor], Tensor],
    x: Images,
    targets: Float[Tensor, "n c"],
    *,
    start: Images,
    eps: float,
    step: float,
    n_steps: int,
) -> Images:
    """The d of n steps of `single_step`, each from the last (Madry et al. 2018)."""
    delta = in_range(start, x, eps)
    for _ in range(n_steps):
        delta = single_step(model, x, targets, start=delta, eps=eps, step=step).delta
    return delta
