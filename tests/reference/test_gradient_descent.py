"""The paths end where scikit-learn's solvers end."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.linear_model import Lasso, LogisticRegression, Ridge

from statformer.reference.gradient_descent import (
    descend,
    lasso_objective,
    lasso_path,
    logistic_path,
    ridge_path,
)
from statformer.reference.ridge import bayes_penalty, mixture_bayes, mixture_posterior, ridge

N, D = 40, 4


def draw(noise: float = 0.5, n: int = N) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    X = rng.standard_normal((n, D))
    return X, X @ rng.standard_normal(D) + noise * rng.standard_normal(n)


def test_ridge() -> None:
    X, y = draw()
    theirs = Ridge(alpha=N * 0.3, fit_intercept=False).fit(X, y).coef_
    np.testing.assert_allclose(ridge(X, y, 0.3), theirs, rtol=1e-9)
    np.testing.assert_allclose(ridge_path(X, y, 0.3, 0.3, 300)[-1], theirs, rtol=1e-9)


def test_lasso() -> None:
    X, y = draw()
    theirs = Lasso(alpha=0.4, fit_intercept=False, tol=1e-12, random_state=0).fit(X, y).coef_
    path = lasso_path(X, y, 0.3, 0.4, 300)
    np.testing.assert_allclose(path[-1], theirs, atol=1e-9)
    objective = [lasso_objective(X, y, w, 0.4) for w in path]
    assert (np.diff(objective) <= 1e-12).all()


def test_logistic() -> None:
    X, y = draw()
    labels = (y > 0).astype(float)
    theirs = LogisticRegression(C=1 / (N * 0.1), fit_intercept=False, tol=1e-12).fit(X, labels)
    path = logistic_path(X, labels, 1.0, 0.1, 500)
    np.testing.assert_allclose(path[-1], theirs.coef_[0], rtol=1e-6)


def test_a_path_begins_at_zero_and_needs_a_depth() -> None:
    np.testing.assert_array_equal(descend(lambda w: w + 1, 2, 2), [[0, 0], [1, 1], [2, 2]])
    with pytest.raises(ValueError, match="n_steps=-1"):
        descend(lambda w: w, 2, -1)


@pytest.mark.parametrize("n", [2, D, N])
def test_the_posterior_of_the_noise_is_the_density_of_the_labels(n: int) -> None:
    X, y = draw(n=n)
    levels = (0.1, 0.5, 1.0)
    density = [multivariate_normal.logpdf(y, cov=X @ X.T / D + s**2 * np.eye(n)) for s in levels]
    expected = np.exp(density - np.logaddexp.reduce(density))
    np.testing.assert_allclose(mixture_posterior(X, y, levels), expected, rtol=1e-8, atol=1e-12)


def test_noise_levels_are_positive() -> None:
    X, y = draw()
    with pytest.raises(ValueError, match="noise_stds"):
        mixture_posterior(X, y, (0.0, 1.0))


def test_no_predictor_beats_the_mixture_bayes_one() -> None:
    rng = np.random.default_rng(0)
    levels, n = (0.1, 1.0), 8
    errors = np.zeros((400, 3))
    for row in errors:
        X, w = rng.standard_normal((n, D)), rng.standard_normal(D) / D**0.5
        y = X @ w + rng.choice(levels) * rng.standard_normal(n)
        rivals = [ridge(X, y, bayes_penalty(s, n, D)) for s in levels]
        row[:] = [np.sum((v - w) ** 2) for v in (mixture_bayes(X, y, levels), *rivals)]
    assert (errors[:, 0].mean() < 0.97 * errors.mean(axis=0)[1:]).all()
