"""Reference EM and Lloyd against scikit-learn from the same start."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from statformer.reference import em

RIDGE = 1e-3


def table(seed: int, n: int = 90, d: int = 3, c: int = 3) -> tuple[np.ndarray, em.Mixture]:
    rng = np.random.default_rng(seed)
    centres = 2.0 * rng.standard_normal((c, d))
    X = centres[rng.integers(c, size=n)] + rng.standard_normal((n, d)) @ rng.normal(size=(d, d))
    start = em.Mixture(
        rng.dirichlet(np.full(c, 5.0)),
        X[rng.choice(n, size=c, replace=False)],
        np.broadcast_to(np.eye(d), (c, d, d)),
    )
    return X, start


def sklearn_fit(
    X: np.ndarray, start: em.Mixture, covariance_type: str, n_steps: int
) -> GaussianMixture:
    c, d = start.means.shape
    precisions = {
        "full": np.broadcast_to(np.eye(d), (c, d, d)).copy(),
        "tied": np.eye(d),
        "diag": np.ones((c, d)),
        "spherical": np.ones(c),
    }[covariance_type]
    twin = GaussianMixture(
        c,
        covariance_type=covariance_type,
        reg_covar=RIDGE,
        tol=0.0,
        max_iter=n_steps,
        weights_init=start.weights,
        means_init=start.means,
        precisions_init=precisions,
        random_state=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return twin.fit(X)


def full_covariances(twin: GaussianMixture, c: int, d: int) -> np.ndarray:
    kind, value = twin.covariance_type, twin.covariances_
    if kind == "full":
        return value
    if kind == "tied":
        return np.broadcast_to(value, (c, d, d))
    if kind == "diag":
        return value[:, :, None] * np.eye(d)
    return value[:, None, None] * np.eye(d)


@pytest.mark.parametrize("covariance_type", em.COVARIANCE_TYPES)
@pytest.mark.parametrize("n_steps", [1, 2, 7])
def test_em_equals_sklearn(covariance_type: str, n_steps: int) -> None:
    X, start = table(seed=n_steps)
    last = em.em(X, start, n_steps, covariance_type, RIDGE)[-1]
    twin = sklearn_fit(X, start, covariance_type, n_steps)
    c, d = start.means.shape
    np.testing.assert_allclose(last.mixture.weights, twin.weights_, atol=1e-10)
    np.testing.assert_allclose(last.mixture.means, twin.means_, atol=1e-10)
    np.testing.assert_allclose(last.mixture.covariances, full_covariances(twin, c, d), atol=1e-9)
    np.testing.assert_allclose(last.responsibilities, twin.predict_proba(X), atol=1e-9)
    assert em.log_likelihood(X, last.mixture) == pytest.approx(twin.score(X), abs=1e-10)


def test_covariance_types_differ() -> None:
    X, start = table(seed=0)
    fits = [em.em(X, start, 3, kind, RIDGE)[-1].mixture.covariances for kind in em.COVARIANCE_TYPES]
    for i, left in enumerate(fits):
        for right in fits[i + 1 :]:
            assert np.abs(left - right).max() > 1e-2


@pytest.mark.parametrize("covariance_type", em.COVARIANCE_TYPES)
def test_sample_weight_counts_copies(covariance_type: str) -> None:
    X, start = table(seed=5, n=40)
    copies = np.random.default_rng(0).integers(0, 4, size=len(X))
    by_weight = em.em(X, start, 4, covariance_type, RIDGE, copies.astype(float))[-1]
    by_copy = em.em(np.repeat(X, copies, axis=0), start, 4, covariance_type, RIDGE)[-1]
    for left, right in zip(by_weight.mixture, by_copy.mixture, strict=True):
        np.testing.assert_allclose(left, right, atol=1e-11)


def test_likelihood_never_falls() -> None:
    X, start = table(seed=2)
    values = [em.log_likelihood(X, step.mixture) for step in em.em(X, start, 30, ridge=0.0)]
    assert np.all(np.diff(values) > -1e-12)
    assert values[-1] - values[0] > 1e-3


def test_isotropic_em_is_em_with_a_fixed_covariance() -> None:
    X, start = table(seed=3)
    sigma = 0.8
    covariances = np.broadcast_to(sigma**2 * np.eye(X.shape[1]), start.covariances.shape)
    weights, means = start.weights, start.means
    for step in em.isotropic_em(X, weights, means, sigma, n_steps=5):
        r = em.e_step(X, em.Mixture(weights, means, covariances))
        fitted = em.m_step(X, r)
        weights, means = fitted.weights, fitted.means
        np.testing.assert_allclose(step.mixture.weights, weights, atol=1e-12)
        np.testing.assert_allclose(step.mixture.means, means, atol=1e-11)
        np.testing.assert_allclose(step.mixture.covariances, covariances)


@pytest.mark.parametrize("seed", range(3))
def test_lloyd_equals_sklearn_k_means(seed: int) -> None:
    X, start = table(seed)
    means, labels = em.lloyd(X, start.means, n_steps=100)[-1]
    twin = KMeans(3, init=start.means, n_init=1, max_iter=100, tol=0.0, algorithm="lloyd").fit(X)
    np.testing.assert_array_equal(labels, twin.labels_)
    np.testing.assert_allclose(means, twin.cluster_centers_, atol=1e-10)


def test_lloyd_is_em_at_small_sigma() -> None:
    X, start = table(seed=1)
    labels = em.assign(X, start.means)
    sure = em.assignment_margin(X, start.means) > 0.1
    sharp = em.isotropic_e_step(X, np.full(3, 1 / 3), start.means, sigma=0.03)
    assert sure.mean() > 0.5
    np.testing.assert_allclose(sharp[sure], np.eye(3)[labels][sure], atol=1e-12)


def test_margin_is_the_gap_of_scores() -> None:
    X, start = table(seed=4)
    scores = X @ start.means.T - 0.5 * (start.means**2).sum(axis=1)
    top = np.sort(scores, axis=1)
    np.testing.assert_allclose(
        em.assignment_margin(X, start.means), top[:, -1] - top[:, -2], atol=1e-12
    )
    assert np.all(np.isinf(em.assignment_margin(X, start.means[:1])))


def test_a_centre_without_points_stays() -> None:
    X, start = table(seed=6)
    far = np.concatenate([start.means, np.full((1, X.shape[1]), 1e6)])
    means, labels = em.lloyd(X, far, n_steps=1)[-1]
    np.testing.assert_array_equal(means[3], far[3])
    assert 3 not in labels


def test_errors_name_the_remedy() -> None:
    X, start = table(seed=7)
    with pytest.raises(ValueError, match="'round' is unknown; choose from"):
        em.em(X, start, 1, "round")
    with pytest.raises(ValueError, match=r"components \[1\] own no weight"):
        em.m_step(X, np.eye(3)[np.zeros(len(X), dtype=int)][:, [0, 1]])
