"""Losses that do not care how clusters are numbered.

Axes: b tasks, n points, c components (columns of the responsibilities), t true components.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from statformer.batch import Trace

_FLOOR = 1e-6  # a responsibility below this costs no more: one outlier must not own the gradient


def match(r: Float[Tensor, "b n c"], y: Int[Tensor, "b n"]) -> Int[Tensor, "b c"]:
    """Which column stands for each true component: the best linear assignment, no gradient.

    cost[t, k] = -sum over points with y_i = t of log r_ik; the assignment is exact (Jonker and
    Volgenant, by scipy) and a constant for the gradient. Points with y = -1 do not count.
    """
    with torch.no_grad():
        c = r.shape[-1]
        hot = torch.nn.functional.one_hot(y.clamp_min(0), max(c, int(y.max()) + 1))[..., :c]
        hot = hot.to(r.dtype) * (y >= 0)[..., None]
        cost = -(hot.mT @ torch.log(r.clamp_min(_FLOOR)))
        host = cost.cpu().numpy().astype(np.float64)
    columns = np.stack([linear_sum_assignment(table)[1] for table in host])
    return torch.as_tensor(columns, device=r.device)


def matched_cross_entropy(
    r: Float[Tensor, "b n c"], y: Int[Tensor, "b n"], columns: Int[Tensor, "b c"] | None = None
) -> Float[Tensor, " b"]:
    """min over matchings q of mean_i -log r_{i, q(y_i)}, per task; points with y = -1 left out."""
    if columns is None:
        columns = match(r, y)
    at = torch.gather(columns, 1, y.clamp_min(0))
    chosen = torch.gather(r, 2, at[..., None])[..., 0].clamp_min(_FLOOR)
    counts = (y >= 0).to(r.dtype)
    return -(counts * torch.log(chosen)).sum(-1) / counts.sum(-1).clamp_min(1.0)


def trace_loss(
    trace: Trace, y: Int[Tensor, "b n"], shares: Sequence[tuple[int, float]]
) -> Float[Tensor, " b"]:
    """sum over (layer, share) of share * matched_cross_entropy of that layer.

    The last layer is matched once and lends its matching to the others, so that all layers work
    towards one numbering.
    """
    columns = match(trace.responsibilities[-1], y)
    loss = torch.zeros(y.shape[0], dtype=trace.responsibilities[-1].dtype, device=y.device)
    for layer, share in shares:
        loss = loss + share * matched_cross_entropy(trace.responsibilities[layer], y, columns)
    return loss


def adjusted_rand(
    labels: Int[Tensor, "b n"], y: Int[Tensor, "b n"], keep: Tensor | None = None
) -> Float[Tensor, " b"]:
    """Adjusted Rand index per task (Hubert and Arabie 1985), points with y = -1 left out.

    ARI = (S - E) / (M - E), S = sum over cells of C(n_ab, 2), E = A B / C(n, 2), M = (A + B) / 2.
    Two partitions into one cluster score 1.
    """
    there = y >= 0 if keep is None else keep & (y >= 0)
    size = 1 + int(max(labels.max(), y.max()))
    a = torch.nn.functional.one_hot(labels, size).double() * there[..., None]
    b = torch.nn.functional.one_hot(y.clamp_min(0), size).double() * there[..., None]
    table = a.mT @ b

    def pairs(x: Tensor) -> Tensor:
        return (x * (x - 1.0) / 2.0).flatten(1).sum(-1)

    cells, rows, columns = pairs(table), pairs(table.sum(2)), pairs(table.sum(1))
    expected = rows * columns / pairs(table.sum((1, 2))[:, None]).clamp_min(1.0)
    top = (rows + columns) / 2.0
    flat = (top - expected).abs() < 1e-12
    return torch.where(flat, torch.ones_like(top), (cells - expected) / (top - expected))
