"""Counts of rows with missing cells, by expectation and maximisation.

A family (a variable and its parents) that a row knows in full is counted. Of any other the row
counts with the posterior of its missing cells under the tables of the last step, computed exactly
(Dempster, Laird and Rubin 1977; for Bayesian networks Lauritzen 1995). Cells are taken to be
missing at random.

Axes: v variables, n rows, d categories. Codes are "v n", -1 where missing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from statformer.estimators.bayes_net_groups import Group, all_groups
from statformer.estimators.bayes_net_inference import WRITTEN_OUT, WrittenOut, contract, distinct
from statformer.estimators.bayes_net_tables import (
    Codes,
    Table,
    Tables,
    count,
    estimate,
)
from statformer.reference.bayes_net import Structure

Array = np.ndarray

MAX_ITER = 300
TOLERANCE = 1e-7  # of the mean log-likelihood per row, in nats


_NOWHERE = np.empty(0, dtype=np.intp)


class Fit(NamedTuple):
    """Expected counts, the number of iterations, whether they converged, and log p after each."""

    counts: list[Table]
    n_iter: int
    converged: bool
    log_likelihood: list[float]


@dataclass(frozen=True)
class _Missing:
    """Rows that lack the same cells around them, one for each combination of the values there.

    written  what their posterior is made of, or None where that is too much to write out
    cells    for each factor, where its posterior is counted: positions in its table, "k f"
    """

    group: Group
    codes: Codes
    weight: Float[Array, " k"]
    written: WrittenOut | None
    cells: tuple[Int[Array, "_ _"], ...]

    def of(self, m: int) -> list[Int[Array, "_ _"]]:
        """Where the posterior of the table of m is counted, if it is a factor."""
        return [self.cells[i] for i, factor in enumerate(self.group.factors) if factor == m]

    def posterior(self, tables: Tables) -> tuple[list[Float[Array, "k f"]], float]:
        """The weighted posterior of the missing cells of each factor, and the log-likelihood."""
        k, unknown = len(self.weight), self.group.unknown
        free = [
            tuple(u for u in unknown if u in (*tables.structure.parents[m], m))
            for m in self.group.factors
        ]
        if self.written is not None:
            joint = np.broadcast_to(self.written.product(tables), (k, *self.written.shape))
            total = joint.reshape(k, -1).sum(axis=1)
            joint = joint * (self.weight / total).reshape(-1, *[1] * len(unknown))
            found = [
                joint.sum(axis=tuple(1 + i for i, u in enumerate(unknown) if u not in of_m))
                for of_m in free
            ]
        else:
            found = [contract(tables, self.codes, self.group, of_m) for of_m in free]
            total = found[0].reshape(k, -1).sum(axis=1)
            found = [p * (self.weight / total).reshape(-1, *[1] * (p.ndim - 1)) for p in found]
        likelihood = float((self.weight * np.log(total)).sum())
        return [p.reshape(k, -1) for p in found], likelihood


def expected_counts(
    structure: Structure,
    sizes: Sequence[int],
    codes: Codes,
    weight: Float[Array, " n"],
    smoothing: float,
) -> Fit:
    """Counts at a maximum of the likelihood of the known cells, started at the known families.

    Without missing cells these are the counts. The start adds one to every cell, so that nothing is
    impossible that was merely not seen whole.

    Raises ValueError where missing cells hang together too widely for exact inference.
    """
    whole = count(structure, sizes, codes, weight)
    tables = estimate(structure, whole, smoothing=1.0)
    missing = _missing(tables, codes, weight)
    if not missing:
        return Fit(whole, 0, True, [])
    path: list[float] = []
    counts = whole
    places = [
        np.concatenate([cells.ravel() for one in missing for cells in one.of(m)] or [_NOWHERE])
        for m in range(len(sizes))
    ]
    for n_iter in range(1, MAX_ITER + 1):
        added: list[list[Array]] = [[] for _ in sizes]
        found = 0.0
        for one in missing:
            posterior, likelihood = one.posterior(tables)
            found += likelihood
            for m, p in zip(one.group.factors, posterior, strict=True):
                added[m].append(p.ravel())
        counts = [
            table
            + np.bincount(at, np.concatenate(p or [np.empty(0)]), table.size).reshape(table.shape)
            for table, at, p in zip(whole, places, added, strict=True)
        ]
        for table, p in zip(whole, tables.probabilities, strict=True):
            found += float((table[table > 0] * np.log(p[table > 0])).sum())
        path.append(found / float(weight.sum()))
        tables = estimate(structure, counts, smoothing)
        if n_iter > 1 and abs(path[-1] - path[-2]) < TOLERANCE:
            return Fit(counts, n_iter, True, path)
    return Fit(counts, MAX_ITER, False, path)


def _missing(tables: Tables, codes: Codes, weight: Float[Array, " n"]) -> list[_Missing]:
    """Missing cells by what hangs together; rows that agree around it are joined into one."""
    found = []
    for group in all_groups(tables, codes, barren=True):
        family = {u for m in group.factors for u in (*tables.structure.parents[m], m)}
        around = sorted(family - set(group.unknown))
        first, which = distinct(codes[:, group.rows], around, tables.sizes)
        part = np.full((len(codes), len(first)), -1, dtype=codes.dtype)
        part[around] = codes[around][:, group.rows[first]]
        summed = np.bincount(which, weight[group.rows], len(first))
        joined = Group(np.arange(len(first)), group.unknown, group.factors)
        n_cells = math.prod(tables.sizes[u] for u in group.unknown)
        written = WrittenOut.of(tables, joined, part)
        cells = tuple(np.broadcast_to(at, (len(first), at.shape[1])) for at in written.cells)
        kept = written if n_cells * len(first) <= WRITTEN_OUT else None
        found.append(_Missing(joined, part, summed, kept, cells))
    return found
