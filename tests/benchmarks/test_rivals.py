from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from statformer.benchmarks import classical, network, rivals
from statformer.benchmarks.batched_em import (
    AGREED,
    NAMES,
    batched_em,
    lloyd_starts,
    robust_tables,
    run_to_convergence,
)
from statformer.benchmarks.given_k import SINGLE_RIVALS, rival_labels
from statformer.benchmarks.incomplete import MARGINALISING, STEPMIX, native_labels
from statformer.benchmarks.linkage import with_noise_assigned
from statformer.benchmarks.scores import agreement, ari, n_errors
from statformer.benchmarks.sources import Table
from statformer.benchmarks.student import student_mixture
from statformer.constructions.em_network import em_network
from statformer.nn.em_network import log_density


@pytest.fixture
def clear() -> Table:
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], [60, 40, 30])
    X = rng.normal(size=(130, 3)) + 8.0 * np.eye(3)[y]
    return Table(X * [1.0, 100.0, 0.01], y, 3)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_every_rival_finds_clear_clusters(clear: Table) -> None:
    found = rival_labels(clear, seed=1)
    assert set(found) == {*SINGLE_RIVALS, *classical.POOL}
    assert {name: ari(clear.y, labels) for name, labels in found.items()} == pytest.approx(
        dict.fromkeys(found, 1.0)
    )


@pytest.mark.filterwarnings("ignore")
def test_a_rival_that_raises_has_no_labels(clear: Table, monkeypatch) -> None:
    def broken(*_: object) -> None:
        raise ValueError("ill-defined empirical covariance")

    monkeypatch.setitem(classical.SINGLE, "Ward", broken)
    found = rival_labels(clear, seed=1)
    assert found["Ward"] is None
    assert ari(clear.y, None) == 0.0


def test_z_scores_leave_constant_columns_at_zero() -> None:
    X = np.random.default_rng(0).normal(5.0, 3.0, size=(50, 2))
    Z = rivals.z_scores(np.column_stack([X, np.full(50, 7.0)]))
    np.testing.assert_allclose(Z.mean(axis=0), 0.0, atol=1e-12)
    np.testing.assert_allclose(Z.std(axis=0), [1.0, 1.0, 0.0])


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_bic_weights_sum_to_one_and_find_clear_clusters(clear: Table) -> None:
    log_p, labels = rivals.bic_sweep(rivals.z_scores(clear.X), range(1, 6), 0, n_starts=2)
    assert np.exp(log_p).sum() == pytest.approx(1.0)
    assert log_p.argmax() + 1 == 3
    assert ari(clear.y, labels) == 1.0


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_bic_finds_the_covariance_type() -> None:
    rng = np.random.default_rng(1)
    y = np.arange(600) % 2
    A = np.array([[1.0, 0.0], [2.0, 1.0]])
    X = rng.normal(size=(600, 2)) @ A.T + 9.0 * y[:, None]
    assert rivals.best_by_bic(X, 2, 0)[0].covariance_type == "tied"
    scaled = rng.normal(size=(600, 2)) * np.where(y[:, None] > 0, 1.0, 4.0) + 30.0 * y[:, None]
    assert rivals.best_by_bic(scaled, 2, 0)[0].covariance_type == "spherical"


def test_runs_that_leave_early_are_runs_that_went_on(clear: Table) -> None:
    """Dropping converged runs from the batch changes no run that stays."""
    tables = robust_tables(clear.X)
    start = lloyd_starts(tables, 4, np.random.default_rng(0), n_starts=3)
    habits = [("full", 1e-6), ("spherical", 1e-6)]
    density, labels = run_to_convergence(tables, start, habits)
    assert density.shape == (2, 3)
    assert labels.shape == (2, 3, 130)
    for h, (kind, ridge) in enumerate(habits):
        trace = em_network(kind, ridge, n_loops=100)(tables, start)
        path = np.stack([log_density(tables, c).mean(axis=-1) for c in trace.centres])  # l s
        gained = path[-1] - density[h]
        assert (gained > -1e-9).all()  # EM never loses
        assert (gained < 0.05).all()  # and had little left to gain
        assert np.isclose(path, density[h], rtol=0, atol=1e-9).any(axis=0).all()


