"""The paper's network: N points of D columns in, k eigenvalues or k eigenvectors out.

GPT-2-like blocks without a causal mask, learned positions, and a linear read-out of all tokens side
by side, after He et al. 2025 (arXiv 2501.01312) and the public code that matches it. N, D and k are
fixed, and the answer depends on the order of the points.

Ours: heads without biases, initial weights (`FactoredAttention.from_noise`, `MLP`), and what
exactly the auxiliary rows hold.

Axes: b tasks, n points, d features, k components, m token width.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from statformer.nn import attention as patterns
from statformer.nn.attention import FactoredAttention
from statformer.nn.read_write import MLP
from statformer.nn.transformer import Block, Transformer

TARGETS = ("values", "vectors")
_PHI = {"relu": patterns.relu, "softmax": patterns.softmax}


class EigenTransformer(nn.Module):
    """X -> eigenvalues "b k" or eigenvectors "b k d" (rows, of any length and sign).

    H = (X, P) W_in + b_in + positions;  blocks;  layer norm;  (h_1, ..., h_n) W_out + b_out.

    With `auxiliary` each token i gets d + k further entries, the columns of P = [I_d 0; p_1; ...;
    p_k]: the i-th column of the identity (0 for i > d), and the i-th entry of each random start
    p_j (0 for i > d). The paper keeps P for its proof; zero place-holders are left out here, for
    the width has room of its own.
    """

    def __init__(
        self,
        n_points: int,
        n_features: int,
        n_components: int,
        *,
        rng: Generator,
        target: str = "values",
        n_layers: int = 12,
        width: int = 64,
        n_heads: int = 4,
        attention: str = "relu",
        auxiliary: bool = False,
        layer_norm: bool = True,
    ) -> None:
        """Weights at random.

        Raises ValueError for an unknown target or activation, more components than columns, fewer
        points than columns with auxiliary rows, or a width that the heads do not divide.
        """
        super().__init__()
        _check(target, attention, n_components, n_features)
        if auxiliary and n_points < n_features:
            raise ValueError(
                f"n_points={n_points} columns of P cannot hold starts of length "
                f"n_features={n_features}; pass more points or auxiliary=False"
            )
        if width % n_heads:
            raise ValueError(f"width={width} is no multiple of n_heads={n_heads}; change one")
        self.n_points, self.n_features, self.n_components = n_points, n_features, n_components
        self.target, self.attention, self.auxiliary = target, attention, auxiliary
        self.n_layers = n_layers
        gain = (2 * n_layers) ** -0.5  # so that depth does not blow up the stream

        def normal(rows: int, columns: int, scale: float) -> nn.Parameter:
            return nn.Parameter(torch.randn(rows, columns, generator=rng) * scale)

        def norm() -> nn.Module:
            return nn.LayerNorm(width)

        def block() -> Block:
            heads = FactoredAttention.from_noise(
                width, n_heads, width // n_heads, rng, _PHI[attention], gain
            )
            norms = (norm(), norm()) if layer_norm else None
            return Block(heads, MLP(width, 4 * width, rng, gain), norms)

        n_inputs = n_features + (n_features + n_components if auxiliary else 0)
        n_outputs = n_components * (n_features if target == "vectors" else 1)
        self.W_in = normal(n_inputs, width, n_inputs**-0.5)
        self.b_in = nn.Parameter(torch.zeros(width))
        self.positions = normal(n_points, width, 0.02)  # GPT-2's scale
        self.transformer = Transformer([block() for _ in range(n_layers)])
        self.norm = norm()
        self.W_out = normal(n_points * width, n_outputs, (n_points * width) ** -0.5)
        self.b_out = nn.Parameter(torch.zeros(n_outputs))

    def embed(
        self, X: Float[Tensor, "b n d"], starts: Float[Tensor, "b k d"] | None = None
    ) -> Float[Tensor, "b n m"]:
        """The tokens before the first block.

        Raises ValueError for instances of another size, or where auxiliary rows lack their starts.
        """
        if X.shape[1:] != (self.n_points, self.n_features):
            raise ValueError(
                f"X has shape {tuple(X.shape)}; this network reads {self.n_points} points of "
                f"{self.n_features} columns per instance and nothing else"
            )
        if self.auxiliary:
            if starts is None:
                raise ValueError("starts=None: the auxiliary rows need normal draws 'b k d'")
            X = torch.cat([X, self._auxiliary_rows(starts)], dim=-1)
        return X @ self.W_in + self.b_in + self.positions

    def forward(
        self, X: Float[Tensor, "b n d"], starts: Float[Tensor, "b k d"] | None = None
    ) -> Float[Tensor, "b k *d"]:
        """Eigenvalues or eigenvectors; `starts` is read by a network with auxiliary rows only."""
        H = self.norm(self.transformer(self.embed(X, starts)))
        answer = H.flatten(1) @ self.W_out + self.b_out
        if self.target == "values":
            return answer
        return answer.reshape(len(X), self.n_components, self.n_features)

    def record(
        self, X: Float[Tensor, "b n d"], starts: Float[Tensor, "b k d"] | None = None
    ) -> dict[str, Tensor]:
        """Every attention pattern and residual stream, as `Transformer.record` names them."""
        return self.transformer.record(self.embed(X, starts))

    def _auxiliary_rows(self, starts: Float[Tensor, "b k d"]) -> Float[Tensor, "b n d_plus_k"]:
        b, _, d = starts.shape
        identity = torch.eye(d, dtype=starts.dtype, device=starts.device).expand(b, d, d)
        rows = torch.cat([identity, starts.mT], dim=-1)
        return nn.functional.pad(rows, (0, 0, 0, self.n_points - d))


def _check(target: str, attention: str, n_components: int, n_features: int) -> None:
    if target not in TARGETS:
        raise ValueError(f"target={target!r} is unknown; choose from {TARGETS}")
    if attention not in _PHI:
        raise ValueError(f"attention={attention!r} is unknown; choose from {tuple(_PHI)}")
    if not 1 <= n_components <= n_features:
        raise ValueError(
            f"n_components={n_components}: pass 1 to n_features={n_features}, there are no more"
        )
