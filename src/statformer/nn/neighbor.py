"""One softmax-attention layer that reads the label of the nearest context point, after Li et al.

Li, Cao, Gao, He, Liu, Klusowski, Fan and Wang 2024 (arXiv 2411.10830) train W = W_K' W_Q of
softmax attention on points of the sphere; "a proper initialisation" keeps W in a family of two
parameters. Their token matrix, mask and initial values were not available to us. Tokens and family
here are our reading, consistent with what is known:

    context i   (x_i, y_i, 0)             query   (x, 0, 1)
    W_QK = diag(xi_1 I_d, 0, -xi_2),      W_OV: label -> label

so that the query's score is xi_1 <x_i, x> for a context point and xi_1 <x, x> - xi_2 for itself.
The flag in the last slot is what tells the query that it is itself: without it the query is its own
best match, and its label, 0, is what it would read.

Axes: b tasks, n context points, t = n + 1 tokens, d features, v entries of a label, m token width.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from statformer.nn.attention import Attention
from statformer.nn.layout import TokenLayout
from statformer.nn.selector import Selection


def neighbor_layout(n_features: int, n_labels: int = 1) -> TokenLayout:
    """Slots of a token; m = d + v + 1.

    | slot  | width | context i | query |
    |-------|-------|-----------|-------|
    | point | d     | x_i       | x     |
    | label | v     | y_i       | 0     |
    | flag  | 1     | 0         | 1     |
    """
    return TokenLayout({"point": n_features, "label": n_labels, "flag": 1})


class NeighborTransformer(nn.Module):
    """(X, y, query) -> answer "b v": what the query's token reads in the label slot.

    W_QK is free, all m^2 entries of it; W_OV is fixed.
    """

    def __init__(self, layout: TokenLayout, W_QK: Float[Tensor, "m m"]) -> None:
        super().__init__()
        self.layout = layout
        W_OV = torch.from_numpy(layout.matrix({("label", "label"): 1.0})).to(W_QK)
        self.attention = Attention(W_QK[None], W_OV[None])
        self.attention.W_OV.requires_grad_(False)

    @classmethod
    def from_family(
        cls, n_features: int, xi_1: float, xi_2: float, n_labels: int = 1
    ) -> NeighborTransformer:
        """The member (xi_1, xi_2) of the two-parameter family, in float64."""
        layout = neighbor_layout(n_features, n_labels)
        matrix = layout.matrix({("point", "point"): xi_1, ("flag", "flag"): -xi_2})
        return cls(layout, torch.from_numpy(matrix))

    def tokens(
        self,
        X: Float[Tensor, "b n d"],
        y: Float[Tensor, "b n v"],
        query: Float[Tensor, "b d"],
    ) -> Float[Tensor, "b t m"]:
        """Context points and, last, the query, in their slots.

        Raises ValueError for points or labels of another width than the weights.
        """
        b, n, d = X.shape
        widths = self.layout.widths["point"], self.layout.widths["label"]
        if (d, y.shape[2]) != widths:
            raise ValueError(
                f"X has {d} columns and y {y.shape[2]}; these weights are written for "
                f"{widths[0]} and {widths[1]}"
            )
        H = X.new_zeros(b, n + 1, self.layout.width)
        H[:, :n, self.layout["point"]], H[:, n, self.layout["point"]] = X, query
        H[:, :n, self.layout["label"]] = y
        H[:, n, self.layout["flag"]] = 1.0
        return H

    def pattern(
        self,
        X: Float[Tensor, "b n d"],
        y: Float[Tensor, "b n v"],
        query: Float[Tensor, "b d"],
    ) -> Float[Tensor, "b t"]:
        """How much the query takes of each context point and, last, of itself."""
        H = self.tokens(X, y, query)
        keep = H.new_ones(len(H), 1, H.shape[1])
        return self.attention.pattern(H[:, -1:], H, keep)[:, 0, 0]

    def forward(
        self,
        X: Float[Tensor, "b n d"],
        y: Float[Tensor, "b n v"],
        query: Float[Tensor, "b d"],
    ) -> Float[Tensor, "b v"]:
        H = self.tokens(X, y, query)
        keep = H.new_ones(len(H), 1, H.shape[1])
        return self.attention(H[:, -1:], H, keep)[:, 0, self.layout["label"]]


class NeighborFamily(nn.Module):
    """The family itself, with xi = (xi_1, xi_2) as its two parameters; computed by the selector."""

    def __init__(self, xi_1: float = 0.0, xi_2: float = 0.0) -> None:
        super().__init__()
        self.xi = nn.Parameter(torch.tensor([xi_1, xi_2], dtype=torch.float64))

    def forward(
        self,
        X: Float[Tensor, "b n d"],
        y: Float[Tensor, "b n v"],
        query: Float[Tensor, "b d"],
    ) -> Float[Tensor, "b v"]:
        answer: Tensor = family_selection(self.xi.to(X.dtype), X, y, query).labels()[:, 0]
        return answer


def family_selection(
    xi: Float[Tensor, "2"],
    X: Float[Tensor, "b n d"],
    y: Float[Tensor, "b n v"],
    query: Float[Tensor, "b d"],
) -> Selection:
    """softmax over (xi_1 <x_i, x>, ..., xi_1 <x, x> - xi_2) of the labels (y_i, ..., 0)."""
    context = Selection.of(xi[0] * (query[:, None] @ X.mT), y)
    own = xi[0] * query.square().sum(-1) - xi[1]
    itself = Selection.of(own[:, None, None], y.new_zeros(len(y), 1, y.shape[2]))
    return context.merge(itself)
