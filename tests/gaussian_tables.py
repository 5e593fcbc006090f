"""Tables of Gaussian clusters with a start, for the tests of the mixture networks.

Axes: b tables, n points, d features, c components.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from statformer.batch import Centres, Tables
from statformer.reference.em import Mixture


@dataclasses.dataclass(frozen=True)
class Problem:
    """One table, the weight of its rows, and a mixture to begin with."""

    X: np.ndarray  # n d
    row_weight: np.ndarray  # n
    start: Mixture

    @property
    def sizes(self) -> tuple[int, int, int]:
        """n, d, c."""
        return (*self.X.shape, len(self.start.weights))


def draw(seed: int, n: int, d: int, c: int, separation: float = 2.0) -> Problem:
    """c clusters of their own covariances; the start is near, with covariances of its own."""
    rng = np.random.default_rng([seed, n, d, c])
    centres = separation * rng.standard_normal((c, d))
    A = np.eye(d) + 0.4 * rng.standard_normal((c, d, d))
    y = np.arange(n) % c
    X = centres[y] + np.einsum("nde,ne->nd", A[y], rng.standard_normal((n, d))) + 0.7
    means = centres + 0.7 + 0.3 * rng.standard_normal((c, d))
    B = np.eye(d) + 0.2 * rng.standard_normal((c, d, d))
    covariances = B @ B.transpose(0, 2, 1) + 0.5 * np.eye(d)
    return Problem(X, np.ones(n), Mixture(rng.dirichlet(np.full(c, 5.0)), means, covariances))


def padded(problems: list[Problem], n: int, d: int, c: int) -> tuple[Tables, Centres]:
    """Problems of several sizes side by side, padded to n points, d columns and c components.

    What is padded holds numbers that must not matter: rows of weight 0 carry a value.
    """
    b = len(problems)
    X, weight = np.zeros((b, n, d)), np.zeros((b, n))
    weights, means = np.zeros((b, c)), np.zeros((b, c, d))
    covariances = np.tile(np.eye(d), (b, c, 1, 1))
    is_component, is_feature = np.zeros((b, c), bool), np.zeros((b, d), bool)
    for t, problem in enumerate(problems):
        rows, columns, k = problem.sizes
        X[t, :, :columns] = 3.0
        X[t, :rows, :columns], weight[t, :rows] = problem.X, problem.row_weight
        weights[t, :k], means[t, :k, :columns] = problem.start.weights, problem.start.means
        covariances[t, :k, :columns, :columns] = problem.start.covariances
        is_component[t, :k], is_feature[t, :columns] = True, True
    tables = Tables(X, weight, None if is_feature.all() else is_feature)
    return tables, Centres(weights, means, covariances, is_component)


def alone(problem: Problem) -> tuple[Tables, Centres]:
    """The table by itself, without padding."""
    return padded([problem], *problem.sizes)
