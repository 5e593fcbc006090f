"""Logistic loss of labels -1 and +1, and its gradients in closed form.

Axes: b runs side by side, n points, p patches (q and k as queries and keys), d features of a patch,
m filters, e width of a head, v width of the values.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, einsum
from torch.nn.functional import softplus

from statformer.nn.vision import (
    PatchClassifier,
    PatchViT,
    TrainedHeadClassifier,
    filter_gradient,
    pre_activations,
)


def logistic_loss(f: Float[Tensor, "b n"], y: Float[Tensor, "b n"]) -> Float[Tensor, " b"]:
    """(1/n) sum_i log(1 + exp(-y_i f_i)) of each run."""
    return softplus(-y * f).mean(-1)


def logistic_slope(f: Float[Tensor, "b n"], y: Float[Tensor, "b n"]) -> Float[Tensor, "b n"]:
    """dL/df_i = -(1/n) y_i / (1 + exp(y_i f_i))."""
    return -y * torch.sigmoid(-y * f) / f.shape[1]


@torch.no_grad()
def classifier_gradient(
    network: PatchClassifier, X: Float[Tensor, "b n p d"], y: Float[Tensor, "b n"]
) -> Float[Tensor, "b 2 m d"]:
    """dL/dw_jr = (j/m) sum_i (dL/df_i) sum_p s'(<w_jr, x_ip>) x_ip, j = -1 and +1."""
    m = network.W.shape[2]
    signs = torch.ones(2 * m, dtype=X.dtype, device=X.device)
    signs[:m] = -1.0
    pre = network.pre_activations(X)
    upstream = logistic_slope(network.read(pre), y)[..., None, None] * signs / m
    gradient = filter_gradient(network.activation, pre, X, upstream)
    return gradient.reshape(network.W.shape)


@torch.no_grad()
def trained_head_gradient(
    network: TrainedHeadClassifier, X: Float[Tensor, "b n p d"], y: Float[Tensor, "b n"]
) -> dict[str, Tensor]:
    """By the names of the parameters, "W" and "v":

    dL/dw_r = v_r sum_i (dL/df_i) sum_p 1[<w_r, x_ip> > 0] x_ip,
    dL/dv_r = sum_i (dL/df_i) sum_p max(<w_r, x_ip>, 0).

    Hence <w_r, dL/dw_r> = v_r dL/dv_r: along the gradient flow |w_r|^2 - v_r^2 does not change.
    """
    pre = pre_activations(network.W, X)
    hidden = network.activation(pre).sum(2)
    slope = logistic_slope(network.read(hidden), y)
    upstream = slope[..., None, None] * network.v[:, None, None]
    return {
        "W": filter_gradient(network.activation, pre, X, upstream),
        "v": einsum("bn,bnm->bm", slope, hidden),
    }


@torch.no_grad()
def vit_gradient(
    network: PatchViT, X: Float[Tensor, "b n p d"], y: Float[Tensor, "b n"]
) -> dict[str, Tensor]:
    """By the names of the parameters, "W_Q", "W_K", "W_V" and "w_O":

    dW_Q = sum_i X' D X W_K,  dW_K = sum_i X' D' X W_Q,  dW_V = z w_O',  dw_O = W_V' z,
    where A is the pattern, u the values, g = (dL/df_i) / p, D_qk = g A_qk (u_k - (A u)_q) and
    z = sum_i g X' A' 1.
    """
    A, u = network.pattern(X), network.values(X)
    g = logistic_slope(network(X), y) / X.shape[2]
    D = g[..., None, None] * A * (u[:, :, None] - einsum("bnqk,bnk->bnq", A, u)[..., None])
    between = einsum("bnqc,bnqk,bnkd->bcd", X, D, X)
    z = einsum("bn,bnqk,bnkd->bd", g, A, X)
    return {
        "W_Q": between @ network.W_K,
        "W_K": between.mT @ network.W_Q,
        "W_V": einsum("bd,bv->bdv", z, network.w_O),
        "w_O": einsum("bdv,bd->bv", network.W_V, z),
    }
