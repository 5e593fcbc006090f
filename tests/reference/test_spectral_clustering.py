"""Two classes by the sign of the leading score; the thresholds that belong to them."""

from __future__ import annotations

import numpy as np
import pytest

from statformer.reference.spectral_clustering import (
    exact_recovery_radius,
    mismatch,
    oracle_error,
    two_classes,
)


def mixture(
    seed: int, n: int = 200, d: int = 5, radius: float = 6.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    theta = rng.standard_normal(d)
    theta *= radius / np.linalg.norm(theta)
    z = rng.choice([-1, 1], n)
    return z[:, None] * theta + rng.standard_normal((n, d)), z, theta


@pytest.mark.parametrize("seed", range(5))
def test_separated_classes_are_found(seed: int) -> None:
    X, z, theta = mixture(seed)
    found = two_classes(X)
    assert mismatch(found.labels, z) == 0.0
    assert set(found.labels.tolist()) == {-1, 1}
    assert abs(found.vector @ theta) / np.linalg.norm(theta) > 0.99
    np.testing.assert_array_equal(np.sign(found.scores), found.labels)


def test_means_that_are_not_opposite_need_centring() -> None:
    X, z, theta = mixture(0)
    X = X + 30.0 * np.array([theta[1], -theta[0], 0.0, 0.0, 0.0]) / np.linalg.norm(theta[:2])
    assert mismatch(two_classes(X).labels, z) > 0.3
    assert mismatch(two_classes(X, centre=True).labels, z) == 0.0


def test_a_direction_from_elsewhere_is_taken_as_it_is() -> None:
    X = np.array([[1.0, -2.0], [-3.0, 1.0], [0.0, 5.0]])
    found = two_classes(X, vector=np.array([1.0, 0.0]))
    np.testing.assert_array_equal(found.labels, [1, -1, 1])  # a score of 0 counts as +1


def test_mismatch_forgives_the_global_sign() -> None:
    z = np.array([1, 1, -1, -1])
    assert mismatch(z, z) == mismatch(-z, z) == 0.0
    assert mismatch(np.array([1, 1, 1, -1]), z) == mismatch(np.array([-1, -1, -1, 1]), z) == 0.25


def test_the_oracle_error_is_met_by_the_true_direction() -> None:
    X, z, theta = mixture(1, n=100_000, radius=1.2)
    wrong = mismatch(two_classes(X, vector=theta).labels, z)
    assert wrong == pytest.approx(oracle_error(1.2), abs=0.003)
    assert oracle_error(2.4, sigma=2.0) == pytest.approx(oracle_error(1.2))


def test_the_recovery_radius_has_its_two_regimes() -> None:
    n = 100
    log_n = np.log(n)
    assert exact_recovery_radius(n, 1) == pytest.approx(np.sqrt(2 * log_n), rel=0.01)
    wide = 10**8  # (2 d log n / n)^(1/4) where columns dominate
    assert exact_recovery_radius(n, wide) == pytest.approx((2 * wide * log_n / n) ** 0.25, rel=0.05)
    assert exact_recovery_radius(n, 5, 3.0) == pytest.approx(3.0 * exact_recovery_radius(n, 5))
    with pytest.raises(ValueError, match="n_points=1"):
        exact_recovery_radius(1, 5)
