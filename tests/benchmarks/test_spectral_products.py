"""Rivals of the construction: their products are counted, and within the budget."""

from __future__ import annotations

import numpy as np
import pytest

from statformer.benchmarks import spectral_constructed as constructed
from statformer.benchmarks.spectral_rivals import (
    by_random_projection,
    by_svds,
    random_projections_within,
    svds_within,
)
from statformer.reference.power_iteration import Eigenpairs, covariance, exact_eigenpairs


class Counting(np.ndarray):
    """A matrix that counts the columns it and its transpose are multiplied with."""

    columns = 0

    def __matmul__(self, other: np.ndarray) -> np.ndarray:
        Counting.columns += 1 if other.ndim == 1 else other.shape[1]
        return np.asarray(self) @ other


def test_rivals_are_exact_and_their_products_are_counted() -> None:
    X, _ = constructed.table(0.8, 0)
    exact = exact_eigenpairs(covariance(X, centre=False), 3)
    for found in (by_svds(X, 3, 0, 0.0, 20), by_random_projection(X, 3, 0, 60, 10)):
        assert constructed.gap(found.pairs, exact) < 1e-9
        np.testing.assert_allclose(found.pairs.values, exact.values, rtol=1e-9)
    assert by_random_projection(X, 3, 0, 4, 5).products == 8 * 5
    Counting.columns = 0
    counted = by_svds(X.view(Counting), 3, 0, 0.0, 20)
    # svds also multiplies by the k vectors that it found, which is not counted
    assert 2 * counted.products <= Counting.columns <= 2 * counted.products + 3


@pytest.mark.parametrize("budget", [12.0, 30.0, 240.0])
def test_rivals_stay_within_the_budget(budget: float) -> None:
    X, _ = constructed.table(0.95, 1)
    answers = [*svds_within(X, 3, 0, budget), *random_projections_within(X, 3, 0, budget)]
    assert answers
    assert max(answer.products for answer in answers) <= budget
    assert not list(random_projections_within(X, 3, 0, 2.0))


def test_gap_is_a_sine_that_forgives_signs() -> None:
    exact = Eigenpairs(np.array([2.0, 1.0]), np.eye(3)[:2])
    for angle in (0.0, 1e-9, 0.3, 1.5):
        turned = exact.vectors.copy()
        turned[1] = [0.0, -np.cos(angle), -np.sin(angle)]
        found = constructed.gap(Eigenpairs(exact.values, turned), exact)
        assert found == pytest.approx(np.sin(angle), rel=1e-6, abs=1e-15)


def test_tables_have_the_eigenvalues_they_promise() -> None:
    X, starts = constructed.table(0.5, 3)
    values = exact_eigenpairs(covariance(X, centre=False), 4).values
    np.testing.assert_allclose(values, [1.0, 0.5, 0.25, 0.125], rtol=1e-10)
    assert starts.shape == (3, constructed.N_FEATURES)
