"""Layers that choose among models do what the formulas say, and break when a weight is moved."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit

from statformer.constructions.algorithm_selection import (
    BinaryOrContinuous,
    RidgeSelector,
    mixing_weights,
)
from statformer.constructions.gradient_descent import ridge_radius
from statformer.reference.gradient_descent import logistic_path, ridge_path

D, N, N_VALIDATION, STEPS = 3, 16, 6, 25
PENALTIES, STEP_SIZES = (0.01, 0.2, 1.0), (0.3, 0.25, 0.2)


def draw(b: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    rng = np.random.default_rng(7)
    X, w = rng.standard_normal((b, N, D)), rng.standard_normal((b, D))
    y = np.einsum("bnd,bd->bn", X, w) + rng.standard_normal((b, N))
    queries = rng.standard_normal((b, 1, D))
    radii = [
        ridge_radius(X[i, :-N_VALIDATION], y[i, :-N_VALIDATION], np.vstack([X[i], queries[i]]))
        for i in range(b)
    ]
    return X, y, queries, 2 * max(radii) + np.abs(y).max()


def selector(gamma: float, radius: float) -> RidgeSelector:
    return RidgeSelector(
        *(D, N, N_VALIDATION, PENALTIES),
        step_sizes=STEP_SIZES,
        n_steps=STEPS,
        gamma=gamma,
        radius=radius,
    )


def by_formula(X: np.ndarray, y: np.ndarray, queries: np.ndarray, gamma: float) -> np.ndarray:
    """Fit, validate and mix, table by table."""
    answers = []
    for table, labels, query in zip(X, y, queries[:, 0], strict=True):
        train, test = slice(None, -N_VALIDATION), slice(-N_VALIDATION, None)
        W = np.stack(
            [
                ridge_path(table[train], labels[train], step, penalty, STEPS)[-1]
                for penalty, step in zip(PENALTIES, STEP_SIZES, strict=True)
            ]
        )
        losses = 0.5 * np.square(W @ table[test].T - labels[test]).mean(axis=1)
        answers.append(mixing_weights(losses, gamma) @ W @ query)
    return np.array(answers)


@pytest.mark.parametrize("gamma", [1e-3, 0.05, 10.0])
def test_layers_are_fits_validation_and_choice(gamma: float) -> None:
    X, y, queries, radius = draw()
    found = selector(gamma, radius)(X, y, queries)[:, 0]
    np.testing.assert_allclose(found, by_formula(X, y, queries, gamma), atol=1e-11)


def test_every_selection_matrix_matters() -> None:
    X, y, queries, radius = draw()
    gamma = 0.5
    network, expected = selector(gamma, radius), by_formula(X, y, queries, gamma)
    layers = network.transformer.layers
    for place in range(len(layers) - 4, len(layers)):  # the read-out and the three of the choice
        layer = layers[place]
        for name, matrix in vars(layer).items():
            if matrix is None:
                continue
            moved = matrix + 1e-5 * (matrix != 0)
            layers[place] = replace(layer, **{name: moved})
            gap = np.abs(network(X, y, queries)[:, 0] - expected).max()
            layers[place] = layer
            assert gap > 1e-9, (place, name)


def test_mixing_weights_are_convex_and_on_near_ties_only() -> None:
    rng = np.random.default_rng(0)
    losses = rng.exponential(size=(2000, 5))
    for gamma in (1e-6, 0.1, 1.0):
        weights = mixing_weights(losses, gamma)
        np.testing.assert_allclose(weights.sum(axis=1), 1.0)
        assert (weights >= 0).all()
        allowed = losses <= losses.min(axis=1, keepdims=True) + gamma
        assert not weights[~allowed].any()
    assert (mixing_weights(losses, 1e-6).argmax(axis=1) == losses.argmin(axis=1)).all()
    np.testing.assert_array_equal(mixing_weights(np.ones(3), 0.1), [1.0, 0.0, 0.0])


@pytest.fixture(scope="module")
def binary_or_continuous() -> BinaryOrContinuous:
    return BinaryOrContinuous(
        *(D, N), penalties=(0.2, 0.3), step_sizes=(0.2, 0.6), n_steps=STEPS, radius=12.0, n_units=24
    )


def test_continuous_labels_get_least_squares(binary_or_continuous: BinaryOrContinuous) -> None:
    X, y, queries, _ = draw()
    assert np.abs(y).max() < 12
    np.testing.assert_array_equal(binary_or_continuous.passed(X, y, queries), 0.0)
    w = [ridge_path(*table, 0.2, 0.2, STEPS)[-1] for table in zip(X, y, strict=True)]
    expected = np.einsum("bd,bd->b", w, queries[:, 0])
    np.testing.assert_allclose(binary_or_continuous(X, y, queries)[:, 0], expected, atol=1e-12)


def test_binary_labels_get_logistic_regression(binary_or_continuous: BinaryOrContinuous) -> None:
    X, y, queries, _ = draw()
    y = (y > 0).astype(float)
    np.testing.assert_allclose(binary_or_continuous.passed(X, y, queries), 1.0, atol=1e-12)
    w = [logistic_path(*table, 0.6, 0.3, STEPS)[-1] for table in zip(X, y, strict=True)]
    expected = expit(np.einsum("bd,bd->b", w, queries[:, 0]))
    gap = np.abs(binary_or_continuous(X, y, queries)[:, 0] - expected).max()
    assert 1e-6 < gap < 0.05  # 24 straight pieces of the sigmoid


def test_one_foreign_label_is_noticed(binary_or_continuous: BinaryOrContinuous) -> None:
    X, y, queries, _ = draw()
    y = (y > 0).astype(float)
    y[:, 0] += 0.01  # Psi = 1 - 0.1 / 16
    passed = binary_or_continuous.passed(X, y, queries)
    np.testing.assert_allclose(passed, 1 - 2 * 0.1 / N, atol=1e-10)


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="gamma=0"):
        mixing_weights(np.ones(2), 0)
    with pytest.raises(ValueError, match="2 penalties and 1 step sizes"):
        RidgeSelector(2, 5, 1, (1, 2), step_sizes=(1,), n_steps=1, gamma=1, radius=1)
    with pytest.raises(ValueError, match="n_validation=0"):
        RidgeSelector(2, 5, 0, (1,), step_sizes=(1,), n_steps=1, gamma=1, radius=1)
    with pytest.raises(ValueError, match=r"tolerance=0\.5"):
        BinaryOrContinuous(
            *(2, 5),
            penalties=(1, 1),
            step_sizes=(1, 1),
            n_steps=1,
            radius=1,
            n_units=1,
            tolerance=0.5,
        )
