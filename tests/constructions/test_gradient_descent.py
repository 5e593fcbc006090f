"""Layers are gradient steps, and stop being so when a block of the weights is moved."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from scipy.special import expit

from statformer.constructions.gradient_descent import (
    SQUARE,
    DescentTransformer,
    lasso_transformer,
    logistic_transformer,
    logistic_units,
    n_ridge_steps,
    prompt_layout,
    ridge_radius,
    ridge_transformer,
    sigmoid_error,
    tokens,
)
from statformer.nn.relu_transformer import ReluLayer, ReluTransformer
from statformer.reference.gradient_descent import lasso_path, logistic_path, ridge_path
from statformer.reference.ridge import ridge

TOLERANCE = 1e-12
DISTURBANCE = 1e-6
STEPS = 12
SIZES = [(1, 3), (2, 5), (4, 4), (5, 20), (8, 6)]  # d, n: also fewer points than features


def draw(d: int, n: int, b: int = 2) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """X, y, one query of each table, and a radius."""
    rng = np.random.default_rng([d, n])
    X, w = rng.standard_normal((b, n, d)), rng.standard_normal((b, d))
    y = np.einsum("bnd,bd->bn", X, w) + 0.3 * rng.standard_normal((b, n))
    queries = rng.standard_normal((b, 1, d))
    radius = max(map(ridge_radius, X, y, queries))
    return X, y, queries, radius


def step_size(X: np.ndarray, penalty: float = 0.0) -> float:
    beta = max(np.linalg.eigvalsh(table.T @ table / len(table))[-1] for table in X)
    return float(1.0 / (beta + penalty))


def gap(network: DescentTransformer, references: list[np.ndarray], data: tuple) -> float:
    """Largest difference in the weights of any token after any step, and in the prediction."""
    X, y, queries, _ = data
    path = network.path(X, y, queries)
    assert len(path) == STEPS + 1
    in_weights = [
        np.abs(np.moveaxis(np.stack(path), 0, 1)[b] - references[b][:, None]).max()
        for b in range(len(X))
    ]
    last = [(queries[b] @ references[b][-1])[0] for b in range(len(X))]
    return max(*in_weights, np.abs(network(X, y, queries)[:, 0] - last).max())


@pytest.mark.parametrize("penalty", [0.0, 0.2])
@pytest.mark.parametrize(("d", "n"), SIZES)
def test_layers_are_ridge_steps_on_every_token(d: int, n: int, penalty: float) -> None:
    X, y, _, radius = data = draw(d, n)
    step = step_size(X, penalty)
    network = ridge_transformer(d, n, penalty=penalty, step_size=step, n_steps=STEPS, radius=radius)
    paths = [ridge_path(*table, step, penalty, STEPS) for table in zip(X, y, strict=True)]
    assert gap(network, paths, data) < TOLERANCE
    assert network.depth == STEPS + 1
    assert [layer.n_heads for layer in network.transformer.layers[-2:]] == [2 + (penalty > 0), 2]


@pytest.mark.parametrize(("d", "n"), SIZES)
def test_layers_are_lasso_steps(d: int, n: int) -> None:
    X, y, _, radius = data = draw(d, n)
    step = step_size(X)
    network = lasso_transformer(d, n, penalty=0.1, step_size=step, n_steps=STEPS, radius=radius)
    paths = [lasso_path(*table, step, 0.1, STEPS) for table in zip(X, y, strict=True)]
    assert any((path == 0).any() and path.any() for path in paths[1:]) or d == 1
    assert gap(network, paths, data) < TOLERANCE


@pytest.mark.parametrize("n_units", [10, 40])
def test_layers_are_logistic_steps_within_the_error_of_the_broken_line(n_units: int) -> None:
    X, y, queries, _ = draw(4, 20)
    labels = (y > 0).astype(float)
    penalty, radius = 0.1, 8.0
    step = 4.0 * step_size(X) / 2
    network = logistic_transformer(
        4, 20, penalty=penalty, step_size=step, n_steps=STEPS, radius=radius, n_units=n_units
    )
    paths = [logistic_path(*table, step, penalty, STEPS) for table in zip(X, labels, strict=True)]
    # an inexact derivative moves a step by at most step_size * error * mean |x|, and steps of a
    # strongly convex risk shrink what came before by 1 - step_size penalty
    longest = np.linalg.norm(X, axis=-1).max()
    bound = sigmoid_error(radius, n_units) * longest / penalty
    assert 1e-6 < gap(network, paths, (X, labels, queries, radius)) < bound * longest


def test_the_broken_line_is_as_near_as_stated_and_no_nearer_than_half_of_it() -> None:
    s = np.linspace(-6, 6, 5001)
    for n_units in (6, 30):
        line = sum(u.c * np.maximum(u.a * s + u.e, 0) for u in logistic_units(6.0, n_units)[:-1])
        error = np.abs(line - expit(s)).max()
        assert sigmoid_error(6.0, n_units) / 2 < error < sigmoid_error(6.0, n_units)
    assert all(abs(u.a) + abs(u.b) + abs(u.e) <= 1 + 1e-12 for u in logistic_units(6.0, 9))
    assert sum(abs(unit.c) for unit in SQUARE) == 4.0  # the paper's C


@pytest.mark.parametrize("name", ["W_QK", "W_OV", "W_in", "W_out"])
def test_every_matrix_matters(name: str) -> None:
    X, y, _, radius = data = draw(5, 20)
    step = step_size(X)
    network = lasso_transformer(5, 20, penalty=0.1, step_size=step, n_steps=STEPS, radius=radius)
    paths = [lasso_path(*table, step, 0.1, STEPS) for table in zip(X, y, strict=True)]
    assert {-1.0, 0.0, 1.0} <= set(np.sign(np.stack(paths)).flat)  # every unit is awake somewhere
    layer = network.transformer.layers[0]
    matrix = getattr(layer, name)
    values = np.unique(matrix[matrix != 0])
    assert len(values) >= 2
    rng = np.random.default_rng(0)
    for value in values:  # the blocks of one value, each entry moved by itself
        noise = DISTURBANCE * rng.standard_normal(matrix.shape)
        moved = np.where(matrix == value, value + noise, matrix)
        network.transformer.layers[0] = replace(layer, **{name: moved})
        assert gap(network, paths, data) > 1e-9, value


def test_a_radius_that_is_too_small_lets_the_query_in() -> None:
    X, y, _, _ = data = draw(3, 8)
    step = step_size(X)
    network = ridge_transformer(3, 8, penalty=0.1, step_size=step, n_steps=STEPS, radius=1e-3)
    paths = [ridge_path(*table, step, 0.1, STEPS) for table in zip(X, y, strict=True)]
    assert gap(network, paths, data) > 1e-3


def test_torch_runs_the_same_layers() -> None:
    X, y, queries, radius = draw(3, 8)
    network = lasso_transformer(3, 8, penalty=0.1, step_size=0.2, n_steps=4, radius=radius)
    H = tokens(prompt_layout(3), X, y, queries)
    layers = [
        ReluLayer(**{k: torch.from_numpy(v) for k, v in vars(layer).items() if v is not None})
        for layer in network.transformer.layers
    ]
    found = ReluTransformer(layers)(torch.from_numpy(H))
    np.testing.assert_allclose(found.numpy(), network.transformer(H), atol=1e-14)


def test_the_stated_depth_reaches_the_stated_error() -> None:
    X, y, queries, radius = draw(4, 30, b=1)
    penalty, error = 0.05, 1e-6
    alpha, *_, beta = np.linalg.eigvalsh(X[0].T @ X[0] / 30)
    exact = ridge(X[0], y[0], penalty)
    size = 2 * np.linalg.norm(exact) * np.linalg.norm(queries)
    n_steps = n_ridge_steps((beta + penalty) / (alpha + penalty), size, error)
    settings = {"penalty": penalty, "step_size": 1 / (beta + penalty), "radius": radius}
    found = ridge_transformer(4, 30, n_steps=n_steps, **settings)(X, y, queries)
    assert abs(found[0, 0] - exact @ queries[0, 0]) < error
    found = ridge_transformer(4, 30, n_steps=n_steps // 8, **settings)(X, y, queries)
    assert abs(found[0, 0] - exact @ queries[0, 0]) > error


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (partial(ridge_transformer, penalty=-1.0, n_steps=1), "penalty=-1.0"),
        (partial(ridge_transformer, penalty=0.0, n_steps=-1), "n_steps=-1"),
    ],
)
def test_bad_arguments_are_named(call: partial, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call(2, 5, step_size=0.1, radius=1.0)


def test_bad_tables_and_sizes_are_named() -> None:
    network = ridge_transformer(2, 5, penalty=0.0, step_size=0.1, n_steps=1, radius=1.0)
    with pytest.raises(ValueError, match="X has 4 points"):
        network(np.zeros((1, 4, 2)), np.zeros((1, 4)), np.zeros((1, 1, 2)))
    with pytest.raises(ValueError, match="written for 2 features"):
        network(np.zeros((1, 5, 3)), np.zeros((1, 5)), np.zeros((1, 1, 3)))
    with pytest.raises(ValueError, match=r"kappa=0\.5"):
        n_ridge_steps(0.5, 1.0, 1e-3)
    with pytest.raises(ValueError, match="n_units=0"):
        logistic_units(1.0, 0)
