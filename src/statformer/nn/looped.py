"""Linear attention applied again and again: a layer that is a step of gradient descent, looped.

    Z <- Z - (1 / n) P Z M (Z' Q Z),    Z = [[X', x], [y', 0]]

The columns are n labelled points and a query; M = diag(1, ..., 1, 0) keeps the query from being
heard. Of Q only the block A of the features is not 0, of P only the last row, (u', 1). What is read
is minus the last entry. After Gatmiry et al. 2024 (arXiv 2410.08292); the 1 in P and the sign of
the answer follow from what the layer is for.

Axes: b tasks, n points, d features, l layers.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, einsum, nn


class LoopedAttention(nn.Module):
    """(X, y, query) -> answers: the l layers in a row, `n_loops` times over.

    One layer is the looped Transformer; l layers and one loop are its untied rival.
    """

    def __init__(
        self, A: Float[Tensor, "l d d"], u: Float[Tensor, "l d"], n_loops: int = 1
    ) -> None:
        """Raises ValueError for fewer than one loop."""
        super().__init__()
        if n_loops < 1:
            raise ValueError(f"n_loops={n_loops}: pass at least 1")
        self.A, self.u, self.n_loops = nn.Parameter(A), nn.Parameter(u), n_loops

    @property
    def depth(self) -> int:
        """Steps from the prompt to the answer: l times the number of loops."""
        return len(self.A) * self.n_loops

    def forward(
        self, X: Float[Tensor, "b n d"], y: Float[Tensor, "b n"], query: Float[Tensor, "b d"]
    ) -> Float[Tensor, " b"]:
        points = torch.cat([X, query[:, None]], dim=1).mT  # "b d n+1"
        labels = torch.cat([y, torch.zeros_like(y[:, :1])], dim=1)
        Z = torch.cat([points, labels[:, None]], dim=1)
        for step in range(self.depth):
            Z = Z - self._attention(step % len(self.A), Z) / X.shape[1]
        return -Z[:, -1, -1]

    def _attention(self, layer: int, Z: Float[Tensor, "b m t"]) -> Float[Tensor, "b m t"]:
        """P Z M (Z' Q Z), read from the left so that nothing of size t by t is made."""
        d = self.A.shape[-1]
        row = torch.cat([self.u[layer], Z.new_ones(1)])  # the last row of P
        heard = (row @ Z)[:, :-1]  # the others are 0; M drops the query
        keys = einsum("bt,bdt->bd", heard, Z[:, :d, :-1])
        last = einsum("bd,de,bet->bt", keys, self.A[layer], Z[:, :d])
        return torch.cat([torch.zeros_like(Z[:, :-1]), last[:, None]], dim=1)
