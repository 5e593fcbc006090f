"""Attention whose matrices are visible: merged (W_QK, W_OV) and factored (W_Q, W_K, W_V, W_O).

Queries come from one set of tokens and keys from another, so that attention between two kinds of
tokens is a slice and not a masked square. No scale, bias or residual is hidden.

Axes: b tables, q and k tokens as queries and keys, h heads, m token width, e head width.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor, einsum, nn

# phi(scores "b h q k", keep "b #h #q k") -> pattern "b h q k"
Phi = Callable[[Tensor, Tensor], Tensor]


def softmax(
    scores: Float[Tensor, "b h q k"], keep: Float[Tensor, "b #h #q k"]
) -> Float[Tensor, "b h q k"]:
    """w_k exp(s_k) / sum_k w_k exp(s_k), where key k counts w_k = keep_k times (0: not at all).

    Raises ValueError where a row has no kept key.
    """
    _need_a_key(keep)
    scores = scores.masked_fill(keep == 0, -torch.inf)
    mass = keep * torch.exp(scores - scores.amax(-1, keepdim=True).detach())
    return mass / mass.sum(-1, keepdim=True)


def linear(
    scores: Float[Tensor, "b h q k"], keep: Float[Tensor, "b #h #q k"]
) -> Float[Tensor, "b h q k"]:
    """w_k s_k: un-normalised attention."""
    return keep * scores


def relu(
    scores: Float[Tensor, "b h q k"], keep: Float[Tensor, "b #h #q k"]
) -> Float[Tensor, "b h q k"]:
    """w_k max(s_k, 0): un-normalised attention to positive scores."""
    return keep * torch.relu(scores)


def hardmax(
    scores: Float[Tensor, "b h q k"], keep: Float[Tensor, "b #h #q k"]
) -> Float[Tensor, "b h q k"]:
    """All mass on the kept key of the highest score; ties share it in proportion to w_k.

    Raises ValueError where a row has no kept key.
    """
    _need_a_key(keep)
    scores = scores.masked_fill(keep == 0, -torch.inf)
    mass = keep * (scores == scores.amax(-1, keepdim=True))
    return mass / mass.sum(-1, keepdim=True)


def _need_a_key(keep: Float[Tensor, "b #h #q k"]) -> None:
    has_key = (keep > 0).any(-1)
    if not bool(has_key.all()):
        tables = sorted(set(torch.nonzero(~has_key)[:, 0].tolist()))
        raise ValueError(
            f"keep has a row without any kept key (tables {tables}), where softmax has no value; "
            "keep at least one key per row or leave these tables out"
        )


class Attention(nn.Module):
    """H_q -> sum over heads of phi(H_q W_QK H_k') H_k W_OV, with no hidden scale or bias."""

    def __init__(
        self,
        W_QK: Float[Tensor, "h m m"],
        W_OV: Float[Tensor, "h m m"],
        phi: Phi = softmax,
    ) -> None:
        super().__init__()
        self.W_QK, self.W_OV, self.phi = nn.Parameter(W_QK), nn.Parameter(W_OV), phi

    def scores(
        self, queries: Float[Tensor, "b q m"], keys: Float[Tensor, "b k m"]
    ) -> Float[Tensor, "b h q k"]:
        """What phi sees: H_q W_QK H_k' of each head."""
        return einsum("bqm,hmn,bkn->bhqk", queries, self.W_QK, keys)

    def pattern(
        self,
        queries: Float[Tensor, "b q m"],
        keys: Float[Tensor, "b k m"],
        keep: Bool[Tensor, "b #q k"] | Float[Tensor, "b #q k"],
    ) -> Float[Tensor, "b h q k"]:
        """How much each query takes of each key.

        `keep` is True for the keys that count; as a number it says how many times each counts, so
        that a key of weight 2 is the same as two keys.
        """
        return self.phi(self.scores(queries, keys), keep[:, None].to(queries.dtype))

    def read(
        self, pattern: Float[Tensor, "b h q k"], keys: Float[Tensor, "b k m"]
    ) -> Float[Tensor, "b q m"]:
        """What a pattern brings to the queries: sum over heads of pattern H_k W_OV."""
        return einsum("bhqk,bkm,hmn->bqn", pattern, keys, self.W_OV)

    def forward(
        self,
        queries: Float[Tensor, "b q m"],
        keys: Float[Tensor, "b k m"],
        keep: Bool[Tensor, "b #q k"] | Float[Tensor, "b #q k"],
    ) -> Float[Tensor, "b q m"]:
        return self.read(self.pattern(queries, keys, keep), keys)


class FactoredAttention(nn.Module):
    """The same with W_QK = W_Q W_K' and W_OV = W_V W_O of rank e: the form that is trained."""

    def __init__(
        self,
        W_Q: Float[Tensor, "h m e"],
        W_K: Float[Tensor, "h m e"],
        W_V: Float[Tensor, "h m e"],
        W_O: Float[Tensor, "h e m"],
        phi: Phi = softmax,
    ) -> None:
        super().__init__()
        self.W_Q, self.W_K = nn.Parameter(W_Q), nn.Parameter(W_K)
        self.W_V, self.W_O = nn.Parameter(W_V), nn.Parameter(W_O)
        self.phi = phi

    @classmethod
    def from_noise(
        cls,
        width: int,
        n_heads: int,
        d_head: int,
        rng: Generator,
        phi: Phi = softmax,
        gain: float = 1.0,
    ) -> FactoredAttention:
        """Normal weights under which tokens of unit variance have scores of unit variance.

        W_Q and W_K have variance 1 / (m sqrt(e)), which carries the usual factor 1 / sqrt(e);
        W_V has variance 1 / m and W_O gain^2 / (h e).
        """

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=rng, device=rng.device)

        width_scale, score_scale = width**-0.5, d_head**-0.25
        return cls(
            normal(n_heads, width, d_head) * (width_scale * score_scale),
            normal(n_heads, width, d_head) * (width_scale * score_scale),
            normal(n_heads, width, d_head) * width_scale,
            normal(n_heads, d_head, width) * (gain * (n_heads * d_head) ** -0.5),
            phi,
        )

    def merged(self) -> Attention:
        """The attention with the two products written out; its values are the same."""
        W_QK = einsum("hme,hne->hmn", self.W_Q, self.W_K)
        W_OV = einsum("hme,hen->hmn", self.W_V, self.W_O)
        return Attention(W_QK.detach(), W_OV.detach(), self.phi)

    def scores(
        self, queries: Float[Tensor, "b q m"], keys: Float[Tensor, "b k m"]
    ) -> Float[Tensor, "b h q k"]:
        """What phi sees: (H_q W_Q)(H_k W_K)' of each head."""
        Q = einsum("bqm,hme->bhqe", queries, self.W_Q)
        K = einsum("bkm,hme->bhke", keys, self.W_K)
        return einsum("bhqe,bhke->bhqk", Q, K)

    def pattern(
        self,
        queries: Float[Tensor, "b q m"],
        keys: Float[Tensor, "b k m"],
        keep: Bool[Tensor, "b #q k"] | Float[Tensor, "b #q k"],
    ) -> Float[Tensor, "b h q k"]:
        """How much each query takes of each key; `keep` as in `Attention.pattern`."""
        return self.phi(self.scores(queries, keys), keep[:, None].to(queries.dtype))

    def read(
        self, pattern: Float[Tensor, "b h q k"], keys: Float[Tensor, "b k m"]
    ) -> Float[Tensor, "b q m"]:
        """What a pattern brings to the queries: sum over heads of pattern H_k W_V W_O."""
        values = einsum("bkm,hme->bhke", keys, self.W_V)
        return einsum("bhqe,hem->bqm", einsum("bhqk,bhke->bhqe", pattern, values), self.W_O)

    def forward(
        self,
        queries: Float[Tensor, "b q m"],
        keys: Float[Tensor, "b k m"],
        keep: Bool[Tensor, "b #q k"] | Float[Tensor, "b #q k"],
    ) -> Float[Tensor, "b q m"]:
        return self.read(self.pattern(queries, keys, keep), keys)
