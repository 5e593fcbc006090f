"""A prior of Bayesian networks, each with rows drawn from it.

Axes: b tasks, n rows, v variables (as children, or u as parents), c configurations of the parents,
d categories. Variables are numbered so that parents precede children; all have d categories. The
parents' values x are read as one number sum_u place_u x_u, where place is d to the power of the
number of parents before u.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from statformer.tasks.stream import TaskStream

Parents = tuple[tuple[int, ...], ...]


def _chain(n: int) -> Parents:
    return tuple((m - 1,) if m else () for m in range(n))


_GENERAL_5: Parents = ((), (), (0, 1), (0, 2), (3,))
_GENERAL_7: Parents = (*_GENERAL_5, (3, 4), (2, 4))
_TREE_7: Parents = ((), (0,), (0,), (1,), (1,), (2,), (2,))

# The networks of the paper's experiments, as its public code has them.
STRUCTURES: Mapping[str, Parents] = MappingProxyType(
    {
        "chain5": _chain(5),
        "chain": _chain(7),
        "chain10": _chain(10),
        "tree5": _TREE_7[:5],
        "tree": _TREE_7,
        "general": _GENERAL_5,
        "general7": _GENERAL_7,
        "general10": (*_GENERAL_7, (5, 6), (4, 7), (6, 8)),
        "wet grass": ((), (0,), (0,), (1, 2)),  # cloudy, rain, sprinkler, grass
        # PKC, Plcg, PKA, PIP3, RAF, Jnk, P38, PIP2, Mek, Erk, Akt (Sachs et al. 2005)
        "sachs": ((), (), (0,), (1,), (0, 2), (0, 2), (0, 2), (1, 3), (0, 2, 4), (2, 8), (2, 3, 9)),
    }
)
SACHS_NAMES = ("PKC", "Plcg", "PKA", "PIP3", "RAF", "Jnk", "P38", "PIP2", "Mek", "Erk", "Akt")
CONDITIONALS = ("dirichlet", "decided", "normals")


@dataclass(frozen=True)
class BayesNetBatch:
    """Networks and rows drawn from them.

    X         "b n v"    numbers of categories, from 0
    adjacency "b v u"    True where u is a parent of v
    tables    "b v c d"  p(v = d | configuration c); configurations that a v lacks hold draws, too
    """

    X: Int[Tensor, "b n v"]
    adjacency: Bool[Tensor, "b v u"]
    tables: Float[Tensor, "b v c d"]

    def truth(self) -> Float[Tensor, "b n v d"]:
        """p(x_v | parents of v) at the parents' values of every row."""
        rows = [_rows_of(self, v) for v in range(self.X.shape[2])]
        return torch.stack(rows, dim=2)

    def frequencies(
        self, n_context: int, given: Bool[Tensor, "#b v u"]
    ) -> tuple[Float[Tensor, "b v d"], Int[Tensor, "b v"]]:
        """Frequencies of v among the first rows that agree with the last on the variables `given`.

        With `given` = adjacency this is maximum likelihood of the known structure, with all earlier
        variables (`all_earlier`) the paper's "naive" count. The second answer says how many of the
        `n_context` rows agree; where none does, the frequencies are NaN.
        """
        d = self.tables.shape[-1]
        context, query = self.X[:, :n_context], self.X[:, -1]
        differs = (context != query[:, None]).to(given.dtype)[:, :, None] & given[:, None]
        agrees = ~differs.any(-1)  # b n v
        shares = torch.nn.functional.one_hot(context, d).to(self.tables.dtype)
        counts = (shares * agrees[..., None]).sum(1)
        matching = agrees.sum(1)
        return counts / matching[..., None], matching


def all_earlier(n_variables: int) -> Bool[Tensor, "1 v u"]:
    """Which variables come before which."""
    return torch.ones(1, n_variables, n_variables, dtype=torch.bool).tril(-1)


