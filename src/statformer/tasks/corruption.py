"""What goes wrong with low-rank tables: outlying rows, outlying cells, missing cells (ours).

Every function draws one kind for all tables it is given; `CorruptedRows` calls it for those that
have the kind. Distances are in units of the length of a typical row, or of a column's standard
deviation.

Axes: b tables, n points, d features, k components.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from statformer.tasks.low_rank import LowRank
from statformer.tasks.stream import TaskStream

ROW_KINDS = ("cluster", "directions", "inside", "outside", "line", "scatter", "subspace")
CELL_KINDS = ("gross", "one_sided", "code", "spread", "clumped")
MISSING_KINDS = ("mcar", "mar", "mnar")
# Never seen in training, for the benchmarks.
HELD_OUT = ("adversarial_cluster", "swapped_cells", "shifted_columns")


def log_uniform(stream: TaskStream, low: float, high: float) -> Float[Tensor, " b"]:
    """exp of a uniform number between the logs."""
    return torch.exp(math.log(low) + (math.log(high) - math.log(low)) * stream.uniform())


def chosen_rows(stream: TaskStream, n: int, share: Float[Tensor, " b"]) -> Bool[Tensor, "b n"]:
    """round(share n) rows of each table, at random."""
    return stream.permutation(n) < torch.round(share * n)[:, None]


def outlying_rows(stream: TaskStream, kind: str, table: LowRank) -> Float[Tensor, "b n d"]:
    """What outlying rows of this kind look like, one for each row; about the mean.

    With s the length of a typical row and g log-uniform:

    cluster      one point at distance g s, g in 0.7 to 20, with 0.1 to 1 of the noise around it
    directions   a direction for each row, length g s (1 + |z| / 2), g in 1.2 to 20
    inside       scores g times as long, g in 2 to 15, usual noise: they point where PCA should
    outside      a usual row and g s in a direction of its own, g in 0.5 to 15
    line         a usual row and g s z along one direction for all, g in 0.7 to 15
    scatter      normal in all directions, g as long as usual, g in 1 to 15
    subspace     another random low-rank signal, g as large, g in 1 to 10
    adversarial_cluster   (held out) a tight cluster in one direction orthogonal to the basis, as
                          far as g standard deviations of the first component, g in 1.5 to 6
    """
    return _ROWS[kind](stream, table)


def _length(table: LowRank) -> Float[Tensor, "b 1 1"]:
    return table.eigenvalues.sum(1).sqrt()[:, None, None]


def _unit(z: Float[Tensor, "b q d"]) -> Float[Tensor, "b q d"]:
    return z / torch.linalg.vector_norm(z, dim=-1, keepdim=True)


def _wide(g: Float[Tensor, " b"]) -> Float[Tensor, "b 1 1"]:
    return g[:, None, None]


def _cluster(stream: TaskStream, table: LowRank) -> Tensor:
    n, d = table.signal.shape[1:]
    g, spread = log_uniform(stream, 0.7, 20.0), log_uniform(stream, 0.1, 1.0)
    centre = _wide(g) * _length(table) * _unit(stream.normal(1, d))
    return centre + _wide(spread) * stream.normal(n, d)


def _directions(stream: TaskStream, table: LowRank) -> Tensor:
    n, d = table.signal.shape[1:]
    g = log_uniform(stream, 1.2, 20.0)
    length = _wide(g) * _length(table) * (1.0 + 0.5 * stream.normal(n, 1).abs())
    return length * _unit(stream.normal(n, d))


def _inside(stream: TaskStream, table: LowRank) -> Tensor:
    return _wide(log_uniform(stream, 2.0, 15.0)) * table.signal + table.noise


def _outside(stream: TaskStream, table: LowRank) -> Tensor:
    n, d = table.signal.shape[1:]
    far = _wide(log_uniform(stream, 0.5, 15.0)) * _length(table) * _unit(stream.normal(n, d))
    return table.signal + table.noise + far


def _line(stream: TaskStream, table: LowRank) -> Tensor:
    n, d = table.signal.shape[1:]
    far = _wide(log_uniform(stream, 0.7, 15.0)) * _length(table) * stream.normal(n, 1)
    return table.signal + table.noise + far * _unit(stream.normal(1, d))


def _scatter(stream: TaskStream, table: LowRank) -> Tensor:
    n, d = table.signal.shape[1:]
    length = _wide(log_uniform(stream, 1.0, 15.0)) * _length(table)
    return length * stream.normal(n, d) / math.sqrt(d)


def _subspace(stream: TaskStream, table: LowRank) -> Tensor:
    (n, d), k = table.signal.shape[1:], table.basis.shape[1]
    g = log_uniform(stream, 1.0, 10.0)
    spread = _wide(g) * _length(table) / math.sqrt(k)
    return spread * stream.normal(n, k) @ _unit(stream.normal(k, d)) + table.noise


def _adversarial_cluster(stream: TaskStream, table: LowRank) -> Tensor:
    (n, d), rest = table.signal.shape[1:], table.orthogonal.shape[1]
    direction = _unit(stream.normal(1, rest) @ table.orthogonal)
    g = log_uniform(stream, 1.5, 6.0)
    centre = _wide(g) * table.eigenvalues[:, 0].sqrt()[:, None, None] * direction
    return centre + 0.2 * stream.normal(n, d)


_ROWS: dict[str, Callable[[TaskStream, LowRank], Tensor]] = {
    "cluster": _cluster,
    "directions": _directions,
    "inside": _inside,
    "outside": _outside,
    "line": _line,
    "scatter": _scatter,
    "subspace": _subspace,
    "adversarial_cluster": _adversarial_cluster,
}


def outlying_cells(
    stream: TaskStream, kind: str, X: Float[Tensor, "b n d"], share: Float[Tensor, " b"]
) -> tuple[Float[Tensor, "b n d"], Bool[Tensor, "b n d"]]:
    """X with a share of its cells wrong, and which. With s_j the column's standard deviation:

    gross        +- g s_j (1 + 0.3 z) from the column's mean, g log-uniform on 2 to 50
    one_sided    the same, to one side for all cells of a column
    code         one value for all wrong cells of the table, g mean s from its mean
    spread       g s_j z is added
    clumped      gross cells, all in a few rows that have half of their cells wrong
    swapped_cells     (held out) the value of the same column in another row
    shifted_columns   (held out) +- g s_j, g in 2 to 10, added to one run of rows of each column
    """
    n, d = X.shape[1:]
    mean, s = X.mean(1, keepdim=True), X.std(1, keepdim=True)
    g = _wide(log_uniform(stream, 2.0, 50.0))
    z, u = stream.normal(n, d), stream.uniform(n, d)
    side = torch.where(stream.uniform(1 if kind == "one_sided" else n, d) < 0.5, -1.0, 1.0)
    is_wrong = u < _wide(share)
    if kind == "clumped":
        rows = stream.uniform(n, 1) < _wide((2.0 * share).clamp(max=1.0))
        is_wrong = rows & (u < 0.5)
    if kind in ("gross", "one_sided", "clumped"):
        wrong = mean + g * s * side * (1.0 + 0.3 * z)
    elif kind == "code":
        sign = torch.where(stream.uniform() < 0.5, -1.0, 1.0)
        wrong = (mean.mean(2, keepdim=True) + _wide(sign) * g * s.mean(2, keepdim=True)).expand_as(
            X
        )
    elif kind == "spread":
        wrong = X + g * s * z
    elif kind == "swapped_cells":
        wrong = torch.gather(X, 1, torch.argsort(stream.uniform(n, d), dim=1))
    elif kind == "shifted_columns":
        begin = stream.uniform(1, d) * (1.0 - _wide(share))
        place = ((torch.arange(n, device=X.device) + 0.5) / n)[None, :, None]
        is_wrong = (place > begin) & (place <= begin + _wide(share))
        wrong = X + _wide(log_uniform(stream, 2.0, 10.0)) * s * side[:, :1]
    else:
        known = (*CELL_KINDS, *HELD_OUT[1:])
        raise ValueError(f"kind={kind!r} of outlying cells is unknown; choose from {known}")
    return torch.where(is_wrong, wrong, X), is_wrong


def missing_cells(
    stream: TaskStream, kind: str, X: Float[Tensor, "b n d"], share: Float[Tensor, " b"], least: int
) -> Bool[Tensor, "b n d"]:
    """True where a cell is missing: about `share` of each table.

    mcar: at random. mar: P rises with the rank of the row's value in one driving column, which is
    complete. mnar: P rises with the rank of the value itself, in half of the tables with its
    distance from the middle rank. Every column keeps `least` cells or all it has, every row one.
    """
    n, d = X.shape[1:]
    rank = (torch.argsort(torch.argsort(X, dim=1), dim=1) + 0.5) / n
    p = _wide(share).expand_as(X)
    u = stream.uniform(n, d)
    if kind == "mar":
        driver = stream.integers(0, d)[:, None, None].expand(-1, n, 1)
        is_driver = torch.arange(d, device=X.device)[None, None, :] == driver[:, :1]
        p = (_wide(share) * d / max(d - 1, 1)).clamp(max=0.9)
        p = _rising(p, torch.gather(rank, 2, driver)).expand_as(X)
        p = torch.where(is_driver, torch.zeros_like(p), p)
    elif kind == "mnar":
        ends = (stream.uniform() < 0.5)[:, None, None]
        p = _rising(_wide(share), torch.where(ends, (2.0 * rank - 1.0).abs(), rank))
    elif kind != "mcar":
        raise ValueError(f"kind={kind!r} of missing cells is unknown; choose from {MISSING_KINDS}")
    slack = u / p.clamp_min(1e-3)  # a cell of slack below 1 is missing
    kept = slack >= 1.0
    kept = kept | (
        slack >= torch.sort(slack, dim=1, descending=True).values[:, min(least, n) - 1, None]
    )
    return ~(kept | ((slack >= slack.amax(2, keepdim=True)) & ~kept.any(2, keepdim=True)))


def _rising(share: Float[Tensor, "b 1 1"], r: Float[Tensor, "b n q"]) -> Float[Tensor, "b n q"]:
    """share (1 + a) r^a of mean `share`, a = 2 or as much smaller as keeps it below 0.97."""
    a = torch.clamp(0.97 / share - 1.0, min=0.05, max=2.0)
    return share * (1.0 + a) * r**a
