"""The loss of a network that answers with the label of the nearest point, and its landscape.

Axes: b tasks, n context points, d features, i and j values of xi_1 and xi_2.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from statformer.nn.neighbor import family_selection


def neighbor_loss(predicted: Float[Tensor, " b"], target: Float[Tensor, " b"]) -> Float[Tensor, ""]:
    """1/2 mean (yhat - y_i*)^2 (Li et al. 2024, arXiv 2411.10830)."""
    return 0.5 * (predicted - target).square().mean()


def family_gradient(
    xi: Float[Tensor, "2"],
    X: Float[Tensor, "b n d"],
    y: Float[Tensor, "b n"],
    query: Float[Tensor, "b d"],
    target: Float[Tensor, " b"],
) -> Float[Tensor, "2"]:
    """The gradient of the loss in (xi_1, xi_2), in closed form (ours). With e = yhat - y_i*,
    s_j = <x_j, x>, a the attention, the query as token n + 1 of label 0:

        d yhat / d xi_1 = sum_j a_j y_j s_j - yhat sum_j a_j s_j,   d yhat / d xi_2 = yhat a_(n+1)
        d loss / d xi   = mean e d yhat / d xi
    """
    s = torch.cat([(X @ query[:, :, None])[..., 0], query.square().sum(-1, keepdim=True)], dim=1)
    y = torch.cat([y, y.new_zeros(len(y), 1)], dim=1)
    suppressed = torch.zeros_like(s)
    suppressed[:, -1] = xi[1]
    a = (xi[0] * s - suppressed).softmax(dim=1)
    answer = (a * y).sum(1)
    by_xi_1 = (a * y * s).sum(1) - answer * (a * s).sum(1)
    by_xi_2 = answer * a[:, -1]
    return torch.stack([((answer - target) * by).mean() for by in (by_xi_1, by_xi_2)])


def landscape(
    xi_1: Float[Tensor, " i"],
    xi_2: Float[Tensor, " j"],
    X: Float[Tensor, "b n d"],
    y: Float[Tensor, "b n"],
    query: Float[Tensor, "b d"],
    target: Float[Tensor, " b"],
) -> Float[Tensor, "i j"]:
    """The loss on the given prompts at every pair (xi_1, xi_2): the paper's second figure."""

    def loss(xi: Float[Tensor, "2"]) -> Float[Tensor, ""]:
        answer = family_selection(xi, X, y[..., None], query).labels()[:, 0, 0]
        return neighbor_loss(answer, target)

    with torch.no_grad():
        places = torch.cartesian_prod(xi_1, xi_2)
        return torch.stack([loss(xi) for xi in places]).reshape(len(xi_1), len(xi_2))
