"""How tables become tokens, and how tokens become responsibilities and centres.

By named slots (weights from a theorem) or by learned maps (weights from training).

Axes: b tables, n points, d features, c components, t tokens, m token width, e head width.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor, einsum, nn

from statformer.batch import Centres, Tables
from statformer.nn.attention import softmax
from statformer.nn.layout import TokenLayout

TokenSet = Literal["data", "centres"]
Streams = dict[TokenSet, Tensor]  # residual streams, "b n m" and "b c m"
Start = Centres | Float[Tensor, "b n c"]

# ---------------------------------------------------------------------------------------------
# Explicit slots: tokens are written and read by name


class SlotEmbedding(nn.Module):
    """Data and centre tokens in the slots of `TokenLayout.mixture`; nothing is computed.

    From centres: payload mu_j and count n pi_j, which the "refresh" step of `entry` turns into a
    bias. From responsibilities: the scratch block of the data; components that own no weight are
    absent.
    """

    holds_responsibilities = True

    def __init__(self, layout: TokenLayout) -> None:
        super().__init__()
        self.layout = layout

    def forward(self, tables: Tables, start: Start) -> tuple[Streams, Bool[Tensor, "b c"]]:
        X, slot = tables.X, self.layout
        b, n, d = X.shape
        c = slot.widths["identity"]
        data, centres = X.new_zeros(b, n, slot.width), X.new_zeros(b, c, slot.width)
        self._check(d, start)
        data[..., slot["payload"]] = X
        data[..., slot["one"]] = data[..., slot["is_data"]] = 1.0
        centres[..., slot["identity"]] = torch.eye(c, dtype=X.dtype, device=X.device)
        centres[..., slot["one"]] = centres[..., slot["is_centre"]] = 1.0
        if not isinstance(start, Centres):
            data[..., slot["responsibility"]] = start
            return {"data": data, "centres": centres}, _owns_weight(tables, start)
        total = tables.weight.sum(-1, keepdim=True)
        centres[..., slot["payload"]] = start.means
        centres[..., slot["count"]] = (total * start.weights)[..., None]
        return {"data": data, "centres": centres}, start.is_component

    def _check(self, n_features: int, start: Start) -> None:
        d, c = self.layout.widths["payload"], self.layout.widths["identity"]
        given = (start.weights if isinstance(start, Centres) else start).shape[-1]
        if (n_features, given) != (d, c):
            raise ValueError(
                f"tables with {n_features} columns and a start with {given} components do not fit "
                f"weights written for {d} and {c}; pad the tables, or write weights of that size"
            )


class SlotReadout(nn.Module):
    """r from the scratch block of the data, mu from the payload and pi = N / n of the centres.

    Where `weighs` is False (Lloyd) pi is uniform over the components. Sigma = sigma^2 I.
    """

    def __init__(self, layout: TokenLayout, sigma: float, *, weighs: bool = True) -> None:
        super().__init__()
        self.layout, self.sigma, self.weighs = layout, sigma, weighs

    def forward(
        self, streams: Streams, tables: Tables, is_component: Bool[Tensor, "b c"]
    ) -> tuple[Float[Tensor, "b n c"], Centres]:
        data, centres, slot = streams["data"], streams["centres"], self.layout
        there = is_component.to(centres.dtype)
        if self.weighs:
            total = tables.weight.sum(-1, keepdim=True)
            weights = there * centres[..., slot["count"]].squeeze(-1) / total
        else:
            weights = there / there.sum(-1, keepdim=True)
        means = there[..., None] * centres[..., slot["payload"]]
        read = Centres(weights, means, _isotropic(tables, is_component, self.sigma), is_component)
        return data[..., slot["responsibility"]], read


# ---------------------------------------------------------------------------------------------
# Learned read-in and read-out


class LinearEmbedding(nn.Module):
    """Data tokens (x, 1) W_data and centre tokens (mu, log pi, 1) W_centre.

    Centres of a start given as responsibilities are their weighted means. Tables with fewer columns
    than d are padded with zeros.
    """

    holds_responsibilities = False

    def __init__(
        self, W_data: Float[Tensor, "d_plus_1 m"], W_centre: Float[Tensor, "d_plus_2 m"]
    ) -> None:
        super().__init__()
        self.W_data, self.W_centre = nn.Parameter(W_data), nn.Parameter(W_centre)
        self.n_features = W_data.shape[0] - 1

    @classmethod
    def from_noise(cls, n_features: int, width: int, rng: Generator) -> LinearEmbedding:
        """The same normal weights for x and mu, so that a centre begins like a point at its mean.

        A point whose columns have unit variance gives slots of unit variance.
        """

        def normal(rows: int) -> Tensor:
            return torch.randn(rows, width, generator=rng, device=rng.device)

        payload = normal(n_features) * n_features**-0.5
        return cls(torch.cat([payload, normal(1)]), torch.cat([payload, normal(2)]))

    def forward(self, tables: Tables, start: Start) -> tuple[Streams, Bool[Tensor, "b c"]]:
        X = tables.X
        if X.shape[-1] > self.n_features:
            raise ValueError(
                f"tables have {X.shape[-1]} columns, the weights take at most {self.n_features}; "
                "reduce the columns, or use weights trained with more"
            )
        if not isinstance(start, Centres):
            start = moments(tables, start, _owns_weight(tables, start), sigma=1.0)
        there = start.is_component.to(X.dtype)[..., None]
        log_pi = torch.log(torch.where(start.is_component, start.weights, 1.0).clamp_min(1e-12))
        data = torch.cat([self._pad(X), torch.ones_like(X[..., :1])], dim=-1)
        centres = torch.cat([self._pad(start.means), log_pi[..., None], there], dim=-1)
        streams: Streams = {"data": data @ self.W_data, "centres": centres @ self.W_centre}
        return streams, start.is_component

    def _pad(self, X: Float[Tensor, "b t d"]) -> Float[Tensor, "b t w"]:
        return nn.functional.pad(X, (0, self.n_features - X.shape[-1]))


class PatternReadout(nn.Module):
    """r = softmax over centres of (H_D W_Q)(H_C W_K)'; centres = the moments under r."""

    def __init__(
        self,
        W_Q: Float[Tensor, "m e"],
        W_K: Float[Tensor, "m e"],
        sigma: float,
        norm: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.W_Q, self.W_K = nn.Parameter(W_Q), nn.Parameter(W_K)
        self.sigma, self.norm = sigma, norm

    @classmethod
    def from_noise(
        cls, width: int, sigma: float, rng: Generator, norm: nn.Module | None
    ) -> PatternReadout:
        """Normal weights under which tokens of unit variance have scores of unit variance."""

        def normal() -> Tensor:
            return torch.randn(width, width, generator=rng, device=rng.device) * width**-0.75

        return cls(normal(), normal(), sigma, norm)

    def forward(
        self, streams: Streams, tables: Tables, is_component: Bool[Tensor, "b c"]
    ) -> tuple[Float[Tensor, "b n c"], Centres]:
        data, centres = streams["data"], streams["centres"]
        if self.norm is not None:
            data, centres = self.norm(data), self.norm(centres)
        scores = einsum("bne,bce->bnc", data @ self.W_Q, centres @ self.W_K)
        keep = is_component[:, None, None].to(scores.dtype)
        r = softmax(scores[:, None], keep)[:, 0]
        return r, moments(tables, r, is_component, self.sigma)


def moments(
    tables: Tables,
    responsibilities: Float[Tensor, "b n c"],
    is_component: Bool[Tensor, "b c"],
    sigma: float,
) -> Centres:
    """N_j = sum_i w_i r_ij, pi = N / sum N, mu_j = sum_i w_i r_ij x_i / N_j, Sigma = sigma^2 I."""
    a = tables.weight[..., None] * responsibilities * is_component[:, None].to(tables.X.dtype)
    owned = a.sum(1)
    means = einsum("bnc,bnd->bcd", a, tables.X) / torch.where(owned > 0, owned, 1.0)[..., None]
    weights = owned / owned.sum(-1, keepdim=True)
    return Centres(weights, means, _isotropic(tables, is_component, sigma), is_component)


def _owns_weight(tables: Tables, responsibilities: Float[Tensor, "b n c"]) -> Bool[Tensor, "b c"]:
    return einsum("bn,bnc->bc", tables.weight, responsibilities) > 0


def _isotropic(
    tables: Tables, is_component: Bool[Tensor, "b c"], sigma: float
) -> Float[Tensor, "b c d d"]:
    """sigma^2 I; 1 on the diagonal for absent components and padded columns."""
    X = tables.X
    variance = X.new_full((X.shape[0], 1, X.shape[-1]), sigma**2)
    if tables.is_feature is not None:
        variance = torch.where(tables.is_feature[:, None], variance, 1.0)
    variance = torch.where(is_component[..., None], variance, 1.0)
    return torch.diag_embed(variance)
