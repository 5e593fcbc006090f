"""TGMM: one backbone that reads a mixture's weights and means off its points, for several K.

After Chen, Wu and Fang 2025 (arXiv 2505.11918) and their public code: a task embedding of K beside
every point, GPT-2 blocks, and an attentive pooling per K. Ours: no learned positions and no causal
mask, so that the order of the points has no influence (theirs has); padding is a key for nobody, in
the blocks and in the pooling; heads without biases; initial weights as elsewhere in the package.

Axes: b tasks, n points, d features, c components (at most), m token width, e = c + d.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor, einsum, nn

from statformer.nn.attention import FactoredAttention, softmax
from statformer.nn.read_write import MLP
from statformer.nn.transformer import Block, Transformer


class Estimate(NamedTuple):
    """Parameters of sum_k pi_k N(mu_k, I): log pi up to a constant, -inf for k >= K; and mu."""

    log_weights: Float[Tensor, "b c"]
    means: Float[Tensor, "b c d"]

    @property
    def weights(self) -> Float[Tensor, "b c"]:
        """pi; 0 for components that an instance does not have."""
        return torch.softmax(self.log_weights, dim=-1)


class TGMM(nn.Module):
    """(X, K) -> (pi, mu) of each instance.

    H = (X, E_K) W_in + b_in;  blocks;  layer norm;  then with the queries q_m, W_key and W_value of
    this K:  o_m = sum_i softmax_i(<W_key' h_i, q_m>) W_value' h_i, m = 1, ..., c. The first c
    entries of o_m, averaged over m, are log pi; the other d entries of o_m are mu_m.
    """

    def __init__(
        self,
        n_features: int,
        max_components: int,
        *,
        rng: Generator,
        n_layers: int = 12,
        width: int = 128,
        n_heads: int = 4,
    ) -> None:
        """Weights at random; the sizes left out are the authors'.

        Raises ValueError for a width that the heads do not divide.
        """
        super().__init__()
        if width % n_heads:
            raise ValueError(f"width={width} is no multiple of n_heads={n_heads}; change one")
        c, d = max_components, n_features
        self.n_features, self.max_components = d, c
        gain = (2 * n_layers) ** -0.5

        def normal(*shape: int, scale: float) -> nn.Parameter:
            return nn.Parameter(torch.randn(*shape, generator=rng) * scale)

        def block() -> Block:
            heads = FactoredAttention.from_noise(width, n_heads, width // n_heads, rng, gain=gain)
            norms = (nn.LayerNorm(width), nn.LayerNorm(width))
            return Block(heads, MLP(width, 4 * width, rng, gain), norms)

        self.task_embedding = normal(c, width, scale=1.0)
        self.W_in = normal(d + width, width, scale=(d + width) ** -0.5)
        self.b_in = nn.Parameter(torch.zeros(width))
        self.transformer = Transformer([block() for _ in range(n_layers)])
        self.norm = nn.LayerNorm(width)
        self.queries = normal(c, c, c + d, scale=1.0)  # one row of queries per K, and so on
        self.W_key = normal(c, width, c + d, scale=width**-0.5)
        self.W_value = normal(c, width, c + d, scale=width**-0.5)

    def forward(
        self,
        X: Float[Tensor, "b n d"],
        n_components: Int[Tensor, " b"],
        is_point: Bool[Tensor, "b n"] | None = None,
    ) -> Estimate:
        """Raises ValueError for other columns, or a K outside 1, ..., max_components."""
        self._check(X, n_components)
        row = n_components - 1
        task = self.task_embedding[row][:, None].expand(-1, X.shape[1], -1)
        keep = X.new_ones(X.shape[:2]) if is_point is None else is_point.to(X.dtype)
        H = torch.cat([X, task], dim=-1) @ self.W_in + self.b_in
        H = self.norm(self.transformer(H, keep))
        scores = einsum("bne,bce->bcn", H @ self.W_key[row], self.queries[row])
        pattern = softmax(scores[:, None], keep[:, None, None])[:, 0]
        pooled = pattern @ (H @ self.W_value[row])
        c = self.max_components
        absent = torch.arange(c, device=X.device) >= n_components[:, None]
        log_weights = pooled[..., :c].mean(1).masked_fill(absent, -torch.inf)
        return Estimate(log_weights, pooled[..., c:])

    def _check(self, X: Tensor, n_components: Tensor) -> None:
        if X.shape[-1] != self.n_features:
            raise ValueError(
                f"X has {X.shape[-1]} columns, this network reads {self.n_features}; "
                "use the network of that size"
            )
        low, high = int(n_components.min()), int(n_components.max())
        if low < 1 or high > self.max_components:
            raise ValueError(
                f"n_components runs from {low} to {high}; this network knows 1 to "
                f"{self.max_components}"
            )
