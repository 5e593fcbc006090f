"""The looped layer is the formula of its docstring, and steps of gradient descent."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from statformer.nn.looped import LoopedAttention
from statformer.objectives.looped import expected_error
from statformer.tasks.linear_regression import CovariateRegressionPrior
from statformer.tasks.stream import TaskStream

D, N = 3, 7


def network(n_layers: int = 1, n_loops: int = 3, *, with_u: bool = True) -> LoopedAttention:
    rng = np.random.default_rng(0)
    A = 0.4 * np.eye(D) + 0.1 * rng.standard_normal((n_layers, D, D))
    u = 0.3 * rng.standard_normal((n_layers, D)) * with_u
    return LoopedAttention(torch.from_numpy(A), torch.from_numpy(u), n_loops)


def draw(n_tasks: int = 5, eigenvalues: tuple[float, ...] = (1.0,) * D) -> tuple:
    stream = TaskStream(0, 0, range(n_tasks), dtype=torch.float64)
    tasks = CovariateRegressionPrior(eigenvalues, N).sample(stream)
    return tasks.X, tasks.y, tasks.query, tasks.target


def by_the_formula(model: LoopedAttention, X: np.ndarray, y: np.ndarray, x: np.ndarray) -> float:
    """Z <- Z - (1 / n) P Z M (Z'QZ) with the full matrices, one task."""
    n, d = X.shape
    Z = np.zeros((d + 1, n + 1))
    Z[:d, :n], Z[:d, n], Z[d, :n] = X.T, x, y
    M = np.diag(np.append(np.ones(n), 0.0))
    for _ in range(model.n_loops):
        for A, u in zip(model.A.detach().numpy(), model.u.detach().numpy(), strict=True):
            P, Q = np.zeros((d + 1, d + 1)), np.zeros((d + 1, d + 1))
            P[d, :d], P[d, d], Q[:d, :d] = u, 1.0, A
            Z = Z - P @ Z @ M @ (Z.T @ Q @ Z) / n
    return float(-Z[d, n])


@pytest.mark.parametrize(("n_layers", "n_loops"), [(1, 1), (1, 4), (3, 1), (2, 2)])
def test_the_forward_pass_is_the_formula(n_layers: int, n_loops: int) -> None:
    model = network(n_layers, n_loops)
    X, y, query, _ = draw()
    found = model(X, y, query).detach().numpy()
    expected = [
        by_the_formula(model, *(part.numpy() for part in task))
        for task in zip(X, y, query, strict=True)
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert model.depth == n_layers * n_loops


@pytest.mark.parametrize("mean", [None, 0.7])
def test_the_expected_error_is_the_mean_over_weights_and_queries(mean: float | None) -> None:
    model, eigenvalues = network(2, 2), torch.tensor([0.5, 1.0, 3.0], dtype=torch.float64)
    X, *_ = draw(1, tuple(eigenvalues.tolist()))
    rng = np.random.default_rng(1)
    n_draws, root = 200_000, eigenvalues.sqrt().numpy()
    w = rng.standard_normal((n_draws, D)) / root + (mean or 0.0)
    query = torch.from_numpy(rng.standard_normal((n_draws, D)) * root)
    y = torch.from_numpy(w @ X[0].T.numpy())
    with torch.no_grad():
        answers = model(X.expand(n_draws, N, D), y, query).numpy()
        centre = None if mean is None else torch.full((D,), mean, dtype=torch.float64)
        exact = float(expected_error(model, X.mT @ X / N, eigenvalues, centre)[0])
    squares = (answers - np.sum(w * query.numpy(), axis=1)) ** 2
    assert abs(squares.mean() - exact) < 5 * squares.std() / n_draws**0.5
    assert squares.std() / n_draws**0.5 < 0.01 * exact


def test_without_loops_there_is_no_answer() -> None:
    with pytest.raises(ValueError, match="n_loops=0"):
        network(1, 0)
