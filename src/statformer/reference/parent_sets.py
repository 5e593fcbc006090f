"""Bayesian model averaging over parent sets, one row and one cell at a time, written to be read.

Axes: n rows, v variables, s sets, c configurations, d categories of the target. A cell is the
number of its category. Tables have one axis per parent, in the order in which the set lists them,
and the target's own last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import comb, exp, lgamma, log

import numpy as np
from jaxtyping import Float, Int

Array = np.ndarray
Parents = tuple[int, ...]


def counts(
    X: Int[Array, "n v"], sizes: Sequence[int], target: int, parents: Parents
) -> Float[Array, "..."]:
    """How often each category of the target was seen with each configuration of the parents."""
    table = np.zeros([*(sizes[u] for u in parents), sizes[target]])
    for x in X:
        table[(*x[list(parents)], x[target])] += 1.0
    return table


def log_evidence(table: Float[Array, "..."], a: float) -> float:
    """log of the chance of the target's column, each row of its table being Dirichlet(a, ..., a).

    Polya's urn: the categories of a configuration come one after the other, each with probability
    (how often it came before + a) / (how many came before + d a). The order does not matter.
    """
    d, result = table.shape[-1], 0.0
    for configuration in np.ndindex(table.shape[:-1]):
        result += lgamma(d * a) - lgamma(table[configuration].sum() + d * a)
        for n in table[configuration]:
            result += lgamma(n + a) - lgamma(a)
    return result


def log_prior(n_parents: int, n_predecessors: int) -> float:
    """log of the chance of one set: every predecessor is in it with probability p, p ~ U(0, 1)."""
    return -log((n_predecessors + 1) * comb(n_predecessors, n_parents))


def posterior(
    X: Int[Array, "n v"],
    sizes: Sequence[int],
    target: int,
    candidates: Sequence[Parents],
    n_predecessors: int,
    prior: Mapping[float, float],
) -> dict[tuple[Parents, float], float]:
    """P(set, concentration | rows); `prior` has the probability of every concentration."""
    logs = {}
    for parents in candidates:
        table = counts(X, sizes, target, parents)
        for a, share in prior.items():
            before = log_prior(len(parents), n_predecessors) + log(share)
            logs[parents, a] = before + log_evidence(table, a)
    top = max(logs.values())
    total = sum(exp(value - top) for value in logs.values())
    return {key: exp(value - top) / total for key, value in logs.items()}


def averaged(
    X: Int[Array, "n v"],
    sizes: Sequence[int],
    target: int,
    candidates: Sequence[Parents],
    n_predecessors: int,
    prior: Mapping[float, float],
    query: Sequence[int],
) -> Float[Array, "d"]:
    """p(target | the query's values) averaged over sets and concentrations."""
    d = sizes[target]
    answer = np.zeros(d)
    shares = posterior(X, sizes, target, candidates, n_predecessors, prior)
    for (parents, a), share in shares.items():
        seen = counts(X, sizes, target, parents)[tuple(query[u] for u in parents)]
        for x in range(d):
            answer[x] += share * (seen[x] + a) / (seen.sum() + d * a)
    return answer
