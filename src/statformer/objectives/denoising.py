"""Denoising loss of the tied quadratic network: on drawn noise, and its exact expectation.

Axes: b runs side by side, n points, p patches, d features of a patch, m and k filters.

With x_t = alpha x + beta eps the loss of arXiv 2412.01021 is

    L = (1/2n) sum_i sum_p E |out_p(x_t) - eps_p|^2,   eps_p ~ N(0, I),

as far as known; its scaling is not found, so the factor 1/2n and the sum over patches are ours.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, einsum

from statformer.nn.vision import TiedDenoiser, pre_activations


class _Moments(NamedTuple):
    """c_r = alpha <w_r, x_p>, G = W W', q_r = c_r^2 + beta^2 G_rr, s = m^(-1/2).

    c_r and q_r are the means of <w_r, x_t> and of its square.
    """

    c: Float[Tensor, "b n p m"]
    G: Float[Tensor, "b m m"]
    q: Float[Tensor, "b n p m"]
    s: float


def denoising_loss(
    network: TiedDenoiser, noised: Float[Tensor, "b n p d"], eps: Float[Tensor, "b n p d"]
) -> Float[Tensor, " b"]:
    """(1/2n) sum_i sum_p |out_p(x_t,i) - eps_ip|^2 on given draws of the noise: Monte Carlo."""
    return 0.5 * (network(noised) - eps).square().sum((2, 3)).mean(1)


def expected_denoising_loss(
    network: TiedDenoiser, X: Float[Tensor, "b n p d"], alpha: float, beta: float
) -> Float[Tensor, " b"]:
    """The loss at the clean patches X with the noise integrated out. For one patch,

    E |out - eps|^2 = s^2 sum_rk G_rk (q_r q_k + 4 beta^2 c_r c_k G_rk + 2 beta^4 G_rk^2)
                      - 4 s beta sum_r c_r G_rr + d.

    Derived here from Gaussian moments; the paper's own form is not found.
    """
    c, G, q, s = _moments(network.W, X, alpha, beta)
    n, p, d = X.shape[1:]
    of_q = einsum("brk,bnpr,bnpk->b", G, q, q)
    of_c = 4 * beta**2 * einsum("brk,bnpr,bnpk->b", G.square(), c, c)
    of_G = 2 * beta**4 * n * p * (G**3).sum((1, 2))
    linear = einsum("bnpr,br->b", c, torch.diagonal(G, dim1=1, dim2=2))
    return 0.5 * (s**2 * (of_q + of_c + of_G) - 4 * s * beta * linear) / n + 0.5 * p * d


@torch.no_grad()
def expected_denoising_gradient(
    network: TiedDenoiser, X: Float[Tensor, "b n p d"], alpha: float, beta: float
) -> Float[Tensor, "b m d"]:
    """The gradient of `expected_denoising_loss`: (1/n) sum_i sum_p [alpha C x_p' + (D + D') W],

    C_r  = 2 s^2 c_r (G q)_r + 4 s^2 beta^2 sum_k c_k G_rk^2 - 2 s beta G_rr,
    D_rk = s^2 q_r q_k / 2 + 4 s^2 beta^2 c_r c_k G_rk + 3 s^2 beta^4 G_rk^2
           + [r = k] (beta^2 s^2 (G q)_r - 2 s beta c_r).
    """
    W = network.W
    c, G, q, s = _moments(W, X, alpha, beta)
    n, p = X.shape[1:3]
    Gq = einsum("brk,bnpk->bnpr", G, q)
    square = G.square()
    C = 2 * s**2 * c * Gq + 4 * s**2 * beta**2 * einsum("brk,bnpk->bnpr", square, c)
    C = C - 2 * s * beta * torch.diagonal(G, dim1=1, dim2=2)[:, None, None]
    D = 0.5 * s**2 * einsum("bnpr,bnpk->brk", q, q)
    D = D + 4 * s**2 * beta**2 * einsum("bnpr,bnpk->brk", c, c) * G
    D = D + 3 * s**2 * beta**4 * n * p * square
    D = D + torch.diag_embed((beta**2 * s**2 * Gq - 2 * s * beta * c).sum((1, 2)))
    return (alpha * einsum("bnpr,bnpd->brd", C, X) + (D + D.mT) @ W) / n


def _moments(
    W: Float[Tensor, "b m d"], X: Float[Tensor, "b n p d"], alpha: float, beta: float
) -> _Moments:
    G = W @ W.mT
    c = alpha * pre_activations(W, X)
    q = c.square() + beta**2 * torch.diagonal(G, dim1=1, dim2=2)[:, None, None]
    return _Moments(c, G, q, W.shape[1] ** -0.5)
