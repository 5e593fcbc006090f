"""Risk of a mean-field Transformer, its adjoint, and the gradient flow of its particles.

    R = E 1/2 (read - y)^2,   Q = R + (penalty / 2ML) sum over layers and particles |beta|^2
    G_f = 1/2 E grad_theta Tr(f(T(t), theta)' p(t + dt/2))        + penalty theta
    G_h = 1/2 E grad_w     Tr(h(T(t + dt/2), w)' p(t + dt))       + penalty w
    p(1) = (read - y) e_read;  p <- p + (dt/2) (mean Jacobian of the step)' p, backward

Gao et al. 2024 (arXiv 2410.23610). The flow is d beta / d tau = -G, and G = M L dQ/d beta: the
factor makes training time comparable between widths and depths. E is the mean over the sequences
given, which are all of the distribution.

Axes: b runs side by side, l layers, j particles, n sequences, t tokens, d features of a token.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from statformer.nn.mean_field import MeanFieldTransformer


class Adjoint(NamedTuple):
    """Hidden states and dR_n/dT of every sequence n, in the order of `network.steps()`.

    states    T before each step, and the last
    adjoints  p after each step: adjoints[i] belongs to states[i + 1]
    weights   step by step E grad Tr(encoder(states[i])' adjoints[i]), for each particle
    """

    states: list[Float[Tensor, "b n t d"]]
    adjoints: list[Float[Tensor, "b n t d"]]
    weights: list[tuple[Float[Tensor, "b j _ _"], Float[Tensor, "b j _ _"]]]


class Flow(NamedTuple):
    """Where a network stands, and where its particles go: d beta / d tau = -field.

    risk       "b"  R
    objective  "b"  Q
    fields     G by the names of the weights
    """

    risk: Float[Tensor, " b"]
    objective: Float[Tensor, " b"]
    fields: dict[str, Float[Tensor, "b l j _ _"]]

    @property
    def dissipation(self) -> Float[Tensor, " b"]:
        """(1/ML) sum |G|^2, at which Q falls in continuous time."""
        return mean_square(self.fields)


def risk(
    network: MeanFieldTransformer, H: Float[Tensor, "n t d"], y: Float[Tensor, " n"]
) -> Float[Tensor, " b"]:
    """R = E 1/2 (read - y)^2."""
    return 0.5 * (network(H) - y).square().mean(1)


def objective(
    network: MeanFieldTransformer,
    H: Float[Tensor, "n t d"],
    y: Float[Tensor, " n"],
    penalty: float | Float[Tensor, " b"],
) -> Float[Tensor, " b"]:
    """Q = R + (penalty / 2) (mean over layers and particles of |beta|^2)."""
    weights = dict(network.named_parameters())
    return risk(network, H, y) + 0.5 * penalty * mean_square(weights)


def mean_square(weights: Mapping[str, Tensor]) -> Float[Tensor, " b"]:
    """(1/ML) sum over layers and particles of |beta|^2, or of |G|^2 for the fields."""
    total = torch.stack([weight.square().flatten(3).sum(-1) for weight in weights.values()])
    return total.sum(0).mean((1, 2))


@torch.no_grad()
def adjoint(
    network: MeanFieldTransformer, H: Float[Tensor, "n t d"], y: Float[Tensor, " n"]
) -> Adjoint:
    """One pass forward and one back; nothing of it is kept for automatic differentiation."""
    states, steps = network.path(H), network.steps()
    p = torch.zeros_like(states[-1])
    p[:, :, -1, network.read] = states[-1][:, :, -1, network.read] - y
    adjoints, weights = [p], []
    for (layer, encoder), T in zip(reversed(steps), reversed(states[:-1]), strict=True):
        back = encoder.pull_back(T, p, *network.weights(layer, encoder))
        p = p + 0.5 / network.n_layers * back.tokens
        adjoints.append(p)
        weights.append(back.weights)
    # The last p belongs to H itself: there is no step before it.
    return Adjoint(states, adjoints[-2::-1], weights[::-1])


@torch.no_grad()
def flow(
    network: MeanFieldTransformer,
    H: Float[Tensor, "n t d"],
    y: Float[Tensor, " n"],
    penalty: float | Float[Tensor, " b"],
) -> Flow:
    """R, Q and G = M L dQ/d beta, by the adjoint; the penalty is one number, or one per run."""
    found = adjoint(network, H, y)
    weights = dict(network.named_parameters())
    rate = torch.as_tensor(penalty, dtype=y.dtype).reshape(-1, *[1] * 4)
    fields = {name: rate * weight.detach() for name, weight in weights.items()}
    for (layer, encoder), slopes in zip(network.steps(), found.weights, strict=True):
        for name, slope in zip(encoder.names, slopes, strict=True):
            fields[name][:, layer] += 0.5 * slope
    error = found.states[-1][:, :, -1, network.read] - y
    R = 0.5 * error.square().mean(1)
    return Flow(R, R + 0.5 * rate.flatten() * mean_square(weights), fields)
