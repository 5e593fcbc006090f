"""Pieces of the wide prior that act on columns: correlated, bounded, counts, nominal, ordinal.

Each function serves tables in which its piece is on; whoever calls it picks the tables. All of it
is ours.

Axes: b tasks, n points, d features, c components, l levels of a column.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from statformer.tasks.ingredients import log_uniform, standardised
from statformer.tasks.stream import TaskStream

MOST_LEVELS = 12
MOST_GRADES = 8
WIDE = 4  # tables with fewer columns keep one as it was


def some_columns(
    stream: TaskStream, d: int, low: float, high: float, n_spared: int = 0
) -> Bool[Tensor, "b d"]:
    """Each column with a probability of its table, uniform on (low, high); at least one of d.

    `n_spared` of the columns, drawn with the rest, are left alone.
    """
    share = low + (high - low) * stream.uniform()
    u = stream.uniform(d)
    order = torch.argsort(torch.argsort(u, dim=-1), dim=-1)
    return ((u < share[:, None]) | (order == 0)) & (order < d - n_spared)


def correlated(stream: TaskStream, X: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
    """Up to 60 % of the columns become copies of others, +-(z_s + w z_t) + noise.

    Of the columns so changed a quarter are exact copies of one column; else w is 0 or in 0 to 1
    (the sum of two) and the noise has a standard deviation log-uniform on 0.02 to 0.7.
    """
    n, d = X.shape[1:]
    pick = some_columns(stream, d, 0.1, 0.6)
    order = torch.argsort(pick.to(torch.int8), dim=-1, stable=True)  # kept columns first
    kept = (~pick).sum(-1)
    pick = pick & (kept > 0)[:, None]
    sources = [stream.integers(0, kept.clamp_min(1), d) for _ in range(2)]
    Z = standardised(X)

    def column(place: Int[Tensor, "b d"]) -> Float[Tensor, "b n d"]:
        at = torch.gather(order, 1, place)
        return torch.gather(Z, 2, at[:, None, :].expand(-1, n, -1))

    exact = stream.uniform(d) < 0.25
    w = torch.where((stream.uniform(d) < 0.5) | exact, 0.0, stream.uniform(d))
    sd = torch.where(exact, 0.0, log_uniform(stream, 0.02, 0.7, d))
    side = torch.where(stream.uniform(d) < 0.7, 1.0, -1.0)
    copy = column(sources[0]) + w[:, None, :] * column(sources[1])
    copy = side[:, None, :] * copy + sd[:, None, :] * stream.normal(n, d)
    return torch.where(pick[:, None, :], copy, X)


def bounded(stream: TaskStream, X: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
    """Columns in an interval: sigmoid(a z + s), a in 0.5 to 3, or z cut off at a limit or two.

    A cut-off leaves an atom at the limit, as a detection limit or the end of a scale does; limits
    lie 0.2 to 2 standard deviations from the middle.
    """
    d = X.shape[-1]
    pick = some_columns(stream, d, 0.3, 1.0)
    a, shift = log_uniform(stream, 0.5, 3.0, 1, d), 2.0 * stream.uniform(1, d) - 1.0
    Z = standardised(X)
    squashed = torch.sigmoid(a * Z + shift)
    limit = 0.2 + 1.8 * stream.uniform(2, d)
    sides = stream.integers(0, 3, d)  # below, above, both
    low = torch.where(sides == 1, -math.inf, -limit[:, 0])[:, None, :]
    high = torch.where(sides == 0, math.inf, limit[:, 1])[:, None, :]
    cut = torch.minimum(torch.maximum(Z, low), high)
    limited = torch.where((stream.uniform(d) < 0.5)[:, None, :], squashed, cut)
    return torch.where(pick[:, None, :], limited, X)


def counts(stream: TaskStream, X: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
    """Counts around a rate: round((sqrt(lambda) + e / 2)^2), e normal, about Poisson(lambda).

    lambda = m exp(a z) of standardised columns, m log-uniform on 0.5 to 50, a in 0.3 to 1.2: over
    a table the counts are overdispersed, like a negative binomial, and many are 0 where m is small.
    """
    n, d = X.shape[1:]
    pick = some_columns(stream, d, 0.3, 1.0)
    a, m = 0.3 + 0.9 * stream.uniform(1, d), log_uniform(stream, 0.5, 50.0, 1, d)
    rate = m * torch.exp((a * standardised(X)).clamp(-8.0, 6.0))
    root = (rate.sqrt() + 0.5 * stream.normal(n, d)).clamp_min(0.0)
    return torch.where(pick[:, None, :], torch.round(root.square()), X)


def ordinal(
    stream: TaskStream, X: Float[Tensor, "b n d"]
) -> tuple[Float[Tensor, "b n d"], Bool[Tensor, "b d"]]:
    """Columns cut into 2 to 8 grades 0, 1, ...; and which of them are declared categorical.

    Thresholds are at random quantiles of the column; tables declare all their grades categorical
    in half of the cases and leave them numbers in the other half. Tables of fewer than 4 columns
    keep one that has no grades.
    """
    d = X.shape[-1]
    pick = some_columns(stream, d, 0.1, 0.7, n_spared=int(d < WIDE))
    grades = _graded(stream, X, stream.integers(2, MOST_GRADES + 1, d))
    declared = stream.uniform() < 0.5
    return torch.where(pick[:, None, :], grades, X), pick & declared[:, None]


def nominal(
    stream: TaskStream, X: Float[Tensor, "b n d"], y: Int[Tensor, "b n"], n_components: int
) -> tuple[Float[Tensor, "b n d"], Bool[Tensor, "b d"]]:
    """Columns of 2 to 12 unordered codes, a third of them of 2; and which columns they are.

    Two kinds of column. Cut: a column of the table at random quantiles, its grades renamed at
    random. Drawn: code ~ p_k of the point's component, p_kl proportional to E^g with E exponential
    (Dirichlet(1) for g = 1, flatter below, sparser above; g log-uniform on 0.3 to 3). A point of
    no component draws from a random component. Three tables in ten of at least 4 columns are
    nominal altogether; smaller ones keep a column that is not.
    """
    (n, d), c = X.shape[1:], n_components
    pick = some_columns(stream, d, 0.05, 0.6, n_spared=int(d < WIDE))
    everything = stream.uniform() < (0.3 if d >= WIDE else 0.0)
    pick = pick | everything[:, None]
    levels = torch.clamp(stream.integers(2, 8, d) + stream.integers(0, 6, d), max=MOST_LEVELS)
    levels = torch.where(stream.uniform(d) < 0.35, 2, levels)
    grades = _graded(stream, X, levels).long()
    possible = torch.arange(MOST_LEVELS, device=X.device) < levels[..., None]  # b d l
    names = torch.argsort(torch.where(possible, stream.uniform(d, MOST_LEVELS), 2.0), dim=-1)
    renamed = torch.gather(names.mT, 1, grades)
    g = log_uniform(stream, 0.3, 3.0, d)[:, None, :, None]
    p = (-torch.log(stream.uniform(c, d, MOST_LEVELS))) ** g * possible[:, None]
    edges = (p / p.sum(-1, keepdim=True)).cumsum(-1)[..., :-1].reshape(len(X), c, -1)
    component = torch.where(y < 0, stream.integers(0, y.amax(-1).clamp_min(0) + 1, n), y)
    at = component[..., None].expand(-1, -1, edges.shape[-1])
    edges = torch.gather(edges, 1, at).reshape(len(X), n, d, MOST_LEVELS - 1)
    drawn = (stream.uniform(n, d)[..., None] > edges).sum(-1)
    drawn = torch.minimum(drawn, levels[:, None, :] - 1)
    codes = torch.where((stream.uniform(d) < 0.6)[:, None, :], drawn, renamed)
    return torch.where(pick[:, None, :], codes.to(X.dtype), X), pick


def _graded(
    stream: TaskStream, X: Float[Tensor, "b n d"], levels: Int[Tensor, "b d"]
) -> Float[Tensor, "b n d"]:
    """The number of thresholds that a value exceeds; thresholds are quantiles of its column.

    The quantiles are those of uniform spacings, half and half with even ones, so that no grade is
    empty in a long table.
    """
    n, d = X.shape[1:]
    place = torch.arange(MOST_LEVELS, device=X.device)
    possible = place < levels[..., None]  # b d l
    spacing = (0.15 - torch.log(stream.uniform(d, MOST_LEVELS))) * possible
    edges = (spacing / spacing.sum(-1, keepdim=True)).cumsum(-1)[..., :-1]
    index = (edges * n).long().clamp(max=n - 1)  # b d (l - 1)
    cuts = torch.gather(torch.sort(X, dim=1).values, 1, index.mT)  # b (l - 1) d
    is_cut = (place[:-1] < levels[..., None] - 1).mT
    grades = torch.zeros_like(X)
    for level in range(MOST_LEVELS - 1):
        grades = grades + ((cuts[:, level, None] < X) & is_cut[:, level, None])
    return grades
