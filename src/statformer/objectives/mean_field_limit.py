"""The limit of infinite depth: hidden states and adjoints as differential equations in t.

    dT/dt = 1/2 (mean f + mean h),   T(0) = H
    dp/dt = -(Jacobian of dT/dt in T)' p,   p(1) = (read - y) e_read

with the law of the particles that a network has: those of layer l from t = l/L to (l + 1)/L. Gao et
al. 2024 (arXiv 2410.23610). The paper writes p as the exponential of an integral; Jacobians at
different t do not commute, so it is integrated here (ours).

Axes: b runs side by side, j particles, n sequences, t tokens, d features of a token.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from statformer.nn.mean_field import MeanFieldTransformer
from statformer.nn.mean_field_encoders import Encoder


class Limit(NamedTuple):
    """T and p at t = 0, 1/L, ..., 1: L + 1 of each."""

    states: list[Float[Tensor, "b n t d"]]
    adjoints: list[Float[Tensor, "b n t d"]]


@torch.no_grad()
def limit(
    network: MeanFieldTransformer,
    H: Float[Tensor, "n t d"],
    y: Float[Tensor, " n"],
    n_steps: int,
) -> Limit:
    """Runge and Kutta's method of order 4: `n_steps` per layer forward, half as many back.

    Back in t a step spans two forward ones, whose states are its ends and its middle. Raises
    ValueError for an odd `n_steps` or less than 2.
    """
    if n_steps < 2 or n_steps % 2:
        raise ValueError(f"n_steps={n_steps}: pass an even number of at least 2")
    h = 1.0 / (network.n_layers * n_steps)
    T = H.expand(len(network.V), *H.shape)
    nodes = [T]
    for layer in range(network.n_layers):
        for _ in range(n_steps):
            k1 = _velocity(network, layer, T)
            k2 = _velocity(network, layer, T + 0.5 * h * k1)
            k3 = _velocity(network, layer, T + 0.5 * h * k2)
            k4 = _velocity(network, layer, T + h * k3)
            T = T + h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)
            nodes.append(T)
    p = torch.zeros_like(T)
    p[:, :, -1, network.read] = T[:, :, -1, network.read] - y
    adjoints = [p]
    for layer in reversed(range(network.n_layers)):
        for place in reversed(range(layer * n_steps, (layer + 1) * n_steps, 2)):
            begin, middle, end = nodes[place : place + 3]
            k1 = _carried(network, layer, end, p)
            k2 = _carried(network, layer, middle, p + h * k1)
            k3 = _carried(network, layer, middle, p + h * k2)
            k4 = _carried(network, layer, begin, p + 2.0 * h * k3)
            p = p + h / 3.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)
        adjoints.append(p)
    return Limit(nodes[::n_steps], adjoints[::-1])


@torch.no_grad()
def field_at(
    encoder: Encoder,
    T: Float[Tensor, "b n t d"],
    p: Float[Tensor, "b n t d"],
    weights: tuple[Float[Tensor, "b j _ _"], Float[Tensor, "b j _ _"]],
    penalty: float,
) -> tuple[Float[Tensor, "b j _ _"], Float[Tensor, "b j _ _"]]:
    """G = 1/2 E grad Tr(encoder(T)' p) + penalty beta at any particles j, the network's or not.

    For a network, T and p are those before and after the step; in the limit both are at t.
    """
    slopes = encoder.pull_back(T, p, *weights).weights
    first, second = (
        0.5 * slope + penalty * weight for slope, weight in zip(slopes, weights, strict=True)
    )
    return first, second


def _velocity(
    network: MeanFieldTransformer, layer: int, T: Float[Tensor, "b n t d"]
) -> Float[Tensor, "b n t d"]:
    """dT/dt."""
    total = torch.zeros_like(T)
    for encoder in network.encoders():
        total = total + 0.5 * encoder.mean(T, *network.weights(layer, encoder))
    return total


def _carried(
    network: MeanFieldTransformer,
    layer: int,
    T: Float[Tensor, "b n t d"],
    p: Float[Tensor, "b n t d"],
) -> Float[Tensor, "b n t d"]:
    """-dp/dt."""
    total = torch.zeros_like(p)
    for encoder in network.encoders():
        total = total + 0.5 * encoder.pull_back(T, p, *network.weights(layer, encoder)).tokens
    return total
