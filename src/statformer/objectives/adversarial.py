"""Losses of fast adversarial training guided by the classes (SKG-FAT, arXiv 2409.17589).

Axes: n images, c classes. f(x) are logits, x + d an adversarial image.

The paper's body was not found; the forms are those of the authors' code where "code" is said, and
of a second-hand account of the paper where that is said. Sums over classes use `index_add`, so a
class absent from the batch adds nothing and a class with one image counts as any other.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

__all__ = [
    "accuracy_relaxation",
    "class_groups",
    "class_weighted_pairing",
    "group_pairing",
    "relaxed_targets",
    "soft_cross_entropy",
    "start_smoothing",
]

RELAXATION = (0.3, 0.9)  # the range of gamma in the code
NO_GROUP = -1


def relaxed_targets(y: Int[Tensor, " n"], gamma: Float[Tensor, " c"]) -> Float[Tensor, "n c"]:
    """gamma_y on the true class y, (1 - gamma_y) / (c - 1) on each other; rows sum to 1."""
    of_image = gamma[y, None]
    targets = ((1.0 - of_image) / (len(gamma) - 1)).repeat(1, len(gamma))
    return targets.scatter(1, y[:, None], of_image)


def soft_cross_entropy(
    logits: Float[Tensor, "n c"], targets: Float[Tensor, "n c"]
) -> Float[Tensor, ""]:
    """-(1/n) sum_i sum_k t_ik log softmax(z_i)_k."""
    return -(targets * torch.log_softmax(logits, dim=1)).sum(1).mean()


def accuracy_relaxation(
    accuracy: Float[Tensor, " c"], low: float = RELAXATION[0], high: float = RELAXATION[1]
) -> Float[Tensor, " c"]:
    """SKLR: gamma_k = clip(|ln a_k|, low, high), a_k the clean accuracy of class k (code).

    A class of accuracy 0, or one that was not seen (NaN), gets `high`: it is the least learnt. The
    code is alone with this formula; the paper's was not found. SLS is the constant gamma = 0.9.
    """
    known = torch.nan_to_num(accuracy, nan=0.0)
    gamma = known.clamp_min(torch.finfo(known.dtype).tiny).log().abs()
    return gamma.clamp(low, high)


def class_weighted_pairing(
    clean: Float[Tensor, "n c"],
    adversarial: Float[Tensor, "n c"],
    y: Int[Tensor, " n"],
    weights: Float[Tensor, " c"],
) -> Float[Tensor, ""]:
    """CWR: sum over classes k in the batch of w_k mean_{i in k} (f(x_i) - f(x_i+d_i))^2.

    The square is a mean over logits: the code's form. A summary of the paper quotes
    (1/n) sum_k w_k (c/n) sum_{i in k} (...)^2, whose normalisation looks doubtful. With all w equal
    and classes of equal size this is w c times the plain mean square. No gradient is stopped. The
    sum grows with the number of classes in the batch: its scale for 100 classes is not that for 10.
    """
    squares = (clean - adversarial).square().mean(1)
    zeros = torch.zeros(len(weights), dtype=squares.dtype, device=squares.device)
    sums = zeros.index_add(0, y, squares)
    counts = zeros.index_add(0, y, torch.ones_like(squares))
    return (weights.to(squares.dtype) * sums / counts.clamp_min(1.0)).sum()


def class_groups(
    clean: Float[Tensor, " c"],
    robust: Float[Tensor, " c"],
    clean_mean: float | Tensor,
    robust_mean: float | Tensor,
) -> Int[Tensor, " c"]:
    """The group of each class for AGR (code): 0 to 3, and -1 for a class exactly at a mean.

    2 where the clean accuracy is above its mean, plus 1 where the robust one is above its mean. A
    class that was not seen (NaN) is in no group either.
    """
    clean_side, robust_side = clean - clean_mean, robust - robust_mean
    group = 2 * (clean_side > 0).long() + (robust_side > 0).long()
    # NaN is neither above nor below, so it is caught here as well.
    has_sides = (clean_side.abs() > 0) & (robust_side.abs() > 0)
    return torch.where(has_sides, group, NO_GROUP)


def group_pairing(
    clean: Float[Tensor, "n c"],
    adversarial: Float[Tensor, "n c"],
    y: Int[Tensor, " n"],
    groups: Int[Tensor, " c"],
) -> Float[Tensor, ""]:
    """AGR: sum over groups in the batch of the mean of (f(x_i) - f(x_i+d_i))^2 (code).

    groups  of each class, from `class_groups`; images of a class in no group do not enter
    """
    of_image = groups[y]
    inside = of_image != NO_GROUP
    squares = torch.where(inside, (clean - adversarial).square().mean(1), 0.0)
    index = of_image.clamp_min(0)
    zeros = torch.zeros(4, dtype=squares.dtype, device=squares.device)
    sums = zeros.index_add(0, index, squares)
    counts = zeros.index_add(0, index, inside.to(squares.dtype))
    return (sums / counts.clamp_min(1.0)).sum()


def start_smoothing(
    at_start: Float[Tensor, "n c"], adversarial: Float[Tensor, "n c"]
) -> Float[Tensor, ""]:
    """(1/n) sum_i |f(x_i + d0_i) - f(x_i + d_i)|^2, summed over logits (code, first epoch).

    d0 is where the single step started. It stands in for CWR while no class accuracy is known.
    """
    return (at_start - adversarial).square().sum(1).mean()
