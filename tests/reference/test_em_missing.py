"""EM with missing cells: complete tables give the complete EM, the likelihood never falls."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from statformer.reference import em, em_missing


def table(
    seed: int, rate: float, d: int = 3, kinds: tuple[int, ...] = (3,)
) -> tuple[np.ndarray, np.ndarray, em_missing.MixedMixture]:
    rng = np.random.default_rng(seed)
    n, c = 50, 2
    y = rng.integers(c, size=n)
    X = 2.0 * rng.standard_normal((c, d))[y] + rng.standard_normal((n, d)) @ rng.normal(size=(d, d))
    codes = np.stack([(y + rng.integers(2, size=n)) % k for k in kinds], axis=1)
    X[rng.random(X.shape) < rate] = np.nan
    codes[rng.random(codes.shape) < rate] = -1
    numbers = em.Mixture(
        np.full(c, 1.0 / c),
        rng.standard_normal((c, d)),
        np.broadcast_to(2.0 * np.eye(d), (c, d, d)),
    )
    theta = [rng.dirichlet(np.full(k, 3.0), size=c) for k in kinds]
    return X, codes, em_missing.MixedMixture(numbers, theta)


@pytest.mark.parametrize("kind", em.COVARIANCE_TYPES)
def test_complete_numbers_are_textbook_em(kind: str) -> None:
    X, codes, start = table(0, 0.0)
    found = em_missing.em(X, codes[:, :0], start._replace(categories=[]), 5, kind, 1e-3)
    expected = em.em(X, start.numbers, 5, kind, 1e-3)
    for left, right in zip(found, expected, strict=True):
        np.testing.assert_allclose(left.responsibilities, right.responsibilities, atol=1e-10)
        np.testing.assert_allclose(
            left.mixture.numbers.covariances, right.mixture.covariances, atol=1e-10
        )


@pytest.mark.parametrize("kind", ["full", "tied", "diag"])
@pytest.mark.parametrize("nu", [np.inf, 3.0])
@pytest.mark.parametrize("rate", [0.2, 0.5])
def test_the_objective_never_falls(kind: str, nu: float, rate: float) -> None:
    if kind == "tied" and nu < np.inf:
        pytest.skip("a pooled scatter divided component by component is not exact Student-t EM")
    X, codes, start = table(1, rate)
    weight = np.random.default_rng(0).integers(1, 4, size=len(X)).astype(float)
    steps = em_missing.em(X, codes, start, 25, kind, 1e-10, weight, nu)
    values = [em_missing.objective(X, codes, s.mixture, weight, nu) for s in steps]
    assert np.diff(values).min() > -1e-7
    assert values[-1] > values[0] + 1.0


def test_the_objective_falls_without_the_conditional_covariance(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    X, codes, start = table(2, 0.5)
    plain = em_missing.condition

    def forgetful(*args: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        filled, extra = plain(*args)
        return filled, 0.5 * extra

    monkeypatch.setattr(em_missing, "condition", forgetful)
    steps = em_missing.em(X, codes, start, 25, "full", 1e-10)
    values = [em_missing.objective(X, codes, s.mixture) for s in steps]
    assert np.diff(values).min() < -1e-3


def test_densities_are_scipys() -> None:
    X, _, start = table(3, 0.4)
    mean, covariance = start.numbers.means[0], start.numbers.covariances[0] + 0.3
    for x in X[:20]:
        seen = ~np.isnan(x)
        if not seen.any():
            assert em_missing.log_density(x, mean, covariance) == 0.0
            continue
        block = covariance[np.ix_(seen, seen)]
        normal = stats.multivariate_normal(mean[seen], block).logpdf(x[seen])
        student = stats.multivariate_t(mean[seen], block, df=4.0).logpdf(x[seen])
        np.testing.assert_allclose(em_missing.log_density(x, mean, covariance), normal, atol=1e-10)
        found = em_missing.log_density(x, mean, covariance, 4.0)
        np.testing.assert_allclose(found, student, atol=1e-10)


def test_an_unknown_type_is_refused() -> None:
    X, codes, start = table(4, 0.2)
    with pytest.raises(ValueError, match="covariance_type='round' is unknown"):
        em_missing.m_step(X, codes, np.full((50, 2), 0.5), start, "round")
