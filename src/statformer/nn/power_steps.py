"""Steps within a token that the power method needs beside attention: a division, a sign.

Both return what is added to the residual stream.

Axes: b tables, t tokens, m token width, y entries of the vector that is normalised.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statformer.nn.layout import TokenLayout


class Normalise(nn.Module):
    """H -> (y / |y|, y / sqrt|y|, |y|) W_write + H W_clear with y = H W_read; 0 / 0 counts as 0."""

    operations = ("square", "square root", "division")

    def __init__(
        self,
        W_read: Float[Tensor, "m y"],
        W_write: Float[Tensor, "f m"],
        W_clear: Float[Tensor, "m m"],
    ) -> None:
        """`W_write` has 2 y + 1 rows."""
        super().__init__()
        self.W_read, self.W_write = nn.Parameter(W_read), nn.Parameter(W_write)
        self.W_clear = nn.Parameter(W_clear)

    @staticmethod
    def rows(width: int) -> TokenLayout:
        """Names for the rows of W_write."""
        return TokenLayout({"unit": width, "root": width, "length": 1})

    def forward(self, H: Float[Tensor, "b t m"]) -> Float[Tensor, "b t m"]:
        y = H @ self.W_read
        length = y.square().sum(-1, keepdim=True).sqrt()
        divisor = torch.where(length > 0, length, 1.0)
        values = torch.cat([y / divisor, y / divisor.sqrt(), length], dim=-1)
        return values @ self.W_write + H @ self.W_clear


class Sign(nn.Module):
    """H -> (f(s) - s) in the slot of s, f the sign (0 counts as +1) or tanh(sharpness s)."""

    def __init__(self, layout: TokenLayout, slot: str, sharpness: float | None) -> None:
        super().__init__()
        self.layout, self.slot, self.sharpness = layout, slot, sharpness

    @property
    def operations(self) -> tuple[str, ...]:
        """What is neither attention nor linear."""
        return ("comparison with 0",) if self.sharpness is None else ("tanh",)

    def forward(self, H: Float[Tensor, "b t m"]) -> Float[Tensor, "b t m"]:
        score = H[..., self.layout[self.slot]]
        if self.sharpness is None:
            decided = torch.where(score >= 0, torch.ones_like(score), -torch.ones_like(score))
        else:
            decided = torch.tanh(self.sharpness * score)
        update = torch.zeros_like(H)
        update[..., self.layout[self.slot]] = decided - score
        return update
