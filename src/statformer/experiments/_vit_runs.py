"""Runs of a patch transformer on the same noise at several strengths of the signal, side by side.

The weights of `nn.vision.PatchViT` start from the same random numbers in every run and never leave
start + span of the training tokens. So each is held by one coefficient vector per token,

    W_Q = W_Q(0) + sum_t x_t c_Q[t]',   and W_K, W_V alike,

and what the network needs of them, the products <x_t, W>, is a product of the Gram matrix of the
tokens with the coefficients. The noise tokens are the same in all runs and at right angles to the
signals; one Gram matrix of the noise serves them all, in one matrix product. Derived; it is plain
gradient descent of `objectives.logistic.vit_gradient`, which the tests compare.

Axes: b runs, n points, p patches, t = 2 + n (p - 1) tokens (the signals of -1 and of +1, then the
noise point by point), q and k as queries and keys, d features, e width of heads and of values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import softplus

from statformer.nn.vision import PatchViT
from statformer.tasks.signal_noise import PatchBatch, SignalNoisePrior
from statformer.tasks.stream import TaskStream


@dataclass(frozen=True)
class VitSetting:
    """Sizes, start and descent, all ours: of arXiv 2409.19345 none of them was found.

    The noise is N(0, I) off the signals (sigma = 1), of the two signals each has length
    SNR sqrt(d), the definition of SNR in the neighbouring papers.

    start_qk, start_v, start_o   standard deviations of an entry of xi W_Q and xi W_K, of xi W_V,
                                 and of w_O at the start, xi a noise token (the first three matrices
                                 have them over sqrt(d)). With start_qk = 0 attention stays uniform
                                 for good, as dW_Q has the factor W_K and dW_K the factor W_Q
    rate                         the step size is rate n / (d (1 + n SNR^2 / 16)), a rate over the
                                 order of the largest curvature: time is counted differently in
                                 each run, the path is near that of the gradient flow
    stop                         a run ends at this training loss, or after max_steps
    """

    n_features: int = 4000
    n_patches: int = 4
    width: int = 16
    start_qk: float = 0.3
    start_v: float = 0.06
    start_o: float = 0.02
    rate: float = 0.8
    stop: float = 0.0095
    max_steps: int = 3000

    def prior(self, n_points: int) -> SignalNoisePrior:
        """Points with orthogonal signals of length 1; the runs scale them."""
        return SignalNoisePrior(
            n_points,
            self.n_features,
            signal_norm=1.0,
            sigma=1.0,
            kind="orthogonal",
            n_patches=self.n_patches,
        )


class Tokens(NamedTuple):
    """What the network finds in some points: products of their tokens with its weights.

    queries, keys   "n p b e"  x W_Q, x W_K
    values          "n p b"    x W_V w_O
    """

    queries: Float[Tensor, "n p b e"]
    keys: Float[Tensor, "n p b e"]
    values: Float[Tensor, "n p b"]

    def pattern(self) -> Float[Tensor, "n p p b"]:
        """How much each patch (axis 1) takes of each patch (axis 2)."""
        return torch.softmax((self.queries[:, :, None] * self.keys[:, None]).sum(-1), dim=2)

    def answers(self, pattern: Float[Tensor, "n p p b"]) -> Float[Tensor, "n b"]:
        """f(X)."""
        return (pattern * self.values[:, None]).sum(2).mean(1)


class VitRuns:
    """PatchViT in several runs that differ by the length of the signals.

    noise_gram is "t-2 t-2"; first, c hold x_t W(0) and the coefficients of W_Q, W_K, W_V, "t b e";
    W first weights "d e".
    """

    def __init__(
        self,
        setting: VitSetting,
        batch: PatchBatch,
        norms: Float[Tensor, " b"],
        stream: TaskStream,
    ) -> None:
        """`batch` is one task of `setting.prior`, its signal in the first patch; the start is
        drawn from `stream`."""
        if not setting.start_v * setting.start_o > 0:
            raise ValueError("start_v or start_o is 0: nothing would be trained; pass more")
        self.setting, self.norms, self.y = setting, norms, batch.y[0]
        self.sign = (batch.clean_y[0] > 0).long()
        self.signal, self.noise = batch.signal[0], batch.noise[0].flatten(0, 1)
        self.noise_gram = self.noise @ self.noise.T
        self.signal_gram = self.signal @ self.signal.T
        d, e, b = setting.n_features, setting.width, len(norms)
        scales = {"W_Q": setting.start_qk, "W_K": setting.start_qk, "W_V": setting.start_v}
        self.W = {name: scale / d**0.5 * stream.normal(d, e)[0] for name, scale in scales.items()}
        self.w_O = (setting.start_o * stream.normal(e)).expand(b, e).clone()
        self.first = {name: self._tokens_of(W) for name, W in self.W.items()}
        self.c = {name: torch.zeros_like(first) for name, first in self.first.items()}

    def _tokens_of(self, W: Float[Tensor, "d e"]) -> Float[Tensor, "t b e"]:
        """x_t W for every training token."""
        signal = (self.signal @ W)[:, None] * self.norms[:, None]
        return torch.cat([signal, (self.noise @ W)[:, None].expand(-1, len(self.norms), -1)])

    def _gram(self, c: Float[Tensor, "t b *e"]) -> Float[Tensor, "t b *e"]:
        """sum_s <x_t, x_s> c[s]."""
        square = self.norms.square().reshape(-1, *[1] * (c.ndim - 2))
        signal = square * torch.tensordot(self.signal_gram, c[:2], 1)
        return torch.cat([signal, (self.noise_gram @ c[2:].flatten(1)).view_as(c[2:])])

    def _by_point(self, of_tokens: Float[Tensor, "t b *e"]) -> Float[Tensor, "n p b *e"]:
        """Each token's row, at the points that have it."""
        noise = of_tokens[2:].reshape(len(self.y), -1, *of_tokens.shape[1:])
        return torch.cat([of_tokens[self.sign][:, None], noise], 1)

    def _by_token(self, of_points: Float[Tensor, "n p b *e"]) -> Float[Tensor, "t b *e"]:
        """The sum of each token's rows: a signal stands in many points."""
        signal = [of_points[self.sign == j, 0].sum(0) for j in (0, 1)]
        return torch.cat([torch.stack(signal), of_points[:, 1:].flatten(0, 1)])

    def products(self, name: str) -> Float[Tensor, "t b e"]:
        """x_t W of "W_Q", "W_K" or "W_V"."""
        return self.first[name] + self._gram(self.c[name])

    def values(self) -> Float[Tensor, "t b"]:
        """x_t W_V w_O."""
        own = (self.first["W_V"] * self.w_O).sum(-1)
        return own + self._gram((self.c["W_V"] * self.w_O).sum(-1))

    def tokens(self) -> Tokens:
        """What the network finds in the training points."""
        return Tokens(
            self._by_point(self.products("W_Q")),
            self._by_point(self.products("W_K")),
            self._by_point(self.values()),
        )

    def descend(
        self, watch: Callable[[int, Tokens, Tensor, Tensor], None] | None = None
    ) -> Bool[Tensor, " b"]:
        """Gradient descent until every run has reached the loss `stop`; tells which have.

        `watch(step, tokens, pattern, loss)` is called before every step and after the last. A run
        that has ended keeps its weights.
        """
        setting, n = self.setting, len(self.y)
        square = self.norms.square()
        sizes = setting.rate * n / (setting.n_features + n * square / 16.0)
        going = torch.ones_like(square).bool()
        for step in range(setting.max_steps + 1):
            tokens = self.tokens()
            pattern = tokens.pattern()
            margins = self.y[:, None] * tokens.answers(pattern)
            loss = softplus(-margins).mean(0)
            going = going & ~(loss <= setting.stop)
            if watch is not None:
                watch(step, tokens, pattern, loss)
            if step == setting.max_steps or not bool(going.any()):
                break
            slope = -self.y[:, None] * torch.sigmoid(-margins) / (n * setting.n_patches)
            self._step(tokens, pattern, slope, torch.where(going, sizes, 0.0))
        return ~going

    def _step(
        self,
        tokens: Tokens,
        A: Float[Tensor, "n p p b"],
        slope: Float[Tensor, "n b"],
        sizes: Float[Tensor, " b"],
    ) -> None:
        """One step of all weights; the letters are those of `vit_gradient`, slope is its g."""
        u = tokens.values
        D = slope[:, None, None] * A * (u[:, None] - (A * u[:, None]).sum(2, keepdim=True))
        of_queries = (D[..., None] * tokens.keys[:, None]).sum(2)
        of_keys = (D[..., None] * tokens.queries[:, :, None]).sum(1)
        z = self._by_token(slope[:, None] * A.sum(1))
        of_head = (z[..., None] * self.first["W_V"]).sum(0)
        of_head += (self._gram(z)[..., None] * self.c["W_V"]).sum(0)
        size = sizes[:, None]
        self.c["W_Q"] -= size * self._by_token(of_queries)
        self.c["W_K"] -= size * self._by_token(of_keys)
        self.c["W_V"] -= size * z[..., None] * self.w_O
        self.w_O = self.w_O - size * of_head

    def weights(self, name: str) -> Float[Tensor, "d b e"]:
        """ "W_Q", "W_K" or "W_V" in d features."""
        c = self.c[name]
        moved = self.noise.T @ c[2:].flatten(1)
        signal = torch.tensordot(self.signal, self.norms[:, None] * c[:2], ([0], [0]))
        return self.W[name][:, None] + moved.view(-1, *c.shape[1:]) + signal

    def network(self) -> PatchViT:
        """The same as a network."""
        wide = [self.weights(name).transpose(0, 1).contiguous() for name in self.W]
        return PatchViT(wide[0], wide[1], wide[2], self.w_O.clone())

    def fresh(self, batch: PatchBatch) -> Tokens:
        """What the network finds in points it has not seen, of signals of length 1 as in
        training; every run sees its own length."""
        n, sign = batch.y.shape[1], (batch.clean_y[0] > 0).long()
        noise = batch.noise[0].flatten(0, 1)

        def found(W: Float[Tensor, "d b *e"]) -> Float[Tensor, "n p b *e"]:
            scale = self.norms.reshape(-1, *[1] * (W.ndim - 2))
            signal = scale * torch.tensordot(self.signal, W, 1)[sign]
            of_noise = (noise @ W.flatten(1)).view(n, -1, *W.shape[1:])
            return torch.cat([signal[:, None], of_noise], 1)

        read_out = (self.weights("W_V") * self.w_O).sum(-1)
        return Tokens(found(self.weights("W_Q")), found(self.weights("W_K")), found(read_out))