@dataclass(frozen=True)
class BayesNetPrior:
    """Tables drawn at random over one structure, or over a random one per task.

    structure     a name of `STRUCTURES`, parents per variable, or "random"
    n_variables   of a random structure: every edge u -> v, u < v, is there with probability p,
                  drawn per task from U(edges); a variable without any edge gets one to another
    conditionals  "dirichlet": every p(. | configuration) ~ Dirichlet(concentration). 1 is uniform,
                      for two categories U(0, 1); 0.4 is Beta(0.4, 0.4); the paper's code takes 0.1
                      for the three levels of "sachs"
                  "decided": p(x = 1) from U(0.15, 0.3) or U(0.7, 0.85), by a fair coin
                  "normals": p(x = 1) the mean of two standard normals, clipped to (0, 1)

    Source: the experiments of Cao et al. (arXiv 2501.02547) and their public code.

    Raises ValueError for an unknown structure or law, parents that do not precede their child, or
    a law of two categories with another number of them.
    """

    structure: str | Parents = "random"
    n_rows: int = 201
    n_categories: int = 2
    conditionals: str = "dirichlet"
    concentration: float = 1.0
    n_variables: int = 7
    edges: tuple[float, float] = (0.7, 1.0)

    def __post_init__(self) -> None:
        if isinstance(self.structure, str) and self.structure not in (*STRUCTURES, "random"):
            raise ValueError(
                f"structure={self.structure!r} is unknown; choose from {(*STRUCTURES, 'random')}"
            )
        for child, parents in enumerate(self.parents or ()):
            if not all(0 <= parent < child for parent in parents):
                raise ValueError(
                    f"structure: variable {child} has parents {parents}; number the variables so "
                    "that parents precede children"
                )
        if self.conditionals not in CONDITIONALS:
            raise ValueError(
                f"conditionals={self.conditionals!r} is unknown; choose from {CONDITIONALS}"
            )
        if self.conditionals != "dirichlet" and self.n_categories != 2:
            raise ValueError(
                f"n_categories={self.n_categories}: conditionals={self.conditionals!r} is a law of "
                "two categories"
            )
        if not 0.0 <= self.edges[0] <= self.edges[1] <= 1.0:
            raise ValueError(f"edges={self.edges!r}: pass (low, high) with 0 <= low <= high <= 1")

    @property
    def parents(self) -> Parents | None:
        """Parents per variable; None for random structures."""
        if self.structure == "random":
            return None
        return STRUCTURES[self.structure] if isinstance(self.structure, str) else self.structure

    def sample(self, stream: TaskStream) -> BayesNetBatch:
        """Networks and rows of them; the last row may serve as the query."""
        parents = self.parents
        if parents is None:
            adjacency = _random_graphs(stream, self.n_variables, self.edges)
            n_parents = self.n_variables - 1
        else:
            v = len(parents)
            one = torch.zeros(v, v, dtype=torch.bool, device=stream.device)
            for child, of_child in enumerate(parents):
                one[child, list(of_child)] = True
            adjacency = one.expand(len(stream), v, v)
            n_parents = max(map(len, parents))
        tables = self._tables(stream, adjacency.shape[1], self.n_categories**n_parents)
        X = torch.zeros(
            len(stream), self.n_rows, len(adjacency[0]), dtype=torch.int64, device=stream.device
        )
        u = stream.uniform(self.n_rows, X.shape[2])
        batch = BayesNetBatch(X, adjacency, tables)
        for v in range(X.shape[2]):
            below = _rows_of(batch, v).cumsum(-1)[..., :-1]
            X[..., v] = (u[..., v, None] >= below).sum(-1)
        return batch

    def _tables(self, stream: TaskStream, v: int, c: int) -> Float[Tensor, "b v c d"]:
        d = self.n_categories
        if self.conditionals == "dirichlet":
            gammas = stream.gamma(self.concentration, v, c, d)
            return gammas / gammas.sum(-1, keepdim=True)
        if self.conditionals == "decided":
            low = 0.15 + 0.15 * stream.uniform(v, c)
            p = torch.where(stream.uniform(v, c) < 0.5, low, 1.0 - low)
        else:
            p = stream.normal(v, c, 2).mean(-1).clamp(1e-3, 1.0 - 1e-3)
        return torch.stack((1.0 - p, p), dim=-1)


def _rows_of(batch: BayesNetBatch, v: int) -> Float[Tensor, "b n d"]:
    """p(x_v | its parents) at the values of every row."""
    parents = batch.adjacency[:, v].to(torch.int64)
    d = batch.tables.shape[-1]
    places = parents * d ** (parents.cumsum(-1) - parents)
    configuration = (batch.X * places[:, None]).sum(-1)
    index = configuration[..., None].expand(-1, -1, d)
    return batch.tables[:, v].gather(1, index)


def _random_graphs(stream: TaskStream, v: int, edges: tuple[float, float]) -> Bool[Tensor, "b v v"]:
    p = edges[0] + (edges[1] - edges[0]) * stream.uniform()
    adjacency = (stream.uniform(v, v) < p[:, None, None]).tril(-1)
    others = stream.integers(0, v - 1, v) if v > 1 else None
    tasks = torch.arange(len(stream), device=stream.device)
    for m in range(v if others is not None else 0):
        assert others is not None
        other = others[:, m] + (others[:, m] >= m)
        low, high = other.clamp_max(m), other.clamp_min(m)
        alone = ~(adjacency[:, m].any(-1) | adjacency[:, :, m].any(-1))
        adjacency[tasks, high, low] |= alone
    return adjacency
