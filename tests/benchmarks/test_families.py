from __future__ import annotations

import numpy as np
import pytest

from statformer.benchmarks.families import FAMILIES, copula_clusters, curve_clusters


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize(("n", "d", "c"), [(40, 1, 1), (60, 2, 5), (200, 8, 3), (90, 32, 10)])
def test_tables_have_the_shape_and_every_component(name: str, n: int, d: int, c: int) -> None:
    X, y = FAMILIES[name](np.random.default_rng(0), n, d, c, 3.0)
    assert X.shape == (n, d)
    assert y.shape == (n,)
    assert np.isfinite(X).all()
    assert (np.bincount(y, minlength=c) >= 2).all()
    assert len(np.bincount(y)) == c


@pytest.mark.parametrize("seed", range(5))
def test_copula_clusters_are_bounded_and_beta(seed: int) -> None:
    X, y = copula_clusters(np.random.default_rng(seed), 4000, 3, 2, 4.0)
    assert X.min() >= 0.0
    assert X.max() <= 1.0
    for k in range(2):
        part = X[y == k]
        mean, variance = part.mean(axis=0), part.var(axis=0)
        assert (variance <= mean * (1 - mean) / 2 + 0.01).all()  # a beta of concentration >= 1
        assert np.abs(np.corrcoef(part.T)[np.triu_indices(3, 1)]).max() > 0.02


@pytest.mark.parametrize("name", FAMILIES)
def test_separation_separates(name: str) -> None:
    def nearest(separation: float) -> float:
        gaps = []
        for seed in range(20):
            X, y = FAMILIES[name](np.random.default_rng(seed), 400, 4, 3, separation)
            means = np.stack([X[y == k].mean(axis=0) for k in range(3)])
            within = np.sqrt(np.mean([X[y == k].var(axis=0).mean() for k in range(3)]))
            apart = np.linalg.norm(means[:, None] - means[None], axis=-1) + 1e9 * np.eye(3)
            gaps.append(apart.min(axis=1).mean() / within)
        return float(np.mean(gaps))

    assert nearest(3.0) == pytest.approx(3.0, rel=0.2)
    assert nearest(6.0) == pytest.approx(6.0, rel=0.2)


def test_curves_are_thinner_than_their_covariance_says() -> None:
    X, _ = curve_clusters(np.random.default_rng(3), 3000, 3, 1, 3.0)
    # along a curve the nearest neighbours are close: a Gaussian of the same covariance is not so
    Z = np.random.default_rng(0).multivariate_normal(X.mean(0), np.cov(X.T), size=len(X))

    def nearest(points: np.ndarray) -> float:
        gap = np.linalg.norm(points[:500, None] - points[None], axis=-1)
        return float(np.median(np.partition(gap, 1, axis=1)[:, 1]))

    assert nearest(X) < 0.75 * nearest(Z)


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="use at least 10"):
        copula_clusters(np.random.default_rng(0), 9, 2, 5, 3.0)
