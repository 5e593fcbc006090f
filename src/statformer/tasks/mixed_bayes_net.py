"""A prior of Bayesian networks of many laws, seen from their last variable (ours).

Axes: b tasks, n rows, q queries, v variables, m predecessors (v - 1), c configurations of all
variables before one, d categories. Variables are numbered so that parents precede children; a
configuration is one number, the last variable running fastest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from statformer.tasks.stream import TaskStream

LAWS = ("dirichlet", "based", "grouped", "additive")


@dataclass(frozen=True)
class LastVariableBatch:
    """Rows of networks, and the truth of their last variable at some of them.

    sizes    categories of every variable, the same for all tasks
    rows     "b n"    the configuration of the predecessors, in the context
    last     "b n"    the last variable there
    queries  "b q"    configurations of fresh rows
    truth    "b q d"  p(last | parents) there
    parents  "b m"    True for the parents of the last variable
    """

    sizes: tuple[int, ...]
    rows: Int[Tensor, "b n"]
    last: Int[Tensor, "b n"]
    queries: Int[Tensor, "b q"]
    truth: Float[Tensor, "b q d"]
    parents: Bool[Tensor, "b m"]


@dataclass(frozen=True)
class MixedBayesNetPrior:
    """Random DAGs whose tables follow one law per task; the shape is the same within a batch.

    In half of the tasks the last variable has a law and a concentration of its own.

    variables   from and to, both included; larger numbers are more likely
    categories  from and to; half of the batches have two everywhere, the others mix them
    n_rows      from and to, the logarithm uniform
    edges       every edge is there with probability p, drawn per task from U(edges)
    n_queries   fresh rows at which the truth is given
    max_cells   at most as many configurations of all variables; larger shapes lose variables
    laws        those of `LAWS` that are drawn, all alike:
                "dirichlet"  rows of a table ~ Dirichlet(a, ..., a); a = 1 in three tasks of ten,
                             else log a ~ U(log 0.1, log 5)
                "based"      rows ~ Dirichlet(a d base), base ~ Dirichlet(1, ..., 1) per variable
                "grouped"    configurations fall into groups at random, each with one such row:
                             context-specific independence
                "additive"   rows = softmax of an intercept and one normal term per parent and
                             value, times U(0.3, 2)

    Raises ValueError for an unknown law or none, or a range that is empty.
    """

    variables: tuple[int, int] = (2, 10)
    categories: tuple[int, int] = (2, 4)
    n_rows: tuple[int, int] = (5, 4000)
    edges: tuple[float, float] = (0.0, 1.0)
    n_queries: int = 16
    max_cells: int = 1100
    laws: tuple[str, ...] = LAWS

    def __post_init__(self) -> None:
        if not self.laws or not set(self.laws) <= set(LAWS):
            raise ValueError(f"laws={self.laws!r}: choose one or more of {LAWS}")
        for name, (low, high), least in (
            ("variables", self.variables, 2),
            ("categories", self.categories, 2),
            ("n_rows", self.n_rows, 1),
            ("edges", self.edges, 0),
        ):
            if not least <= low <= high:
                raise ValueError(
                    f"{name}={(low, high)!r}: pass (low, high) with {least} <= low <= high"
                )

    def sample(self, stream: TaskStream) -> LastVariableBatch:
        """Rows and truth of the last variable of fresh networks."""
        sizes, n = self._shape(stream.shared())
        v, b, device = len(sizes), len(stream), stream.device
        low, high = self.edges
        p = low + (high - low) * stream.uniform()
        adjacency = (stream.uniform(v, v) < p[:, None, None]).tril(-1)
        law, a = self._law(stream)
        own_law, own_a = self._law(stream)
        has_own = stream.uniform() < 0.5
        at = torch.zeros(b, n + self.n_queries, dtype=torch.int64, device=device)
        drawn, p_rows = at, at.to(stream.dtype)[..., None]
        for m in range(v):
            at = at * sizes[m - 1] + drawn if m else at
            if m == v - 1:
                law, a = torch.where(has_own, own_law, law), torch.where(has_own, own_a, a)
            table = self._table(stream, sizes[: m + 1], adjacency[:, m, :m], law, a)
            p_rows = table.gather(1, at[..., None].expand(-1, -1, sizes[m]))
            below = p_rows.cumsum(-1)[..., :-1]
            drawn = (stream.uniform(n + self.n_queries)[..., None] >= below).sum(-1)
        return LastVariableBatch(
            sizes, at[:, :n], drawn[:, :n], at[:, n:], p_rows[:, n:], adjacency[:, -1, :-1]
        )

    def _shape(self, shared: TaskStream) -> tuple[tuple[int, ...], int]:
        low, high = self.variables
        u = shared.uniform(3)[0].tolist()
        v = low + int((high + 1 - low) * u[0] ** 0.5)
        drawn = shared.integers(self.categories[0], self.categories[1] + 1, high)[0, :v].tolist()
        sizes = [self.categories[0]] * v if u[1] < 0.5 else drawn
        while len(sizes) > low and math.prod(sizes) > self.max_cells:
            sizes = sizes[1:]
        first, last = map(math.log, self.n_rows)
        return tuple(sizes), round(math.exp(first + (last - first) * u[2]))

    def _law(self, stream: TaskStream) -> tuple[Int[Tensor, " b"], Float[Tensor, " b"]]:
        """Numbers of laws, and concentrations."""
        a = torch.exp(stream.uniform() * math.log(50.0) + math.log(0.1))
        a = torch.where(stream.uniform() < 0.3, torch.ones_like(a), a)
        return stream.integers(0, len(self.laws)), a

    def _table(
        self,
        stream: TaskStream,
        sizes: tuple[int, ...],
        parents: Bool[Tensor, "b m"],
        law: Int[Tensor, " b"],
        a: Float[Tensor, " b"],
    ) -> Float[Tensor, "b c d"]:
        """p(the last of `sizes` | all before), which depends on the parents alone."""
        *before, d = sizes
        b, c = len(stream), math.prod(before)
        values = _values(before, stream.device)
        widths = torch.where(
            parents, torch.tensor(before, dtype=torch.int64, device=stream.device), 1
        )
        place = widths.flip(1).cumprod(1).flip(1) // widths
        index = (values[None] * (place * parents)[:, None]).sum(-1)  # b c: of the parents' values
        base = stream.dirichlet(1.0, d) * d
        is_based = _is(law, self.laws, "based")
        strength = a[:, None] * torch.where(is_based[:, None], base, torch.ones_like(base))
        gammas = stream.gamma(strength[:, None].clamp_min(0.1).expand(b, c, d), c, d)
        n_groups = 1.0 + stream.uniform() * (widths.prod(1) - 1.0).clamp_min(0.0) / 1.5
        groups = (stream.uniform(c) * n_groups[:, None]).to(torch.int64).clamp_max(c - 1)
        is_grouped = _is(law, self.laws, "grouped")
        index = torch.where(is_grouped[:, None], groups.gather(1, index), index)
        rows = gammas / gammas.sum(-1, keepdim=True)
        table = rows.gather(1, index[..., None].expand(-1, -1, d))
        is_additive = _is(law, self.laws, "additive")
        additive = self._additive(stream, values, parents, max(sizes), d)
        return torch.where(is_additive[:, None, None], additive, table)

    @staticmethod
    def _additive(
        stream: TaskStream, values: Int[Tensor, "c m"], parents: Tensor, most: int, d: int
    ) -> Float[Tensor, "b c d"]:
        m = values.shape[1]
        scale = 0.3 + 1.7 * stream.uniform()
        logits = stream.normal(d)[:, None]
        if m:
            terms = stream.normal(m, most, d) * parents[..., None, None]
            one_hot = torch.nn.functional.one_hot(values, most).to(terms.dtype)
            logits = logits + torch.einsum("cmx,bmxd->bcd", one_hot, terms)
        return torch.softmax(scale[:, None, None] * logits, dim=-1)


def _values(sizes: list[int], device: torch.device) -> Int[Tensor, "c m"]:
    """The values of the variables in every configuration."""
    ranges = [torch.arange(size, device=device) for size in sizes]
    if not ranges:
        return torch.zeros(1, 0, dtype=torch.int64, device=device)
    return torch.stack(torch.meshgrid(*ranges, indexing="ij"), -1).reshape(-1, len(sizes))


def _is(law: Int[Tensor, " b"], names: tuple[str, ...], name: str) -> Bool[Tensor, " b"]:
    return law == names.index(name) if name in names else torch.zeros_like(law, dtype=torch.bool)
