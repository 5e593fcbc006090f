"""A vision transformer whose numbers of heads and layers vary freely, as in arXiv 2410.23610.

Axes: n images, k colours, h rows and w columns of pixels, p patches, d width, e heads, f features
of a head, c classes.
"""

from __future__ import annotations

from typing import final

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn
from torch.nn.functional import gelu, layer_norm


@final
class ImageTransformer(nn.Module):
    """Logits "n c": patches, `n_layers` blocks with skips, the mean over patches, a linear head.

    A block is x + A(N(x)), then x + F(N(x)): A has `n_heads` heads of `head_dim` features, F one
    hidden layer of GELU. From the paper's text: 4 patches, 6 layers with 4 to 40 heads or 8 heads
    with 2 to 20 layers, heads of 128, 128 hidden units, dropout of .1 after A and F, a linear
    classifier. Not found, and ours: the width d, layer norm N before A and F and at the end,
    learned positions, the mean over patches, the start: normal of variance 1 / fan-in, and what
    enters the skips divided by sqrt(2 n_layers).

    `dropout` acts where `forward` is given a generator, so that nothing draws from torch's global
    one. Raises ValueError where the image does not divide into `n_patches` squares' worth of rows
    and columns.
    """

    def __init__(
        self,
        n_classes: int,
        *,
        size: tuple[int, int, int],
        n_heads: int,
        n_layers: int,
        generator: Generator,
        n_patches: int = 4,
        width: int = 128,
        head_dim: int = 128,
        hidden: int = 128,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        k, h, w = size
        side = round(n_patches**0.5)
        if side * side != n_patches or h % side or w % side:
            raise ValueError(
                f"n_patches={n_patches}, size={size}: pass a square number whose root divides both "
                f"sides of the image"
            )
        self.side, self.n_heads, self.dropout = side, n_heads, dropout
        inner = n_heads * head_dim

        def matrix(*shape: int, by: float = 1.0) -> nn.Parameter:
            spread = by * shape[-2] ** -0.5
            return nn.Parameter(spread * torch.randn(*shape, generator=generator))

        def zeros(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.zeros(*shape))

        self.embed, self.embed_bias = matrix(k * h * w // n_patches, width), zeros(width)
        self.positions = zeros(n_patches, width)
        into_skip = (2 * n_layers) ** -0.5
        # All blocks in one tensor per kind of weight; the first axis is the layer.
        self.query_key_value = matrix(n_layers, width, 3 * inner)
        self.out, self.out_bias = (
            matrix(n_layers, inner, width, by=into_skip),
            zeros(n_layers, width),
        )
        self.up, self.up_bias = matrix(n_layers, width, hidden), zeros(n_layers, hidden)
        self.down, self.down_bias = (
            matrix(n_layers, hidden, width, by=into_skip),
            zeros(n_layers, width),
        )
        self.scale = nn.Parameter(torch.ones(2 * n_layers + 1, width))
        self.shift = zeros(2 * n_layers + 1, width)
        self.head, self.head_bias = matrix(width, n_classes), zeros(n_classes)

    def forward(
        self, images: Float[Tensor, "n k h w"], generator: Generator | None = None
    ) -> Float[Tensor, "n c"]:
        """With a generator as in training; without, nothing is dropped."""
        x = self.patches(images) @ self.embed + self.embed_bias + self.positions
        for i in range(len(self.up)):
            x = x + self._dropped(self.attend(i, self._normed(x, 2 * i)), generator)
            within = gelu(self._normed(x, 2 * i + 1) @ self.up[i] + self.up_bias[i])
            x = x + self._dropped(within @ self.down[i] + self.down_bias[i], generator)
        return self._normed(x, -1).mean(1) @ self.head + self.head_bias

    def patches(self, images: Float[Tensor, "n k h w"]) -> Float[Tensor, "n p kd"]:
        """Each patch as one row: its colours, rows and columns of pixels."""
        n, k, h, w = images.shape
        s = self.side
        cut = images.reshape(n, k, s, h // s, s, w // s)
        return cut.permute(0, 2, 4, 1, 3, 5).reshape(n, s * s, -1)

    def attend(self, layer: int, x: Float[Tensor, "n p d"]) -> Float[Tensor, "n p d"]:
        """softmax(Q K' / sqrt(f)) V of every head, side by side, then the output matrix."""
        n, p, _ = x.shape
        parts = (x @ self.query_key_value[layer]).reshape(n, p, 3, self.n_heads, -1)
        Q, K, V = parts.permute(2, 0, 3, 1, 4)
        weights = torch.softmax(Q @ K.mT / Q.shape[-1] ** 0.5, dim=-1)
        joined = (weights @ V).transpose(1, 2).reshape(n, p, -1)
        return joined @ self.out[layer] + self.out_bias[layer]

    def _normed(self, x: Float[Tensor, "n p d"], place: int) -> Float[Tensor, "n p d"]:
        return layer_norm(x, x.shape[-1:], self.scale[place], self.shift[place])

    def _dropped(
        self, x: Float[Tensor, "n p d"], generator: Generator | None
    ) -> Float[Tensor, "n p d"]:
        if generator is None or self.dropout == 0:
            return x
        kept = torch.rand(x.shape, generator=generator, device=x.device) >= self.dropout
        return x * kept / (1.0 - self.dropout)
