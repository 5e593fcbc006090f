"""Weights under which a Transformer labels two classes by the sign of the leading score.

The blocks of `constructions/power_iteration.py` find v; one more lets every point read <x_i, v> and
take its sign. Derived here; the clustering half of the paper (arXiv 2501.01312) was not available.

Reference: `reference.spectral_clustering.two_classes` with the v of the same power steps; error: 0
in the labels with the exact sign, `sign_error` with tanh.

Axes: b tables, n points, d features.
"""

from __future__ import annotations

import math

from jaxtyping import Float
from torch import Tensor, nn

from statformer.constructions.power_iteration import (
    Head,
    attend,
    block,
    centre_head,
    fetch_head,
    power_head,
    principal_layout,
    tokens,
)
from statformer.nn.layout import TokenLayout
from statformer.nn.power_steps import Sign
from statformer.nn.transformer import Block, Transformer


class ClusteringTransformer(nn.Module):
    """(X, start) -> labels in [-1, 1] per point; the global sign is that of the start."""

    def __init__(self, layout: TokenLayout, blocks: list[Block]) -> None:
        super().__init__()
        self.layout, self.transformer = layout, Transformer(blocks)

    @property
    def depth(self) -> int:
        """Blocks of this network: tau + 2."""
        return self.transformer.depth

    @property
    def n_heads(self) -> int:
        """Heads of its widest block."""
        return self.transformer.n_heads

    def forward(
        self, X: Float[Tensor, "b n d"], starts: Float[Tensor, "b d"]
    ) -> Float[Tensor, "b n"]:
        H = self.transformer(tokens(self.layout, X, starts[:, None], 1.0))
        return H[:, : X.shape[1], self.layout["score"]].squeeze(-1)


def clustering_transformer(
    n_features: int,
    n_steps: int,
    *,
    phi: str = "relu",
    n_points: int | None = None,
    sharpness: float | None = None,
) -> ClusteringTransformer:
    """`n_steps` power steps on X'X, then sign <x_i, v>.

    With `n_points` the mean of that many points is taken away first, for means that are not
    opposite. With `sharpness` the sign is tanh(sharpness <x_i, v>), which errs by `sign_error`.

    Raises ValueError for an unknown phi, no step, no point, or a sharpness that is not positive.
    """
    if n_steps < 1:
        raise ValueError(f"n_steps={n_steps}: pass at least 1")
    if n_points is not None and n_points < 1:
        raise ValueError(f"n_points={n_points}: pass at least 1")
    if sharpness is not None and not sharpness > 0:
        raise ValueError(f"sharpness={sharpness!r} must be positive; the larger, the harder")
    layout = principal_layout(n_features, 1)
    entry = [fetch_head(0), *([] if n_points is None else [centre_head(n_points)])]
    blocks = [block(layout, entry, phi)]
    blocks += [block(layout, [power_head()], phi)] * n_steps
    blocks.append(Block(attend(layout, [score_head()], phi), Sign(layout, "score", sharpness)))
    return ClusteringTransformer(layout, blocks)


def score_head() -> Head:
    """Every point reads <x_i, v> from the working token."""
    return Head({("key", "vector"): 1.0}, {("is_working", "score"): 1.0}, signed=True)


def sign_error(margin: float, sharpness: float) -> float:
    """|tanh(sharpness s) - sign s| where |s| >= margin: 2 / (exp(2 sharpness margin) + 1)."""
    return 1.0 - math.tanh(sharpness * margin)
