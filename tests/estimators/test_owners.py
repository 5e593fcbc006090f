"""Mixtures whose clusters own several components: sums, moments, order, samples, doubt."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from statformer.batch import Centres, Readout
from statformer.estimators.context import Standardizer
from statformer.estimators.density import FrozenMixture
from statformer.estimators.devices import backend

ON = backend(None)
OWNER = np.array([1, 0, 2, 1, 0, 1])


def mixture(
    owner: np.ndarray | None = OWNER, doubt: float = 0.0, d: int = 3, p: int = 3
) -> FrozenMixture:
    """Six components in p of d directions, with a learned read-out."""
    rng = np.random.default_rng(0)
    c = len(OWNER)
    A = np.eye(p) + 0.3 * rng.normal(size=(1, c, p, p))
    centres = Centres(
        rng.dirichlet(np.full(c, 5.0))[None],
        2.0 * rng.normal(size=(1, c, p)),
        A @ np.swapaxes(A, 2, 3) + 0.2 * np.eye(p),
        np.ones((1, c), dtype=bool),
    )
    readout = Readout(
        np.array([0.8]),
        np.array([0.9]),
        rng.uniform(0.0, 0.5, (1, c)),
        rng.uniform(3.0, 9.0, (1, c)),
    )
    scale, centre = rng.uniform(0.5, 3.0, d), rng.normal(size=d)
    if p == d:
        standardizer = Standardizer(centre, scale)
    else:
        V = np.linalg.qr(rng.normal(size=(d, p)))[0]
        standardizer = Standardizer(centre, scale, rng.normal(size=d), V, 0.3)
    return FrozenMixture(standardizer, centres, readout, "full", None, owner, doubt)


def rows(n: int = 40, d: int = 3) -> np.ndarray:
    return 3.0 * np.random.default_rng(1).normal(size=(n, d))


def test_responsibilities_are_sums_over_components() -> None:
    X = rows(400)
    each, joined = mixture(None), mixture()
    r = each.responsibilities(X, ON)
    assert (each.n_components, joined.n_components) == (6, 3)
    expected = np.stack([r[:, k == OWNER].sum(axis=1) for k in range(3)], axis=1)
    found = joined.responsibilities(X, ON)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    np.testing.assert_array_equal(found.argmax(axis=1), expected.argmax(axis=1))
    assert (OWNER[r.argmax(axis=1)] != found.argmax(axis=1)).any()  # a sum may win
    shares = [each.shares[k == OWNER].sum() for k in range(3)]
    np.testing.assert_allclose(joined.shares, shares)


def test_the_density_does_not_know_of_owners() -> None:
    X = rows()
    joined = mixture()
    np.testing.assert_array_equal(joined.log_density(X, ON), mixture(None).log_density(X, ON))
    gmm = joined.to_sklearn()
    assert gmm.n_components == 6
    np.testing.assert_allclose(joined.log_density(X, ON), gmm.score_samples(X), rtol=1e-9)
    assert joined.n_parameters == mixture(None).n_parameters


def test_an_own_owner_for_each_component_changes_nothing() -> None:
    X, same = rows(), mixture(np.arange(6))
    plain = mixture(None)
    np.testing.assert_allclose(same.responsibilities(X, ON), plain.responsibilities(X, ON))
    np.testing.assert_allclose(same.means(), plain.means())
    np.testing.assert_allclose(same.covariances(), plain.covariances(), atol=1e-12)
    np.testing.assert_allclose(same.shares, plain.shares)


@pytest.mark.parametrize(("d", "p"), [(3, 3), (5, 2)])
def test_moments_are_those_of_samples(d: int, p: int) -> None:
    joined = mixture(d=d, p=p)
    n = 200_000
    X, y = joined.sample(n, np.random.default_rng(0))
    assert (np.diff(y) >= 0).all()
    np.testing.assert_allclose(np.bincount(y) / n, joined.shares, atol=0.005)
    means, covariances = joined.means(), joined.covariances()
    assert means.shape == (3, d)
    assert covariances.shape == (3, d, d)
    for k in range(3):
        own = X[y == k]
        error = np.sqrt(np.diagonal(covariances[k]) / len(own))
        assert (np.abs(own.mean(axis=0) - means[k]) < 5 * error).all()
        size = np.abs(covariances[k]).max()
        np.testing.assert_allclose(np.cov(own.T), covariances[k], atol=0.05 * size)
        np.testing.assert_allclose(covariances[k], covariances[k].T, rtol=1e-12)
    # the moments of one component would not do
    assert np.abs(means - mixture(None, d=d, p=p).means()[[1, 0, 2]]).max() > 0.1


def test_samples_are_labelled_by_their_clusters() -> None:
    joined, k = mixture(), np.arange(6)
    means = 3.0 * np.stack([k, k % 2, k % 3], axis=1)[None]
    narrow = 0.01 * joined.centres.covariances
    apart = replace(joined, centres=replace(joined.centres, means=means, covariances=narrow))
    X, y = apart.sample(500, np.random.default_rng(2))
    np.testing.assert_array_equal(apart.responsibilities(X, ON).argmax(axis=1), y)


def test_the_same_rows_are_drawn_with_and_without_owners() -> None:
    X, _ = mixture(None).sample(300, np.random.default_rng(3))
    Y, y = mixture().sample(300, np.random.default_rng(3))
    assert X.shape == Y.shape
    assert set(y) == {0, 1, 2}


@pytest.mark.parametrize("order", [[2, 0, 1], [0, 1, 2], [2, 1], [1]])
def test_order(order: list[int]) -> None:
    """A cluster takes its components along; what is left out has no density."""
    X, joined = rows(), mixture(doubt=0.2)
    changed = joined.reordered(np.array(order))
    assert changed.n_components == len(order)
    shares = joined.shares[order]
    np.testing.assert_allclose(changed.shares, shares / shares.sum())
    np.testing.assert_allclose(changed.means(), joined.means()[order])
    np.testing.assert_allclose(changed.covariances(), joined.covariances()[order])
    kept = sum((k == OWNER).sum() for k in order)
    assert changed.centres.weights.shape == (1, kept)
    r = changed.responsibilities(X, ON)
    np.testing.assert_allclose(r.sum(axis=1), 1.0)
    if len(order) == 3:
        np.testing.assert_allclose(r, joined.responsibilities(X, ON)[:, order], atol=1e-12)
        np.testing.assert_allclose(changed.log_density(X, ON), joined.log_density(X, ON))
        back = changed.reordered(np.argsort(order))
        np.testing.assert_array_equal(back.owner, joined.owner)


@pytest.mark.parametrize("owner", [None, OWNER])
def test_doubt_is_spread_evenly_over_clusters(owner: np.ndarray | None) -> None:
    X = rows()
    sure, unsure = mixture(owner), mixture(owner, doubt=0.4)
    r, K = sure.responsibilities(X, ON), sure.n_components
    found = unsure.responsibilities(X, ON)
    np.testing.assert_allclose(found, 0.6 * r + 0.4 / K)
    np.testing.assert_allclose(found.sum(axis=1), 1.0)
    np.testing.assert_array_equal(found.argmax(axis=1), r.argmax(axis=1))
    np.testing.assert_array_equal(unsure.log_density(X, ON), sure.log_density(X, ON))


def test_rows_with_gaps() -> None:
    """Missing cells are summed out of every component before the sum over a cluster's own."""
    X = np.where(np.random.default_rng(4).random((40, 3)) < 0.3, np.nan, rows())
    r = mixture(None).responsibilities(X, ON)
    expected = r @ np.eye(3)[OWNER]
    np.testing.assert_allclose(mixture().responsibilities(X, ON), expected, atol=1e-12)
