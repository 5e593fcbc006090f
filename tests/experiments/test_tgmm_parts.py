"""Scores of TGMM: the likelihood is right, all parameters are matched together."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from statformer.experiments._tgmm_estimates import (
    Estimates,
    by_em,
    by_network,
    by_nothing,
    draw,
    log_likelihood,
    scores,
    seeds,
)
from statformer.pretraining.recipes.tgmm import TGMMRecipe


def test_the_likelihood_is_summed_over_points_of_log_sums_over_components() -> None:
    rng = np.random.default_rng(0)
    X, weights, means = rng.normal(size=(7, 3)), np.array([0.3, 0.7]), rng.normal(size=(2, 3))
    density = sum(w * multivariate_normal(m).pdf(X) for w, m in zip(weights, means, strict=True))
    assert log_likelihood(X, weights, means) == pytest.approx(np.log(density).sum())


def test_the_truth_in_another_order_scores_like_the_truth() -> None:
    found = draw(5, 30, 2, 3, np.random.default_rng(1))
    order = [2, 0, 1]
    turned = Estimates(found.weights[:, order], found.means[:, order])
    assert scores(found, turned)["l2"] == pytest.approx(0.0, abs=1e-12)
    assert scores(found, turned) == pytest.approx(
        scores(found, Estimates(found.weights, found.means))
    )
    half = Estimates(found.weights, found.means[:, order])  # the means alone are permuted
    assert scores(found, half)["l2"] > 1e-3


def test_instances_are_full_and_moved_with_their_means() -> None:
    rng = np.random.default_rng(2)
    found = draw(40, 64, 2, 3, rng, spread=3.0)
    assert found.X.shape == (40, 64, 2)
    assert (found.y >= 0).all()
    at = np.take_along_axis(found.means, found.y[:, :, None], axis=1)
    assert np.var(found.X - at) == pytest.approx(1.0, abs=0.05)


def test_more_starts_find_likelier_ends_and_nothing_is_worse() -> None:
    rng = np.random.default_rng(3)
    found = draw(12, 64, 2, 4, rng)
    starts = seeds(found.X, 4, rng)
    one, ten = by_em(found.X, starts[:, :1]), by_em(found.X, starts)
    of_one, of_ten = scores(found, one), scores(found, ten)
    assert of_ten["log-likelihood"] > of_one["log-likelihood"]
    assert of_ten["l2"] < scores(found, by_nothing(found))["l2"]


def test_the_network_does_not_see_the_order_of_the_points() -> None:
    module = TGMMRecipe(n_features=2, n_layers=1, width=8).build(0).eval().requires_grad_(False)
    found = draw(3, 20, 2, 2, np.random.default_rng(4))
    turned = found._replace(X=found.X[:, ::-1].copy())
    np.testing.assert_allclose(
        by_network(module, found).means, by_network(module, turned).means, atol=1e-5
    )
