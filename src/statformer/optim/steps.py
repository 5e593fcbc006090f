"""x <- x - size eta m / (delta + s), in few passes and without asking a device for a number."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

__all__ = ["divide_step", "entries"]

Scalar = Any
"""A number, a 0-d tensor, or a list of 0-d tensors with one entry per parameter."""


def divide_step(
    x: list[Tensor],
    m: list[Tensor],
    s: list[Tensor],
    delta: float,
    size: float | Tensor,
    eta: float | Tensor,
    scale: float | Tensor = 1.0,
) -> None:
    """x <- x - size eta m / (delta + scale s), in place; s is overwritten.

    `size` and `scale` are numbers, 0-d, or "p" with an entry per parameter. Where the denominator
    is 0 nothing moves, for then every gradient of that coordinate was 0.
    """
    if isinstance(size, float | int) and size == 0.0:
        return
    torch._foreach_add_(s, entries(delta / scale))
    if delta == 0.0:
        for denominator in s:
            denominator.masked_fill_(denominator == 0.0, math.inf)
    factor = size * eta / scale
    if isinstance(factor, Tensor):
        torch._foreach_mul_(s, entries(1.0 / factor))
        torch._foreach_addcdiv_(x, m, s, value=-1.0)
    else:
        torch._foreach_addcdiv_(x, m, s, value=-factor)


def entries(value: float | Tensor) -> Scalar:
    """A vector as a list, for foreach functions; others as they are."""
    return list(value.unbind()) if isinstance(value, Tensor) and value.ndim else value
