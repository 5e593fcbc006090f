"""Stacks without tokens give what the layers with tokens give."""

from __future__ import annotations

import numpy as np
import pytest

from statformer.constructions.gradient_descent import (
    lasso_transformer,
    ridge_radius,
    ridge_transformer,
)
from statformer.nn.folded import affine_stack, shrinking_stack

D, N, STEP = 4, 12, 0.2
PENALTIES = (0.05, 0.5)


def draw() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    X = rng.standard_normal((1, N, D))
    return X, rng.standard_normal((1, N)), rng.standard_normal((1, 1, D))


def maps(X: np.ndarray, y: np.ndarray, decays: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    S, b = X[0].T @ X[0] / N, X[0].T @ y[0] / N
    M = [np.eye(D) - STEP * (S + decay * np.eye(D)) for decay in decays]
    return np.stack(M), np.stack([STEP * b] * len(decays))


@pytest.mark.parametrize("n_layers", [0, 1, 2, 3, 17, 32])
def test_ridge_layers(n_layers: int) -> None:
    X, y, query = draw()
    found = affine_stack(*maps(X, y, PENALTIES), n_layers)
    for w, penalty in zip(found, PENALTIES, strict=True):
        network = ridge_transformer(
            *(D, N),
            penalty=penalty,
            step_size=STEP,
            n_steps=n_layers,
            radius=ridge_radius(X[0], y[0], query[0]),
        )
        np.testing.assert_allclose(network.path(X, y, query)[-1][0, -1], w, atol=1e-13)


@pytest.mark.parametrize("n_layers", [0, 1, 20])
def test_lasso_layers(n_layers: int) -> None:
    X, y, query = draw()
    limits = STEP * np.array(PENALTIES)
    M, c = maps(X, y, (0.0, 0.0))
    found = shrinking_stack(M, c, limits, np.zeros((2, D)), n_layers)
    for w, penalty in zip(found, PENALTIES, strict=True):
        network = lasso_transformer(
            *(D, N),
            penalty=penalty,
            step_size=STEP,
            n_steps=n_layers,
            radius=ridge_radius(X[0], y[0], query[0]),
        )
        np.testing.assert_allclose(network.path(X, y, query)[-1][0, -1], w, atol=1e-13)


def test_a_million_layers_solve_the_system() -> None:
    X, y, _ = draw()
    M, c = maps(X, y, PENALTIES)
    exact = np.linalg.solve(np.eye(D) - M, c[..., None])[..., 0]
    np.testing.assert_allclose(affine_stack(M, c, 10**6), exact, rtol=1e-12)


def test_negative_depth_is_refused() -> None:
    with pytest.raises(ValueError, match="n_layers=-1"):
        affine_stack(np.ones((1, 1, 1)), np.ones((1, 1)), -1)
