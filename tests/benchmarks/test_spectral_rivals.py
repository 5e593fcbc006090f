"""Each rival finds the subspace of clean tables, and robust ones under their own corruption."""

from __future__ import annotations

import numpy as np
import pytest

from statformer.benchmarks.robust_pca_em import probabilistic_pca
from statformer.benchmarks.robust_pca_filling import (
    with_iterated_svd,
    with_means,
    with_regressions,
)
from statformer.benchmarks.robust_pca_pursuit import component_pursuit
from statformer.benchmarks.robust_pca_rivals import (
    ITERATED,
    MIN_COV_DET,
    PROBABILISTIC,
    PURSUIT,
    REGRESSIONS,
    RIVALS,
    SPHERICAL,
    SVD,
    largest_angle,
    leading,
    min_cov_det,
    spatial_median,
)


def low_rank(n: int = 120, d: int = 15, k: int = 2, noise: float = 0.1, seed: int = 0):
    """A table, its subspace "k d" and the generator."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.normal(size=(d, k)))[0].T
    scores = rng.normal(size=(n, k)) * np.linspace(3.0, 2.0, k)
    X = scores @ basis + noise * rng.normal(size=(n, d)) + 5.0 * rng.normal(size=d)
    return X, basis, rng


@pytest.mark.parametrize("name", RIVALS)
def test_every_rival_finds_the_subspace_of_a_clean_table(name: str) -> None:
    X, basis, _ = low_rank()
    found = RIVALS[name](X, 2, 0)
    np.testing.assert_allclose(found @ found.T, np.eye(2), atol=1e-10)
    assert largest_angle(found, basis) < 3.0
    by_svd = largest_angle(found, RIVALS[SVD](X, 2, 0))
    if name in {ITERATED, REGRESSIONS, PROBABILISTIC}:
        assert by_svd < 1e-3  # without a missing cell they are the SVD
    elif name != SVD:
        assert by_svd > 1e-3


@pytest.mark.parametrize(("name", "most"), [(SPHERICAL, 6.0), (MIN_COV_DET, 3.0), (PURSUIT, 6.0)])
def test_robust_rivals_stand_outlying_rows(name: str, most: float) -> None:
    X, basis, rng = low_rank()
    X[:12] = X.mean(axis=0) + 12.0 * rng.normal(size=(12, 15))
    assert largest_angle(RIVALS[SVD](X, 2, 0), basis) > 10.0
    assert largest_angle(RIVALS[name](X, 2, 0), basis) < most


def test_pursuit_stands_outlying_cells() -> None:
    X, basis, rng = low_rank()
    hit = rng.random(X.shape) < 0.05
    X[hit] += rng.choice([-25.0, 25.0], size=int(hit.sum()))
    assert largest_angle(RIVALS[SVD](X, 2, 0), basis) > 8.0
    assert largest_angle(RIVALS[PURSUIT](X, 2, 0), basis) < 3.0


@pytest.mark.parametrize("name", [ITERATED, REGRESSIONS, PROBABILISTIC])
def test_methods_for_missing_cells_beat_the_mean(name: str) -> None:
    X, basis, rng = low_rank(seed=1)
    X[rng.random(X.shape) < 0.3] = np.nan
    by_mean = largest_angle(RIVALS[SVD](X, 2, 0), basis)
    assert by_mean > 4.0
    assert largest_angle(RIVALS[name](X, 2, 0), basis) < 0.5 * by_mean


@pytest.mark.parametrize("name", RIVALS)
def test_every_rival_takes_missing_cells(name: str) -> None:
    X, basis, rng = low_rank(seed=2)
    X[rng.random(X.shape) < 0.1] = np.nan
    before = X.copy()
    assert largest_angle(RIVALS[name](X, 2, 0), basis) < 8.0
    np.testing.assert_array_equal(X, before)


def test_pursuit_recovers_a_known_split() -> None:
    """Rank 2 plus 5 % sparse entries of size 10: exact recovery, theorem 1.1 of Candes et al."""
    rng = np.random.default_rng(0)
    L = rng.normal(size=(60, 2)) @ rng.normal(size=(2, 40))
    S = np.where(rng.random((60, 40)) < 0.05, 10.0 * rng.choice([-1.0, 1.0], (60, 40)), 0.0)
    found = component_pursuit(L + S)
    np.testing.assert_allclose(found.low_rank, L, atol=1e-4)
    np.testing.assert_allclose(found.sparse, S, atol=1e-4)
    holes = rng.random(L.shape) < 0.2
    found = component_pursuit(np.where(holes, np.nan, L + S))
    np.testing.assert_allclose(found.low_rank, L, atol=1e-3)
    assert np.abs(found.sparse[holes]).max() == 0.0
    assert not component_pursuit(np.zeros((3, 2))).low_rank.any()


def test_likelihood_of_probabilistic_pca_grows_to_the_closed_form() -> None:
    """On complete tables the noise is the mean of the left-out eigenvalues (Tipping, Bishop)."""
    X, _, rng = low_rank(noise=0.5)
    found = probabilistic_pca(X, 2)
    values = np.linalg.eigvalsh(np.cov(X.T, bias=True))[::-1]
    assert found.noise == pytest.approx(values[2:].mean(), rel=1e-4)
    spread = np.linalg.eigvalsh(found.loadings.T @ found.loadings)[::-1] + found.noise
    np.testing.assert_allclose(spread, values[:2], rtol=1e-4)
    X[rng.random(X.shape) < 0.3] = np.nan
    steps = np.diff(probabilistic_pca(X, 2).log_likelihood)
    assert len(steps) > 3
    assert (steps > -1e-8).all()


def test_likelihood_is_that_of_the_observed_cells() -> None:
    from scipy.stats import multivariate_normal

    X, _, rng = low_rank(n=12, d=4)
    X[rng.random(X.shape) < 0.3] = np.nan
    found = probabilistic_pca(X, 2)
    one_more = 0.0
    for row in X:
        seen = ~np.isnan(row)
        if seen.any():
            W = found.loadings[seen]
            covariance = W @ W.T + found.noise * np.eye(int(seen.sum()))
            one_more += multivariate_normal(found.mean[seen], covariance).logpdf(row[seen])
    assert found.log_likelihood[-1] == pytest.approx(one_more, rel=1e-3)


def test_filled_cells() -> None:
    X, _, rng = low_rank(noise=0.01)
    holes = rng.random(X.shape) < 0.2
    holed = np.where(holes, np.nan, X)
    gap = {
        "means": with_means(holed) - X,
        "svd": with_iterated_svd(holed, 2) - X,
        "regressions": with_regressions(holed, 0) - X,
    }
    for found in gap.values():
        assert np.abs(found[~holes]).max() == 0.0
    error = {name: float(np.abs(found[holes]).mean()) for name, found in gap.items()}
    assert error["svd"] < 0.02
    assert error["regressions"] < 0.5 * error["means"]
    np.testing.assert_allclose(
        with_means(np.array([[np.nan, 1.0], [np.nan, 3.0]])), [[0, 1], [0, 3]]
    )


def test_min_cov_det_needs_rows() -> None:
    with pytest.raises(ValueError, match="20 rows and 10 columns"):
        min_cov_det(np.zeros((20, 10)), 2, 0)


def test_spatial_median_minimises_the_sum_of_distances() -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_t(2, size=(40, 3))
    centre = spatial_median(X)
    away = X - centre
    pull = (away / np.linalg.norm(away, axis=1, keepdims=True)).sum(axis=0)
    np.testing.assert_allclose(pull, 0.0, atol=1e-5)


def test_largest_angle() -> None:
    plane = np.eye(4)[:2]
    for degrees in (0.0, 1e-7, 30.0, 60.0, 90.0):
        turn = np.radians(degrees)
        other = plane.copy()
        other[1] = [0.0, np.cos(turn), np.sin(turn), 0.0]
        assert largest_angle(other, plane) == pytest.approx(degrees, rel=1e-6, abs=1e-12)
        assert largest_angle(plane, -other[::-1]) == pytest.approx(degrees, rel=1e-6, abs=1e-12)
    assert leading(np.diag([1.0, 3.0, 2.0]), 1)[0] == pytest.approx([0, 1, 0])
