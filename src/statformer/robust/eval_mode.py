"""A network that is looked at and not trained: eval mode, frozen weights, checked logits.

Axes: n images, k channels, h by w pixels, c classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["eval_logits", "frozen", "look_like_probabilities"]


@contextmanager
def frozen(model: nn.Module) -> Iterator[torch.device]:
    """Eval mode, no gradients for parameters; both are put back, module by module."""
    modes = [(module, module.training) for module in model.modules()]
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    model.eval().requires_grad_(requires_grad=False)
    try:
        yield next((weight.device for weight in model.parameters()), torch.device("cpu"))
    finally:
        for module, mode in modes:
            module.training = mode
        for weight in trained:
            weight.requires_grad_()


@torch.no_grad()
def eval_logits(model: nn.Module, x: Float[Tensor, "n k h w"]) -> Float[Tensor, "n c"]:
    """The logits of images, in float32. Raises ValueError where they are none, or not finite."""
    logits = model(x)
    if logits.ndim != 2 or len(logits) != len(x) or logits.shape[1] < 2:
        raise ValueError(
            f"the model gives {tuple(logits.shape)} for {len(x)} images; it must give logits (n, c)"
        )
    if not bool(torch.isfinite(logits).all()):
        raise ValueError("the model gives logits that are no finite numbers; train it first")
    return logits.float()


def look_like_probabilities(logits: Float[Tensor, "n c"]) -> bool:
    """Whether no output is negative and those of each image sum to 1, but for 1e-4."""
    return bool((logits >= 0).all()) and bool(((logits.sum(1) - 1).abs() < 1e-4).all())
