"""Weights and means from moments: exact on exact moments, close on many points."""

from __future__ import annotations

import numpy as np
import pytest

from statformer.reference.method_of_moments import (
    components_of_moments,
    method_of_moments,
    spherical_moments,
)

WEIGHTS = np.array([0.2, 0.3, 0.5])
MEANS = np.array([[3.0, 0.5, -1.0, 0.0], [-2.0, 2.0, 0.0, 1.0], [0.0, -1.0, 2.5, -2.0]])


def moments(weights: np.ndarray, means: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    M2 = np.einsum("c,ci,cj->ij", weights, means, means)
    return M2, np.einsum("c,ci,cj,ck->ijk", weights, means, means, means)


def by_weight(weights: np.ndarray, means: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = weights.argsort()
    return weights[order], means[order]


def test_exact_moments_give_exact_parameters() -> None:
    M2, M3 = moments(WEIGHTS, MEANS)
    found = components_of_moments(M2, M3, 3, np.random.default_rng(0))
    for left, right in zip(by_weight(*found), (WEIGHTS, MEANS), strict=True):
        np.testing.assert_allclose(left, right, atol=1e-8)
    M3[0, 0, 0] += 1.0
    _, means = by_weight(*components_of_moments(M2, M3, 3, np.random.default_rng(0)))
    assert np.abs(means - MEANS).max() > 1e-2


def test_the_noise_is_taken_out_of_the_moments() -> None:
    rng = np.random.default_rng(1)
    y = rng.choice(3, size=400_000, p=WEIGHTS)
    X = MEANS[y] + 0.8 * rng.normal(size=(len(y), 4))
    for found, expected in zip(spherical_moments(X), moments(WEIGHTS, MEANS), strict=True):
        assert np.abs(found - expected).max() < 0.15
    weights, means = by_weight(*method_of_moments(X, 3, np.random.default_rng(0)))
    np.testing.assert_allclose(weights, WEIGHTS, atol=0.02)
    np.testing.assert_allclose(means, MEANS, atol=0.1)


def test_more_components_than_columns_are_refused() -> None:
    with pytest.raises(ValueError, match="n_components=5"):
        method_of_moments(np.zeros((10, 4)), 5, np.random.default_rng(0))
