"""Squared error of looped attention, the query and the true weights integrated out.

Axes: b tasks, d features.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from statformer.nn.looped import LoopedAttention


def expected_error(
    network: LoopedAttention,
    S: Float[Tensor, "b d d"],
    eigenvalues: Float[Tensor, " d"],
    mean: Float[Tensor, " d"] | None = None,
) -> Float[Tensor, " b"]:
    """E (answer - <w, x>)^2 over w ~ N(mean, Sigma^-1) and x ~ N(0, Sigma), for each S = X'X / n.

    The labels stay of the form X v: a layer is v <- v - A'S (u + v) from v = w, and its answer is
    <w - v, x>. So the error is <v, x>, and the mean of its square is tr(Sigma E v v'): where the
    columns of Sigma^(-1/2), and the mean, end up. Sigma is diagonal, with `eigenvalues`; `mean` is
    0 where it is not given. Derived.
    """
    d = S.shape[-1]
    root = eigenvalues.sqrt()
    centre = torch.zeros_like(root) if mean is None else mean
    V = torch.cat([torch.diag(1.0 / root), centre[:, None]], dim=1)
    V = V.expand(len(S), d, d + 1)
    for step in range(network.depth):
        layer = step % len(network.A)
        u = torch.nn.functional.pad(network.u[layer][:, None], (d, 0))  # moves the mean alone
        V = V - network.A[layer].T @ S @ (V + u)
    return (root[:, None] * V).square().sum((1, 2))
