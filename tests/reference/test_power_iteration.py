"""The power method meets LAPACK, at the rate theory gives; deflation finds the next component."""

from __future__ import annotations

import numpy as np
import pytest

from statformer.reference.power_iteration import (
    Eigenpairs,
    covariance,
    exact_eigenpairs,
    power_iteration,
    power_step,
)


def symmetric(values: list[float], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A matrix with these eigenvalues, and its eigenvectors as rows."""
    rng = np.random.default_rng(seed)
    Q = np.linalg.qr(rng.standard_normal((len(values), len(values))))[0]
    return Q @ np.diag(values) @ Q.T, Q.T


@pytest.mark.parametrize("seed", range(5))
def test_finds_the_eigenpairs_of_lapack(seed: int) -> None:
    S, vectors = symmetric([9.0, 4.0, 2.0, 1.0, 0.3], seed)
    starts = np.random.default_rng(seed).standard_normal((4, 5))
    found = power_iteration(S, starts, 100)
    exact = exact_eigenpairs(S, 4)
    np.testing.assert_allclose(found.values, [9.0, 4.0, 2.0, 1.0], rtol=1e-10)
    np.testing.assert_allclose(exact.values, [9.0, 4.0, 2.0, 1.0], rtol=1e-10)
    for pairs in (found, exact):
        np.testing.assert_allclose(np.abs(pairs.vectors @ vectors.T)[:, :4], np.eye(4), atol=1e-9)
        assert pairs.vectors.shape == (4, 5)


def test_the_error_shrinks_by_the_ratio_of_eigenvalues() -> None:
    S, vectors = symmetric([2.0, 1.0, 0.1])
    start = vectors.sum(axis=0)[None]
    for n_steps in (5, 10):
        v = power_iteration(S, start, n_steps).vectors[0]
        assert (v @ vectors[1]) / (v @ vectors[0]) == pytest.approx(0.5**n_steps, rel=1e-10)


def test_without_deflation_the_second_component_is_the_first_again() -> None:
    S, vectors = symmetric([5.0, 1.0])
    nothing = Eigenpairs(np.zeros(0), np.zeros((0, 2)))
    first = Eigenpairs(np.array([5.0]), vectors[:1])
    start = np.array([0.6, 0.8])
    for found, expected in ((nothing, vectors[0]), (first, vectors[1])):
        v = start
        for _ in range(60):
            length, v = power_step(S, v, found)
        assert abs(v @ expected) == pytest.approx(1.0)
    assert length == pytest.approx(1.0)


def test_behind_the_rank_nothing_is_left() -> None:
    S = np.diag([4.0, 0.0])
    length, v = power_step(S, np.array([0.0, 1.0]), Eigenpairs(np.zeros(0), np.zeros((0, 2))))
    assert length == 0.0
    np.testing.assert_array_equal(v, 0.0)


def test_covariance_is_centred_or_not() -> None:
    X = np.random.default_rng(0).standard_normal((30, 4)) + 3.0
    np.testing.assert_allclose(covariance(X), np.cov(X.T), rtol=1e-12)
    np.testing.assert_allclose(covariance(X, centre=False), X.T @ X, rtol=1e-12)


def test_errors_name_the_remedy() -> None:
    with pytest.raises(ValueError, match="n_steps=0"):
        power_iteration(np.eye(2), np.eye(2), 0)
    with pytest.raises(ValueError, match="needs at least 2"):
        covariance(np.ones((1, 2)))
