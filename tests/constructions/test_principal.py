"""The theorem's parameters: power iteration on complete tables, probabilistic PCA with gaps."""

from __future__ import annotations

import numpy as np
import pytest

from principal_networks import gap, low_rank_tables, some_observed
from statformer.constructions.principal import principal_weights
from statformer.nn.principal import FORMS, POWER_STEPS, Form, PrincipalNetwork
from statformer.nn.principal_steps import Subspace, em_step


def network(form: Form, n_layers: int = 1) -> PrincipalNetwork:
    return PrincipalNetwork(principal_weights(form, n_layers), form)


def eigen(X: np.ndarray, weight: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues (falling) and eigenvectors, as rows, of the weighted covariance of a table."""
    w = np.ones(len(X)) if weight is None else weight
    Y = X - np.average(X, axis=0, weights=w)
    values, vectors = np.linalg.eigh((w[:, None] * Y).T @ Y / w.sum())
    return values[::-1], vectors[:, ::-1].T


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("n", "d", "k"), [(60, 7, 2), (40, 5, 1), (80, 6, 4), (15, 20, 3)])
def test_the_answer_is_pca(form: Form, n: int, d: int, k: int) -> None:
    X = low_rank_tables(0, n=n, d=d, k=k, outliers=2)
    trace = network(form)(X, k)
    assert (trace.row_weights == 1.0).all()
    assert trace.cell_weights is None or (trace.cell_weights == 1.0).all()
    np.testing.assert_allclose(trace.completed, X, rtol=0, atol=1e-10)
    for i, table in enumerate(X):
        values, vectors = eigen(table)
        assert gap(trace.components[i], vectors[:k]) < 1e-5  # the tolerance over the gap
        np.testing.assert_allclose(trace.mean[i], table.mean(0), atol=1e-10)
        # EM has the subspace before it has the variances
        np.testing.assert_allclose(trace.variances[i], values[:k], rtol=1e-2)
        np.testing.assert_allclose(trace.noise_variance[i], values[k:].mean(), rtol=2e-2)


@pytest.mark.parametrize("form", FORMS)
def test_a_layer_is_power_steps(form: Form) -> None:
    """From one subspace to the next: orthogonal iteration, to 1e-10 in float64."""
    X = low_rank_tables(1, k=3)
    trace = network(form, n_layers=3)(X, 3, record="all", polish=False)
    steps = POWER_STEPS if form == "rows" else 3
    for i, table in enumerate(X):
        Y = table - table.mean(0)
        for before, after in zip(trace.subspaces, trace.subspaces[1:], strict=False):
            V = before[i]
            for _ in range(steps):
                V = np.linalg.qr(Y.T @ (Y @ V.T))[0].T
            assert gap(V, after[i]) < 1e-10
    disturbed = principal_weights(form, 3)
    disturbed["b_out"][:] = 2.0  # weights of 0.88 for all rows: still the same steps
    same = PrincipalNetwork(disturbed, form)(X, 3, polish=False)
    assert gap(same.components, trace.components) < 1e-10


def test_row_weights_enter_the_covariance() -> None:
    X = low_rank_tables(2)
    weight = np.random.default_rng(2).uniform(0.2, 3.0, X.shape[:2])
    trace = network("rows")(X, 2, row_weight=weight)
    for i, table in enumerate(X):
        assert gap(trace.components[i], eigen(table, weight[i])[1][:2]) < 1e-5
        assert gap(trace.components[i], eigen(table)[1][:2]) > 1e-3


def log_likelihood(X: np.ndarray, observed: np.ndarray, at: Subspace, i: int) -> float:
    """log N of the observed cells under mean, V' spread V + noise I."""
    covariance = at.V[i].T @ at.spread[i] @ at.V[i] + at.noise[i] * np.eye(X.shape[2])
    total = 0.0
    for x, seen in zip(X[i], observed[i], strict=True):
        y = (x - at.mean[i])[seen]
        S = covariance[np.ix_(seen, seen)]
        total -= 0.5 * (y @ np.linalg.solve(S, y) + np.linalg.slogdet(S)[1])
    return total


def test_an_em_step_raises_the_likelihood_of_what_is_observed() -> None:
    X = low_rank_tables(3, outliers=0)
    observed = some_observed(3, X.shape, 0.4)
    X = np.where(observed, X, 0.0)
    b, n, d = X.shape
    rng = np.random.default_rng(3)
    V = np.linalg.qr(rng.normal(size=(b, d, 2)))[0].swapaxes(1, 2)
    at = Subspace(X.mean(1), V, np.stack([np.eye(2)] * b) * 5.0, np.full(b, 2.0))
    before = [log_likelihood(X, observed, at, i) for i in range(b)]
    for _ in range(30):
        at = em_step(X, observed.astype(float), np.ones((b, n)), at, 1.0)
        now = [log_likelihood(X, observed, at, i) for i in range(b)]
        # the ridge and the floor of the prior are not EM; they cost less than this
        assert all(new > old - 1e-3 for old, new in zip(before, now, strict=True))
        before = now
    trace = network("cells")(X, 2, observed=observed)
    assert gap(trace.components, at.V) < 0.05
    assert (trace.cell_weights == observed).all()
    np.testing.assert_allclose(trace.completed[observed], X[observed], atol=1e-10)


@pytest.mark.parametrize("form", FORMS)
def test_missing_cells_of_a_noiseless_table_are_found(form: Form) -> None:
    rng = np.random.default_rng(4)
    full = rng.normal(size=(1, 80, 2)) @ rng.normal(size=(1, 2, 8)) + 3.0
    observed = some_observed(4, full.shape, 0.3)
    trace = network(form)(np.where(observed, full, 0.0), 2, observed=observed)
    np.testing.assert_allclose(trace.completed, full, atol=1e-2)
    assert gap(trace.components[0], eigen(full[0])[1][:2]) < 1e-2
