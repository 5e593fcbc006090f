"""The two encoders of a mean-field Transformer, averaged over particles, and their adjoints.

    attention     f(T, theta) = V T sigma(T' W T),   theta = (V, W); softmax of each column, or relu
    feed-forward  h(T, w) = W2 sigma(W1 T),          w = (W1, W2); Huberised relu, or relu

Gao et al. 2024 (arXiv 2410.23610): no scale of 1 / sqrt(d), no bias. The formulas have tokens as
columns, as the paper does. The arrays have them as rows: T[..., q, :] is column q. So row q of the
pattern is column q of sigma(T' W T), and sums to 1 over k.

Axes: b runs side by side, j particles of one layer, n sequences, t, q, k tokens, d features of a
token (the paper's D), s hidden units (the paper's S).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor


class PulledBack(NamedTuple):
    """Gradients of Tr(P' encoder), P given: through the tokens, and of each particle's weights.

    tokens   of the mean over particles, for every sequence
    weights  of each particle, a mean over the sequences; in the order of the encoder's `names`
    """

    tokens: Float[Tensor, "b n t d"]
    weights: tuple[Float[Tensor, "b j _ _"], Float[Tensor, "b j _ _"]]


@runtime_checkable
class Encoder(Protocol):
    """What a layer adds: a mean over particles, each with two matrices, called `names`."""

    @property
    def names(self) -> tuple[str, str]:
        """Of the two matrices, in the order in which they are passed."""

    def mean(self, T: Tensor, first: Tensor, second: Tensor, /) -> Tensor:
        """The mean over the particles."""

    def pull_back(self, T: Tensor, P: Tensor, first: Tensor, second: Tensor, /) -> PulledBack:
        """The gradients of Tr(P' mean) through T, and of Tr(P' encoder) in each particle."""


@dataclass(frozen=True)
class MeanAttention:
    """(1/M) sum_j V_j T sigma(T' W_j T).

    With "softmax" it is the attention for which the paper's assumptions are verified; "relu" acts
    entrywise and is not divided by anything.
    """

    sigma: Literal["softmax", "relu"] = "softmax"

    @property
    def names(self) -> tuple[str, str]:
        """theta."""
        return "V", "W"

    def pattern(
        self, T: Float[Tensor, "b n t d"], W: Float[Tensor, "b j d d"]
    ) -> Float[Tensor, "b n q j k"]:
        """sigma(x_k' W_j x_q): how much token q takes of token k in particle j."""
        (b, n, t, _), j = T.shape, W.shape[1]
        return self._pattern(T, _queries(T, W)).mT.reshape(b, n, t, j, t)

    def mean(
        self,
        T: Float[Tensor, "b n t d"],
        V: Float[Tensor, "b j d d"],
        W: Float[Tensor, "b j d d"],
    ) -> Float[Tensor, "b n t d"]:
        """The mean over the particles."""
        heard = self._pattern(T, _queries(T, W)).mT @ T
        return _mean_of(heard, V, T)

    def pull_back(
        self,
        T: Float[Tensor, "b n t d"],
        P: Float[Tensor, "b n t d"],
        V: Float[Tensor, "b j d d"],
        W: Float[Tensor, "b j d d"],
    ) -> PulledBack:
        """By hand, at the cost of about three passes. For one particle, A the pattern:

        dV = sum_q p_q (T a_q)',   dS = A (D - <A, D>) for softmax, D_qk = p_q' V x_k (dS = D where
        a score is above 0 for relu),   dW = sum_qk dS_qk x_k x_q'.
        """
        (b, n, t, d), j = T.shape, W.shape[1]
        Q = _queries(T, W)
        A = self._pattern(T, Q)
        heard = A.mT @ T
        flat_P = P.reshape(b, n * t, d)
        dV = (flat_P.mT @ heard.reshape(b, n * t, j * d)).reshape(b, d, j, d).transpose(1, 2)
        back = (flat_P @ _beside(V)).reshape(b, n, t * j, d)  # V_j' p_q
        D = T @ back.mT
        if self.sigma == "softmax":
            dS = A * (D - (A * D).sum(-2, keepdim=True))
        else:
            dS = torch.where(A > 0, D, 0.0)
        dQ = (dS.mT @ T).reshape(b, n * t, j * d)
        dW = (dQ.mT @ T.reshape(b, n * t, d)).reshape(b, j, d, d)
        by_query = (dQ @ _stacked(W)).reshape(T.shape)
        by_key = dS @ Q + A @ back
        return PulledBack((by_query + by_key) / j, (dV / n, dW / n))

    def _pattern(
        self, T: Float[Tensor, "b n t d"], Q: Float[Tensor, "b n tj d"]
    ) -> Float[Tensor, "b n t tj"]:
        """Keys first: torch is ten times faster in a softmax that is not over the last axis."""
        scores = T @ Q.mT
        return torch.softmax(scores, -2) if self.sigma == "softmax" else torch.relu(scores)


@dataclass(frozen=True)
class MeanFeedForward:
    """(1/M) sum_j W2_j sigma(W1_j T), sigma entrywise.

    "huber" is 0 below 0, z^2 / 2 on [0, 1] and z - 1/2 above: the case that the paper verifies.
    """

    sigma: Literal["huber", "relu"] = "huber"

    @property
    def names(self) -> tuple[str, str]:
        """w."""
        return "W1", "W2"

    def mean(
        self,
        T: Float[Tensor, "b n t d"],
        W1: Float[Tensor, "b j s d"],
        W2: Float[Tensor, "b j d s"],
    ) -> Float[Tensor, "b n t d"]:
        """The mean over the particles."""
        return _mean_of(self._sigma(_queries(T, W1)), W2, T)

    def pull_back(
        self,
        T: Float[Tensor, "b n t d"],
        P: Float[Tensor, "b n t d"],
        W1: Float[Tensor, "b j s d"],
        W2: Float[Tensor, "b j d s"],
    ) -> PulledBack:
        """dW2 = sum_q p_q sigma(u_q)',   dW1 = sum_q (sigma'(u_q) W2' p_q) x_q',   u = W1 x."""
        (b, n, t, d), (j, s) = T.shape, W1.shape[1:3]
        u = _queries(T, W1).reshape(b, n * t, j * s)
        flat_P = P.reshape(b, n * t, d)
        dW2 = (flat_P.mT @ self._sigma(u)).reshape(b, d, j, s).transpose(1, 2)
        du = (flat_P @ _beside(W2)) * self._slope(u)
        dW1 = (du.mT @ T.reshape(b, n * t, d)).reshape(b, j, s, d)
        return PulledBack((du @ _stacked(W1)).reshape(T.shape) / j, (dW1 / n, dW2 / n))

    def _sigma(self, u: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        if self.sigma == "relu":
            return torch.relu(u)
        low = u.clamp(0.0, 1.0)
        return low * (u - 0.5 * low)

    def _slope(self, u: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        return (u > 0).to(u.dtype) if self.sigma == "relu" else u.clamp(0.0, 1.0)


def _queries(
    T: Float[Tensor, "b n t d"], W: Float[Tensor, "b j s d"]
) -> Float[Tensor, "b n t*j s"]:
    """W_j x_q for every token and particle, as one product of matrices."""
    (b, n, t, d), (j, s) = T.shape, W.shape[1:3]
    return (T.reshape(b, n * t, d) @ _stacked(W).mT).reshape(b, n, t * j, s)


def _mean_of(
    units: Float[Tensor, "b n tj s"], V: Float[Tensor, "b j d s"], T: Float[Tensor, "b n t d"]
) -> Float[Tensor, "b n t d"]:
    """(1/M) sum_j V_j u_j, the sums over particles and units at once."""
    (b, n, t, d), j = T.shape, V.shape[1]
    return (units.reshape(b, n * t, -1) @ _beside(V).mT).reshape(b, n, t, d) / j


def _stacked(W: Float[Tensor, "b j s d"]) -> Float[Tensor, "b j*s d"]:
    return W.reshape(W.shape[0], -1, W.shape[-1])


def _beside(V: Float[Tensor, "b j d s"]) -> Float[Tensor, "b d j*s"]:
    return V.transpose(1, 2).reshape(V.shape[0], V.shape[2], -1)
