"""A residual Transformer of averaged heads: depth is time, a layer is a cloud of particles.

    T(t + dt/2) = T(t)        + (dt/2) (1/M) sum_j f(T(t),        theta_tj),    dt = 1/L
    T(t + dt)   = T(t + dt/2) + (dt/2) (1/M) sum_j h(T(t + dt/2), w_tj),        T(0) = H

from t = 0 to 1, and the answer is one entry of the last token: Gao et al. 2024 (arXiv 2410.23610).
`mean_field_encoders` has f and h. Heads are averaged, not summed, and each sub-layer takes half a
step.

Axes: b runs side by side, l layers, j particles, n sequences, t tokens, d features of a token (the
paper's D), s hidden units (the paper's S). Tokens are rows here and columns in the paper.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from statformer.nn.mean_field_encoders import Encoder, MeanAttention, MeanFeedForward


class Cloud(NamedTuple):
    """Particles (theta, w) of every layer; W1 and W2 are None without a feed-forward encoder."""

    V: Float[Tensor, "b l j d d"]
    W: Float[Tensor, "b l j d d"]
    W1: Float[Tensor, "b l j s d"] | None = None
    W2: Float[Tensor, "b l j d s"] | None = None

    @classmethod
    def uniform_in_ball(
        cls,
        n_runs: int,
        n_layers: int,
        n_particles: int,
        n_features: int,
        n_hidden: int,
        radius: float,
        rng: np.random.Generator,
    ) -> Cloud:
        """Independent particles, uniform in the ball of `radius` around 0, of dimension
        2 d^2 + 2 d s; without hidden units (0) of dimension 2 d^2. float64.

        The paper suggests this law for all layers; its radius is not found.
        """
        d, s = n_features, n_hidden
        shapes = [(d, d), (d, d)] + ([(s, d), (d, s)] if s else [])
        sizes = [rows * columns for rows, columns in shapes]
        x = rng.standard_normal((n_runs, n_layers, n_particles, sum(sizes)))
        length = radius * rng.uniform(size=(*x.shape[:3], 1)) ** (1.0 / x.shape[-1])
        x *= length / np.linalg.norm(x, axis=-1, keepdims=True)
        parts = np.split(x, np.cumsum(sizes)[:-1], axis=-1)
        return cls(
            *(
                torch.from_numpy(part.reshape(*part.shape[:3], *shape).copy())
                for part, shape in zip(parts, shapes, strict=True)
            )
        )

    def with_mirror_images(self) -> Cloud:
        """Each particle beside its image with -V and -W2: twice as many, and means of exactly 0.

        The law stays the same where it is symmetric, so this is a cloud with less noise (ours).
        """
        V, W = torch.cat([self.V, -self.V], 2), torch.cat([self.W, self.W], 2)
        if self.W1 is None or self.W2 is None:
            return Cloud(V, W)
        return Cloud(V, W, torch.cat([self.W1, self.W1], 2), torch.cat([self.W2, -self.W2], 2))

    def of_runs(self, runs: slice) -> Cloud:
        """The particles of some of the runs."""
        if self.W1 is None or self.W2 is None:
            return Cloud(self.V[runs], self.W[runs])
        return Cloud(self.V[runs], self.W[runs], self.W1[runs], self.W2[runs])

    def refined(self, times: int) -> Cloud:
        """The same law at `times` the depth: each layer's particles in so many layers in a row."""
        V, W = (part.repeat_interleave(times, 1) for part in (self.V, self.W))
        if self.W1 is None or self.W2 is None:
            return Cloud(V, W)
        return Cloud(V, W, *(part.repeat_interleave(times, 1) for part in (self.W1, self.W2)))


class MeanFieldTransformer(nn.Module):
    """H "n t d" -> the entry `read` of the last token, "b n". Its weights are copies of the cloud.

    attention     None: softmax, of the pair that the paper verifies
    feed_forward  None: Huberised relu, of that pair, or h = 0 where the cloud has no W1 and W2
    """

    def __init__(
        self,
        cloud: Cloud,
        read: int,
        attention: Encoder | None = None,
        feed_forward: Encoder | None = None,
    ) -> None:
        """Raises ValueError where `read` is no feature of a token, and for a feed-forward encoder
        without its weights in the cloud.
        """
        super().__init__()
        d = cloud.V.shape[-1]
        if not 0 <= read < d:
            raise ValueError(f"read={read}: pass 0 to {d - 1}, a feature of the last token")
        if feed_forward is not None and cloud.W1 is None:
            raise ValueError("the cloud has no W1 and W2: draw it with hidden units")
        self.V, self.W = nn.Parameter(cloud.V.clone()), nn.Parameter(cloud.W.clone())
        self.attention: Encoder = attention or MeanAttention()
        self.feed_forward: Encoder | None = None
        if cloud.W1 is not None and cloud.W2 is not None:
            self.W1, self.W2 = nn.Parameter(cloud.W1.clone()), nn.Parameter(cloud.W2.clone())
            self.feed_forward = feed_forward or MeanFeedForward()
        self.read = read

    @property
    def n_layers(self) -> int:
        """L."""
        return int(self.V.shape[1])

    @property
    def n_particles(self) -> int:
        """M."""
        return int(self.V.shape[2])

    def steps(self) -> list[tuple[int, Encoder]]:
        """(layer, encoder) in the order of the forward pass; each is dt / 2 long."""
        return [(layer, one) for layer in range(self.n_layers) for one in self.encoders()]

    def encoders(self) -> list[Encoder]:
        """f and h, or f alone."""
        f, h = self.attention, self.feed_forward
        return [f] if h is None else [f, h]

    def weights(
        self, layer: int, encoder: Encoder
    ) -> tuple[Float[Tensor, "b j _ _"], Float[Tensor, "b j _ _"]]:
        """Those of the encoder's particles in a layer, in the order of its `names`."""
        first, second = (getattr(self, name)[:, layer] for name in encoder.names)
        return first, second

    def path(self, H: Float[Tensor, "n t d"]) -> list[Float[Tensor, "b n t d"]]:
        """H and the state after every step: t = 0, dt/2, dt, ..., 1."""
        T = H.expand(len(self.V), *H.shape)
        states = [T]
        for layer, encoder in self.steps():
            T = T + 0.5 / self.n_layers * encoder.mean(T, *self.weights(layer, encoder))
            states.append(T)
        return states

    def forward(self, H: Float[Tensor, "n t d"]) -> Float[Tensor, "b n"]:
        return self.path(H)[-1][:, :, -1, self.read]
