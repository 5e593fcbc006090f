"""Counts of rows with missing cells, by expectation and maximisation.

A family (a variable and its parents) that a row knows in full is counted. Of any other the row
counts with the posterior of its missing cells under the tables of the last step, computed exactly
(Dempster, Laird and Rubin 1977; for Bayesian networks Lauritzen 1995). Cells are taken to be
missing at random.

Axes: v variables, n rows, d categories. Codes are "v n", -1 where missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from statformer.estimators.bayes_net_inference import (
    Group,
    components,
    contract,
    distinct,
    patterns,
)
from statformer.estimators.bayes_net_tables import (
    Codes,
    Table,
    Tables,
    configurations,
    count,
    estimate,
)
from statformer.reference.bayes_net import Structure

Array = np.ndarray

MAX_ITER = 300
TOLERANCE = 1e-7  # of the mean log-likelihood per row, in nats


class Fit(NamedTuple):
    """Expected counts, the number of iterations, whether they converged, and log p after each."""

    counts: list[Table]
    n_iter: int
    converged: bool
    log_likelihood: list[float]


class _Missing(NamedTuple):
    """Rows that lack the same cells around them, one for each combination of the values there."""

    group: Group
    codes: Codes
    weight: Float[Array, " n"]


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
    for n_iter in range(1, MAX_ITER + 1):
        counts = [table.copy() for table in whole]
        found = sum(_add_expected(counts, tables, one) for one in missing)
        for table, p in zip(whole, tables.probabilities, strict=True):
            found += float((table[table > 0] * np.log(p[table > 0])).sum())
        path.append(found / float(weight.sum()))
        tables = estimate(structure, counts, smoothing)
        if n_iter > 1 and abs(path[-1] - path[-2]) < TOLERANCE:
            return Fit(counts, n_iter, True, path)
    return Fit(counts, MAX_ITER, False, path)


def _missing(tables: Tables, codes: Codes, weight: Float[Array, " n"]) -> list[_Missing]:
    """Missing cells by what hangs together; rows that agree around it are joined into one."""
    rows_of: dict[tuple[tuple[int, ...], tuple[int, ...]], list[Int[Array, " n"]]] = {}
    everyone = set(range(len(codes)))
    for rows, known in patterns(codes):
        for part in components(tables, known, everyone):
            rows_of.setdefault(part, []).append(rows)
    found = []
    for (unknown, factors), pieces in rows_of.items():
        rows = np.concatenate(pieces)
        family = {u for m in factors for u in (*tables.structure.parents[m], m)}
        around = sorted(family - set(unknown))
        first, which = distinct(codes[:, rows], around, tables.sizes)
        part = np.full((len(codes), len(first)), -1, dtype=codes.dtype)
        part[around] = codes[around][:, rows[first]]
        summed = np.bincount(which, weight[rows], len(first))
        found.append(_Missing(Group(np.arange(len(first)), unknown, factors), part, summed))
    return found


def _add_expected(counts: list[Table], tables: Tables, missing: _Missing) -> float:
    """Add what the rows are expected to be; returns their log-likelihood."""
    group, codes, weight = missing
    log_likelihood = 0.0
    for i, m in enumerate(group.factors):
        family = (*tables.structure.parents[m], m)
        free = tuple(u for u in family if u in group.unknown)
        fixed = tuple(u for u in family if u not in group.unknown)
        p = contract(tables, codes, group, free).reshape(len(weight), -1)
        total = p.sum(axis=1)
        if i == 0:
            log_likelihood = float((weight * np.log(total)).sum())
        p *= (weight / total)[:, None]
        turned = counts[m].transpose([family.index(u) for u in (*fixed, *free)])
        at = configurations(fixed, tables.sizes, codes)[:, None] * p.shape[1]
        added = np.bincount((at + np.arange(p.shape[1])).ravel(), p.ravel(), turned.size)
        turned += added.reshape(turned.shape)
    return log_likelihood
