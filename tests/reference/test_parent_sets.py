"""Model averaging by loops: evidence, prior and answers against sums that are easy by hand."""

from __future__ import annotations

from itertools import product
from math import comb, exp, log

import numpy as np
import pytest

from parent_set_tables import SIZES, TARGET, rows
from statformer.reference.parent_sets import (
    averaged,
    counts,
    log_evidence,
    log_prior,
    posterior,
)


def test_counts_are_counts() -> None:
    X = rows(40)
    table = counts(X, SIZES, TARGET, (3, 0))
    assert table.shape == (4, 2, 3)
    for c in product(range(4), range(2), range(3)):
        assert table[c] == np.all(X[:, [3, 0, TARGET]] == c, axis=1).sum()


@pytest.mark.parametrize("a", [0.3, 1.0, 4.0])
def test_evidence_is_the_urn_taken_one_by_one(a: float) -> None:
    column = [0, 2, 2, 1, 2, 0]
    seen, expected = np.zeros(3), 0.0
    for x in column:
        expected += log((seen[x] + a) / (seen.sum() + 3 * a))
        seen[x] += 1
    assert log_evidence(seen, a) == pytest.approx(expected, abs=1e-12)
    two = np.stack([seen, np.zeros(3)])  # a configuration without rows adds nothing
    assert log_evidence(two, a) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("m", [0, 1, 4])
def test_prior_of_all_sets_sums_to_one(m: int) -> None:
    total = sum(comb(m, k) * exp(log_prior(k, m)) for k in range(m + 1))
    assert total == pytest.approx(1.0, abs=1e-12)
    p = np.linspace(0.0, 1.0, 20001)
    for k in range(m + 1):
        density = p**k * (1.0 - p) ** (m - k)
        assert exp(log_prior(k, m)) == pytest.approx(np.trapezoid(density, p), abs=1e-7)


def test_the_predictive_is_a_ratio_of_evidences() -> None:
    """p(x | query, rows) = evidence of the rows and (query, x) over that of the rows."""
    X, query = rows(30), [1, 2, 0, 3, 0]
    candidates, prior = [(), (1,), (1, 3), (0, 2)], {0.3: 0.25, 1.0: 0.75}

    def log_total(X: np.ndarray) -> float:
        terms = [
            log(share) + log_prior(len(S), 4) + log_evidence(counts(X, SIZES, TARGET, S), a)
            for S in candidates
            for a, share in prior.items()
        ]
        return float(np.logaddexp.reduce(terms))

    found = averaged(X, SIZES, TARGET, candidates, 4, prior, query)
    for x in range(3):
        more = np.vstack([X, [*query[:4], x]])
        assert found[x] == pytest.approx(exp(log_total(more) - log_total(X)), abs=1e-12)
    assert found.sum() == pytest.approx(1.0, abs=1e-12)


def test_the_parents_win_with_many_rows() -> None:
    candidates = [(), (1,), (3,), (1, 3), (0, 1), (0, 1, 3)]
    shares = posterior(rows(1500, seed=3), SIZES, TARGET, candidates, 4, {1.0: 1.0})
    assert max(shares, key=lambda key: shares[key])[0] == (1, 3)
