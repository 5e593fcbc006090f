"""Cells that nobody observed: completely at random, at random, not at random.

Each mechanism gives every cell a probability of being missing; a table may have several at once.
A row keeps at least one cell and a column at least two. All of it is ours.

Axes: b tasks, n points, d features.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from statformer.tasks.stream import TaskStream

MECHANISMS = ("mcar", "mar", "mnar")
MOST_MISSING = 0.6


def observed_cells(
    stream: TaskStream, X: Float[Tensor, "b n d"], on: Bool[Tensor, "b s"]
) -> Bool[Tensor, "b n d"]:
    """True where a cell is observed; `on` tells for each of `MECHANISMS` whether it is at work.

    share ~ 0.6 u^1.3, divided among the mechanisms at work; share_j is the same for all columns in
    half of the tables, else share 2 u_j. With r the rank of a value within its column, on 0 to 1
    and turned over in half of the tables, P(missing) is

    mcar  share_j
    mar   s_j (1 + a) r_driver^a; the driver is one column of the table, itself complete, and
          s_j = share_j d / (d - 1)
    mnar  share_j (1 + a) r_own^a, in half of the tables with r = |2 rank - 1|: the extremes

    with a in 1 to 3, or as much smaller as keeps probabilities below 0.97. Needs at least two
    columns; raises ValueError otherwise.
    """
    n, d = X.shape[1:]
    if d < 2:
        raise ValueError(f"X has {d} column; a row could not lose a cell and keep one, pass 2")
    share = MOST_MISSING * stream.uniform() ** 1.3 / on.sum(-1).clamp_min(1)
    uneven = torch.where((stream.uniform() < 0.5)[:, None], 1.0, 2.0 * stream.uniform(d))
    share_of = (share[:, None] * uneven)[:, None, :]  # b 1 d
    rank = (torch.argsort(torch.argsort(X, dim=1, stable=True), dim=1) + 0.5) / n
    flip = (stream.uniform(2) < 0.5)[:, :, None, None]
    a = 1.0 + 2.0 * stream.uniform(2)[:, :, None, None]
    driver = stream.integers(0, d)
    r_driver = torch.gather(rank, 2, driver[:, None, None].expand(-1, n, 1))
    r_driver = torch.where(flip[:, 0], 1.0 - r_driver, r_driver)
    extremes = (stream.uniform() < 0.5)[:, None, None]
    r_own = torch.where(extremes, (2.0 * rank - 1.0).abs(), rank)
    r_own = torch.where(flip[:, 1] & ~extremes, 1.0 - r_own, r_own)
    is_driver = (torch.arange(d, device=X.device) == driver[:, None])[:, None, :]
    at_random = _rising(share_of * d / (d - 1.0), a[:, 0], r_driver)
    not_at_random = _rising(share_of, a[:, 1], r_own)
    present = torch.ones_like(X)
    for which, p in enumerate((share_of.clamp(max=0.9), at_random, not_at_random)):
        present = present * torch.where(on[:, which, None, None], 1.0 - p, 1.0)
    complete = is_driver & on[:, 1, None, None]
    u = stream.uniform(n, d)
    observed = (u < present) | complete
    # the two cells of a column, and the one of a row, that come closest to being observed
    slack = u / present.clamp_min(0.05)
    observed = observed | (slack <= torch.sort(slack, dim=1).values[:, min(1, n - 1), None])
    return observed | ((slack <= slack.amin(2, keepdim=True)) & ~observed.any(2, keepdim=True))


def _rising(
    share: Float[Tensor, "b 1 d"], a: Float[Tensor, "b 1 1"], r: Float[Tensor, "b n #d"]
) -> Float[Tensor, "b n d"]:
    """share (1 + a) r^a, of mean `share` over uniform r, with a so small that it stays below 1."""
    share = share.clamp(max=0.9)
    a = torch.minimum(a, 0.97 / share - 1.0)
    return share * (1.0 + a) * r**a
