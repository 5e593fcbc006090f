"""Stacks without tokens give what the layers with tokens give."""

from __future__ import annotations

import numpy as np
import pytest

from statformer.constructions.gradient_descent import (
    lasso_transformer,
    ridge_radius,
    ridge_transformer,
)
from statformer.nn.folded import lasso_gaps, n_ridge_layers, ridge_factors, shrinking_stack
from statformer.reference.gradient_descent import lasso_objective
from statformer.reference.ridge import ridge

D, N, STEP = 4, 12, 0.2
PENALTIES = np.array([0.05, 0.5])


def draw() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    X = rng.standard_normal((1, N, D))
    return X, rng.standard_normal((1, N)), rng.standard_normal((1, 1, D))


def moments() -> tuple[np.ndarray, np.ndarray]:
    X, y, _ = draw()
    return X[0].T @ X[0] / N, X[0].T @ y[0] / N


def ridge_stack(penalty: float, step_size: float, n_layers: int) -> np.ndarray:
    S, b = moments()
    e, U = np.linalg.eigh(S)
    return U @ (ridge_factors(e, penalty, step_size, n_layers) * (U.T @ b))


@pytest.mark.parametrize("n_layers", [0, 1, 2, 3, 17, 32])
def test_ridge_layers(n_layers: int) -> None:
    X, y, query = draw()
    for penalty in PENALTIES:
        network = ridge_transformer(
            *(D, N),
            penalty=penalty,
            step_size=STEP,
            n_steps=n_layers,
            radius=ridge_radius(X[0], y[0], query[0]),
        )
        expected = network.path(X, y, query)[-1][0, -1]
        np.testing.assert_allclose(ridge_stack(penalty, STEP, n_layers), expected, atol=1e-13)


@pytest.mark.parametrize("n_layers", [0, 1, 20])
def test_lasso_layers(n_layers: int) -> None:
    X, y, query = draw()
    S, b = moments()
    found = shrinking_stack(S, b[None], PENALTIES, STEP, np.zeros((2, D)), n_layers)
    for w, penalty in zip(found, PENALTIES, strict=True):
        network = lasso_transformer(
            *(D, N),
            penalty=penalty,
            step_size=STEP,
            n_steps=n_layers,
            radius=ridge_radius(X[0], y[0], query[0]),
        )
        np.testing.assert_allclose(network.path(X, y, query)[-1][0, -1], w, atol=1e-13)


@pytest.mark.parametrize("error", [1e-2, 1e-8])
def test_the_depth_keeps_its_promise_and_is_not_far_too_large(error: float) -> None:
    X, y, _ = draw()
    e = np.linalg.eigvalsh(moments()[0])
    exact, n_layers = ridge(X[0], y[0], 0.05), n_ridge_layers(e, 0.05, error)

    def off(n_layers: int) -> float:
        found = ridge_stack(0.05, 1 / (e.max() + 0.05), n_layers)
        return float(np.linalg.norm(found - exact) / np.linalg.norm(exact))

    assert off(n_layers) <= error < off(n_layers // 3)


def test_a_step_that_solves_a_direction_at_once() -> None:
    np.testing.assert_allclose(ridge_factors(np.array([1.0]), 1.0, 0.5, 1), 0.5)


def test_the_gap_bounds_the_distance_to_the_minimum_and_closes() -> None:
    X, y, _ = draw()
    S, b = moments()
    energy = np.full(2, y[0] @ y[0] / N)
    best = shrinking_stack(S, b[None], PENALTIES, STEP, np.zeros((2, D)), 5000)
    assert (np.abs(lasso_gaps(S, b[None], energy, PENALTIES, best)) < 1e-14).all()
    for n_layers in (0, 1, 5, 30):
        w = shrinking_stack(S, b[None], PENALTIES, STEP, np.zeros((2, D)), n_layers)
        gaps = lasso_gaps(S, b[None], energy, PENALTIES, w)
        for gap, v, v_best, penalty in zip(gaps, w, best, PENALTIES, strict=True):
            above = lasso_objective(X[0], y[0], v, penalty)
            above -= lasso_objective(X[0], y[0], v_best, penalty)
            assert -1e-14 <= above <= gap + 1e-14
            assert np.mean((X[0] @ (v - v_best)) ** 2) <= 2 * gap + 1e-14


def test_bad_arguments_are_named() -> None:
    e = np.array([1.0, 2.0])
    with pytest.raises(ValueError, match="n_layers=-1"):
        ridge_factors(e, 0.1, 0.1, -1)
    with pytest.raises(ValueError, match="penalty=0"):
        ridge_factors(e, 0, 0.1, 1)
    with pytest.raises(ValueError, match="step_size=3"):
        ridge_factors(e, 0.1, 3, 1)