def test_the_agreed_ridge_is_one_of_them(clear: Table) -> None:
    found = batched_em(clear.X[:, :2], 3, np.random.default_rng(0))
    assert any(np.array_equal(found[AGREED], found[name]) for name in NAMES if name != AGREED)


def test_scores_leave_out_points_of_no_component() -> None:
    y = np.array([0, 0, 1, 1, -1, -1])
    labels = np.array([5, 5, 2, 2, 5, 2])
    assert ari(y, labels) == 1.0
    assert n_errors(y, labels) == 0
    assert n_errors(y, np.array([5, 2, 2, 2, 0, 0])) == 1
    assert n_errors(np.array([0, 0, 0, 1]), np.array([0, 1, 2, 2])) == 2  # one-to-one


def test_a_table_that_cannot_be_fitted_costs_only_itself(weights: str, clear: Table) -> None:
    two_rows = np.array([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]] * 10)
    found = network.cluster_with_k([clear.X, two_rows, clear.X], [3, 3, 2], weights, seed=0)
    assert found[1] is None
    assert found[0] is not None
    assert ari(clear.y, found[0]) == 1.0
    assert found[2] is not None
    assert set(found[2]) == {0, 1}


def test_missing_weights_are_not_a_crash(clear: Table) -> None:
    with pytest.raises(FileNotFoundError):
        network.fit([clear.X], 3, "/no/such/file.safetensors", seed=0)


def test_agreement_is_the_adjusted_rand_index() -> None:
    for seed in range(30):
        rng = np.random.default_rng(seed)
        a, b = (rng.integers(0, rng.integers(1, 6), 40) for _ in range(2))
        assert agreement(a, b) == pytest.approx(adjusted_rand_score(a, b), abs=1e-12)


def test_noise_joins_the_nearest_cluster() -> None:
    Z = np.array([[0.0], [0.1], [5.0], [4.0], [0.9]])
    found = with_noise_assigned(Z, np.array([0, 0, 1, -1, -1]))
    assert found.tolist() == [0, 0, 1, 1, 0]
    assert with_noise_assigned(Z, np.full(5, -1)).tolist() == [0] * 5


def test_student_mixtures_shrug_at_far_points() -> None:
    """Heavy tails that draw a Gaussian mixture away leave a Student-t mixture where it was."""
    gained = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        y = np.arange(240) % 2
        X = rng.standard_t(1.5, size=(240, 2)) + 6.0 * y[:, None]
        gauss = batched_em(X, 2, np.random.default_rng(0))["B' 0.0001"]
        gained.append(ari(y, student_mixture(X, 2, np.random.default_rng(0))) - ari(y, gauss))
    assert np.mean(gained) > 0.2


@pytest.mark.filterwarnings("ignore")
def test_rivals_that_read_missing_cells_beat_medians() -> None:
    rng = np.random.default_rng(0)
    y = np.arange(200) % 2
    shared = rng.normal(size=(200, 1))
    X = shared + 0.4 * rng.normal(size=(200, 4)) + 2.0 * y[:, None] * [1.0, -1.0, 1.0, -1.0]
    lossy = np.where(rng.random(X.shape) < 0.35, np.nan, X)
    table = Table(lossy, y, 2)
    found = native_labels(table, 0)
    assert set(found) == {STEPMIX, *MARGINALISING}
    plain = rivals.em_full(rivals.z_scores(table.plain()), 2, 0)
    assert ari(y, found[MARGINALISING[0]]) > ari(y, plain) + 0.2
    assert ari(y, found[MARGINALISING[0]]) > 0.7


@pytest.mark.filterwarnings("ignore")
def test_stepmix_reads_codes() -> None:
    rng = np.random.default_rng(0)
    y = np.arange(150) % 3
    codes = np.where(rng.random((150, 5)) < 0.8, y[:, None], rng.integers(0, 3, (150, 5)))
    codes[rng.random(codes.shape) < 0.1] = -1
    table = Table(rng.normal(size=(150, 1)), y, 3, codes=codes)
    found = native_labels(table, 0)
    assert set(found) == {STEPMIX}
    assert ari(y, found[STEPMIX]) > 0.7
