"""What makes the robustness of a network doubtful: seen before the attacks, and after them.

Axes: n images, k channels, h by w pixels, c classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from statformer.robust.attack_library import ENSEMBLE
from statformer.robust.eval_mode import eval_logits, look_like_probabilities
from statformer.robust.table import Stage

__all__ = ["RobustnessWarning", "seen_after", "seen_before"]

BLIND_SHARE = 0.05  # of images without a gradient, from which on we warn (ours)
SQUARE_DROP = 0.002  # of accuracy, as in the checks of AutoAttack


class RobustnessWarning(UserWarning):
    """Something about a network makes its robustness numbers suspicious."""


def seen_before(
    model: nn.Module,
    batches: Sequence[tuple[Tensor, Tensor]],
    logits: Float[Tensor, "n c"],
    device: torch.device,
) -> list[str]:
    """What can be seen without an attack: probabilities, randomness, missing gradients."""
    said = []
    if look_like_probabilities(logits):
        said.append(
            "the outputs look like probabilities: attacks need logits, whose gradients do not "
            "vanish; leave the softmax out of the model"
        )
    images, labels = batches[0]
    again, first = eval_logits(model, images.to(device)).cpu(), logits[: len(labels)]
    if not torch.allclose(again, first, rtol=1e-4, atol=1e-4):
        said.append(
            "two passes over the same images differ: the network is random in eval mode, and "
            "attacks that follow one draw underestimate what is possible"
        )
    blind, n_right = 0, 0
    for images, labels in batches:
        x, y = images.to(device, copy=True).requires_grad_(), labels.to(device)
        with torch.enable_grad():
            output = model(x)
            gradient = torch.zeros_like(x)
            if output.requires_grad:  # a model may cut the graph altogether
                loss = cross_entropy(output, y, reduction="sum")
                (gradient,) = torch.autograd.grad(loss, x)
        right = output.argmax(1) == y
        blind += int((right & (gradient.flatten(1).abs().amax(1) == 0)).sum())
        n_right += int(right.sum())
    if blind > BLIND_SHARE * n_right:
        said.append(
            f"{blind} of {n_right} correct images have a gradient of exactly 0: attacks that "
            "follow it see nothing there; believe only what Square, the last part of "
            "'autoattack', leaves"
        )
    return said


def seen_after(stages: Mapping[str, Stage], labels: Int[np.ndarray, " n"]) -> list[str]:
    """What the attacks show: images outside the ball, and a Square that finds what others miss."""
    said = []
    outside = [f"{name} {stage.n_outside}" for name, stage in stages.items() if stage.n_outside]
    if outside:
        said.append(
            f"attacks left images outside the ball or [0, 1], which were put back: "
            f"{', '.join(outside)}"
        )
    parts = [
        float((stages[part].predicted == labels).mean()) for part in ENSEMBLE if part in stages
    ]
    if "square" in stages and parts[-2] - parts[-1] > SQUARE_DROP:
        said.append(
            f"Square lowers the accuracy from {parts[-2]:.4f} to {parts[-1]:.4f} without a "
            "gradient: the attacks that need one are misled; try one made for this network"
        )
    return said
