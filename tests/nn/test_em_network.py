"""`EMNetwork` with learned weights: one answer on numpy and torch, symmetries, densities."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import special, stats

from gaussian_tables import alone, draw, padded
from learned_layers import N_LAYERS, learned, torched, weights_of
from statformer.batch import Centres, Readout, Tables, Trace
from statformer.constructions.em_network import em_weights
from statformer.nn.em_module import near_em
from statformer.nn.em_network import (
    N_FEATURES,
    EMNetwork,
    layer_shapes,
    log_density,
    respond,
)
from statformer.nn.special import log_gamma
from statformer.reference import em

SIZES = [(40, 2, 3), (60, 4, 2), (50, 1, 4), (30, 3, 1)]


@pytest.fixture(scope="module")
def network() -> EMNetwork:
    return EMNetwork(weights_of(learned()))


def random_start(seed: int, runs: int, n: int, c: int) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.full(c, 0.5), size=(runs, n))


def everything(trace: Trace) -> list[np.ndarray]:
    """All arrays of a trace, in order."""
    centres = [array for record in trace.centres for array in vars(record).values()]
    readouts = [array for record in trace.readouts for array in vars(record).values()]
    there = [array for array in centres if array is not None]  # numbers only: no shares
    return [np.asarray(array) for array in [*trace.responsibilities, *there, *readouts]]


# ---------------------------------------------------------------------------------------------
# numpy and torch, and what a trace holds


@pytest.mark.parametrize("kind", ["centres", "responsibilities"])
@pytest.mark.parametrize("is_padded", [False, True])
def test_numpy_and_torch_agree(network: EMNetwork, kind: str, is_padded: bool) -> None:
    problems = [draw(seed, *sizes) for seed, sizes in enumerate(SIZES)]
    if is_padded:
        tables, start = padded(problems, 64, 5, 5)
    else:
        tables, start = padded([draw(0, 50, 3, 3), draw(1, 50, 3, 3)], 50, 3, 3)
    given = start if kind == "centres" else random_start(0, 2 * len(tables.X), tables.X.shape[1], 3)
    by_numpy = network(tables, given)
    module = learned()
    with torch.no_grad():
        on_torch = torched(given) if kind == "centres" else torch.from_numpy(given)
        by_torch = module(torched(tables), on_torch)
    assert len(by_numpy.responsibilities) == N_LAYERS
    for left, right in zip(everything(by_numpy), everything(by_torch), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-10, atol=1e-10)
    by_numpy_density = log_density(tables, by_numpy.centres[-1])
    by_torch_density = log_density(torched(tables), by_torch.centres[-1])
    np.testing.assert_allclose(by_numpy_density, by_torch_density.numpy(), rtol=0, atol=1e-10)


def test_the_learned_weights_matter(network: EMNetwork) -> None:
    """So that a test of learned weights is not one of plain EM: every class moves the answer."""
    tables, start = alone(draw(0, 50, 3, 3))
    plain = network(tables, start).responsibilities[-1]
    rng = np.random.default_rng(0)
    for name, value in network.weights.items():
        moved = value + 0.1 * rng.standard_normal(value.shape)
        other = EMNetwork(network.weights | {name: moved})
        assert np.abs(other(tables, start).responsibilities[-1] - plain).max() > 1e-5, name


def test_record_last_is_the_last_of_all(network: EMNetwork) -> None:
    tables, start = alone(draw(1, 50, 3, 3))
    every, last = network(tables, start), network(tables, start, record="last")
    assert len(every.responsibilities) == len(every.centres) == len(every.readouts) == N_LAYERS
    assert len(last.responsibilities) == len(last.centres) == len(last.readouts) == 1
    tail = Trace(every.responsibilities[-1:], every.centres[-1:], every.readouts[-1:])
    for left, right in zip(everything(tail), everything(last), strict=True):
        assert np.array_equal(left, right)


def test_respond_repeats_the_last_layer_for_any_rows(network: EMNetwork) -> None:
    problems = [draw(seed, *sizes) for seed, sizes in enumerate(SIZES)]
    for tables, start in (alone(problems[0]), padded(problems, 64, 5, 5)):
        trace = network(tables, start)
        centres, readout = trace.centres[-1], trace.readouts[-1]
        again = respond(tables, centres, readout)
        np.testing.assert_allclose(again, trace.responsibilities[-1], atol=1e-9)
        rows = slice(3, 20)
        some = Tables(tables.X[:, rows], tables.weight[:, rows] * 0.0, tables.is_feature)
        np.testing.assert_allclose(respond(some, centres, readout), again[:, rows], atol=1e-12)


def test_gradients_reach_every_weight() -> None:
    module = learned()
    tables, start = padded([draw(0, 50, 3, 3), draw(1, 50, 3, 3)], 50, 3, 3)
    trace = module(torched(tables), torched(start))
    trace.responsibilities[-1][:, :, 0].sum().backward()
    for name, parameter in module.layers.items():
        assert parameter.grad is not None
        assert bool(parameter.grad.isfinite().all()), name
        per_layer = parameter.grad.abs().flatten(1 if parameter.ndim > 1 else 0)
        assert bool((per_layer.reshape(N_LAYERS, -1).amax(1) > 0).all()), name


# ---------------------------------------------------------------------------------------------
# Symmetries


def transformed(
    change: Callable[[Tables, np.ndarray], tuple[Tables, np.ndarray]], network: EMNetwork
) -> tuple[np.ndarray, np.ndarray]:
    tables, _ = alone(draw(2, 60, 4, 3))
    r = random_start(2, 1, 60, 3)
    plain = network(tables, r).responsibilities[-1]
    other_tables, other_r = change(tables, r)
    return plain, network(other_tables, other_r).responsibilities[-1]


def test_rows_may_trade_places(network: EMNetwork) -> None:
    rows = np.random.default_rng(0).permutation(60)
    plain, other = transformed(
        lambda t, r: (Tables(t.X[:, rows], t.weight[:, rows]), r[:, rows]), network
    )
    np.testing.assert_allclose(other, plain[:, rows], atol=1e-9)


def test_columns_and_signs_may_change(network: EMNetwork) -> None:
    columns, sign = np.array([2, 0, 3, 1]), np.array([1.0, -1.0, -1.0, 1.0])
    plain, other = transformed(
        lambda t, r: (Tables((t.X * sign)[..., columns], t.weight), r), network
    )
    np.testing.assert_allclose(other, plain, atol=1e-9)


def test_components_may_trade_places(network: EMNetwork) -> None:
    order = np.array([2, 0, 1])
    plain, other = transformed(lambda t, r: (t, r[..., order]), network)
    np.testing.assert_allclose(other, plain[..., order], atol=1e-9)


def test_the_origin_does_not_matter(network: EMNetwork) -> None:
    plain, other = transformed(lambda t, r: (Tables(t.X - 37.0, t.weight), r), network)
    np.testing.assert_allclose(other, plain, atol=1e-8)


def test_a_common_unit_does_not_matter_where_the_ridge_has_it_too(network: EMNetwork) -> None:
    tables, _ = alone(draw(2, 60, 4, 3))
    r = random_start(2, 1, 60, 3)
    # the absolute floors (1e-10 on a variance) are far below these variances in either unit
    scaled = EMNetwork(
        network.weights | {"log_ridge": network.weights["log_ridge"] + 2.0 * np.log(30.0)}
    )
    plain = network(tables, r)
    other = scaled(Tables(tables.X * 30.0, tables.weight), r)
    np.testing.assert_allclose(other.responsibilities[-1], plain.responsibilities[-1], atol=1e-8)
    np.testing.assert_allclose(
        other.centres[-1].means, plain.centres[-1].means * 30.0, rtol=1e-7, atol=1e-6
    )
    unscaled = network(Tables(tables.X * 30.0, tables.weight), r)
    assert np.abs(unscaled.responsibilities[-1] - plain.responsibilities[-1]).max() > 1e-6


def test_a_weight_is_a_number_of_copies(network: EMNetwork) -> None:
    tables, _ = alone(draw(3, 40, 3, 3))
    copies = np.random.default_rng(0).integers(0, 4, size=40)
    r = random_start(3, 1, 40, 3)
    weighted = network(Tables(tables.X, copies[None].astype(float)), r)
    repeated = np.repeat(np.arange(40), copies)
    literal = network(Tables(tables.X[:, repeated], np.ones((1, len(repeated)))), r[:, repeated])
    np.testing.assert_allclose(
        weighted.responsibilities[-1][:, repeated], literal.responsibilities[-1], atol=1e-8
    )


def test_padded_tables_equal_tables_alone(network: EMNetwork) -> None:
    problems = [draw(seed, *sizes) for seed, sizes in enumerate(SIZES)]
    tables, start = padded(problems, 64, 5, 5)
    together = network(tables, start)
    density = log_density(tables, together.centres[-1])
    for t, problem in enumerate(problems):
        n, _, c = problem.sizes
        own_tables, own_start = alone(problem)
        own = network(own_tables, own_start)
        for layer in range(N_LAYERS):
            found = together.responsibilities[layer][t]
            np.testing.assert_allclose(found[:n, :c], own.responsibilities[layer][0], atol=1e-9)
            assert not found[:, c:].any()
        left, right = together.readouts[-1], own.readouts[-1]
        np.testing.assert_allclose(left.temperature[t], right.temperature[0], rtol=1e-9)
        np.testing.assert_allclose(left.strength[t], right.strength[0], rtol=1e-9)
        np.testing.assert_allclose(left.nu[t, :c], right.nu[0], rtol=1e-9)
        own_density = log_density(own_tables, own.centres[-1])[0]
        np.testing.assert_allclose(density[t, :n], own_density, atol=1e-9)


def test_starts_side_by_side_equal_starts_alone(network: EMNetwork) -> None:
    problems = [draw(seed, *sizes) for seed, sizes in enumerate([(40, 2, 3), (60, 4, 3)])]
    tables, _ = padded(problems, 64, 5, 3)
    r = random_start(4, 6, 64, 3)
    together = network(tables, r).responsibilities[-1]
    for run in range(6):
        n = problems[run // 3].sizes[0]
        own = network(alone(problems[run // 3])[0], r[run : run + 1, :n])
        np.testing.assert_allclose(together[run, :n], own.responsibilities[-1][0], atol=1e-9)


# ---------------------------------------------------------------------------------------------
# Densities, Student-t, robustness


def test_log_gamma_is_scipys() -> None:
    x = np.concatenate([np.linspace(0.5, 30.0, 500), np.geomspace(30.0, 1e6, 100)])
    scale = np.maximum(1.0, np.abs(special.gammaln(x)))
    assert np.abs((log_gamma(x) - special.gammaln(x)) / scale).max() < 4e-12


def test_log_density_is_scipys() -> None:
    problem = draw(5, 30, 3, 4)
    tables, centres = alone(problem)
    weights, means, covariances = problem.start
    parts = [
        np.log(weight) + stats.multivariate_normal(mean, covariance).logpdf(problem.X)
        for weight, mean, covariance in zip(weights, means, covariances, strict=True)
    ]
    expected = special.logsumexp(parts, axis=0)
    np.testing.assert_allclose(log_density(tables, centres)[0], expected, atol=1e-10)


@pytest.mark.parametrize("is_padded", [False, True])
def test_the_score_is_the_formula(is_padded: bool) -> None:
    """temperature [(1 - rho) log N + rho log t_nu + strength log pi], beside scipy's densities."""
    problem = draw(6, 30, 3, 4, separation=0.7)
    tables, centres = padded([problem], 33, 5, 6) if is_padded else alone(problem)
    c = centres.weights.shape[1]
    rho, nu = np.full((1, c), 0.5), np.full((1, c), 3.0)
    rho[0, :4], nu[0, :4] = [0.0, 1.0, 0.3, 0.8], [5.0, 1.3, 4.0, 30.0]
    readout = Readout(np.array([0.7]), np.array([1.4]), rho, nu)
    columns = []
    for k, (weight, mean, covariance) in enumerate(zip(*problem.start, strict=True)):
        gauss = stats.multivariate_normal(mean, covariance).logpdf(problem.X)
        student = stats.multivariate_t(mean, covariance, df=nu[0, k]).logpdf(problem.X)
        log_density_k = (1.0 - rho[0, k]) * gauss + rho[0, k] * student
        columns.append(0.7 * (log_density_k + 1.4 * np.log(weight)))
    expected = special.softmax(np.stack(columns, axis=1), axis=1)
    found = respond(tables, centres, readout)[0, :30]
    np.testing.assert_allclose(found[:, :4], expected, atol=1e-10)
    assert not found[:, 4:].any()


def student_weights(
    nu: float, ridge: float = 1e-9, logit_rho: float = 60.0
) -> dict[str, np.ndarray]:
    """Constructed EM of full covariances with every component Student-t (rho = 1)."""
    return em_weights("full", ridge) | {"b_tail": np.array([[logit_rho, np.log(nu - 1.0)]])}


@pytest.mark.parametrize("rho", [1.0, 0.5, 0.1])
def test_robust_moments_are_divided_by_their_own_weights(rho: float) -> None:
    """mu and S of layer 2 from r and u of layer 1, u = 1 - rho + rho (nu + d) / (nu + m)."""
    problem = draw(7, 60, 3, 2)
    tables, start = alone(problem)
    logit = 60.0 if rho == 1.0 else float(special.logit(rho))
    trace = EMNetwork(student_weights(3.0, 1e-3, logit), n_loops=2)(tables, start)
    before, after = trace.centres
    r = trace.responsibilities[0][0]
    for k in range(2):
        offset = problem.X - before.means[0, k]
        m = np.einsum("nd,de,ne->n", offset, np.linalg.inv(before.covariances[0, k]), offset)
        a = r[:, k] * (1.0 - rho + rho * (3.0 + 3) / (3.0 + m))
        mean = a @ problem.X / a.sum()
        S = (a[:, None] * (problem.X - mean)).T @ (problem.X - mean) / a.sum()
        np.testing.assert_allclose(after.means[0, k], mean, atol=1e-9)
        np.testing.assert_allclose(after.covariances[0, k], S + 1e-3 * np.eye(3), atol=1e-9)
    np.testing.assert_allclose(after.weights[0], r.mean(0), atol=1e-12)


def test_one_student_component_converges_to_maximum_likelihood() -> None:
    """At the fixed point scipy's Student-t likelihood has no better neighbour."""
    rng = np.random.default_rng(0)
    nu, d = 4.0, 2
    X = stats.multivariate_t([1.0, -1.0], [[2.0, 0.6], [0.6, 1.0]], df=nu, seed=rng).rvs(150)
    tables = Tables(X[None], np.ones((1, 150)))
    trace = EMNetwork(student_weights(nu), n_loops=200)(tables, np.ones((1, 150, 1)))
    mean, S = trace.centres[-1].means[0, 0], trace.centres[-1].covariances[0, 0]

    def likelihood(mean: np.ndarray, S: np.ndarray) -> float:
        return float(stats.multivariate_t(mean, S, df=nu).logpdf(X).sum())

    best = likelihood(mean, S)
    for axis in range(d):
        for step in (-1e-3, 1e-3):
            assert likelihood(mean + step * np.eye(d)[axis], S) < best
    for change in ([[1, 0], [0, 0]], [[0, 0], [0, 1]], [[0, 1], [1, 0]]):
        for step in (-1e-3, 1e-3):
            assert likelihood(mean, S + step * np.array(change)) < best


# ---------------------------------------------------------------------------------------------
# Stopping, depth, errors


def test_tol_stops_when_the_gain_is_smaller() -> None:
    problem = draw(8, 80, 2, 3, separation=1.0)
    tables, start = alone(problem)
    network = EMNetwork(em_weights("full", 1e-6), n_loops=500)
    trace = network(tables, start, tol=1e-4)
    n_done = len(trace.responsibilities)
    assert 3 < n_done < 500
    values = [float(log_density(tables, centres).mean()) for centres in trace.centres]
    gains = np.diff(values)
    assert abs(gains[-1]) < 1e-4
    assert (np.abs(gains[:-1]) >= 1e-4).all()
    assert len(network(tables, start, tol=1e-7).responsibilities) > n_done


def test_tol_waits_for_the_slowest_run() -> None:
    problems = [draw(8, 80, 2, 3, separation=0.5), draw(9, 80, 2, 3, separation=6.0)]
    network = EMNetwork(em_weights("full", 1e-6), n_loops=500)
    depths = [len(network(*alone(p), tol=1e-4).responsibilities) for p in problems]
    tables, start = padded(problems, 80, 2, 3)
    assert depths[0] != depths[1]
    assert len(network(tables, start, tol=1e-4).responsibilities) >= max(depths)


def test_layers_have_their_own_weights() -> None:
    """A network of two layers is the first layer, then the second from where that stopped."""
    weights = weights_of(learned(n_layers=2))
    tables, _ = alone(draw(10, 50, 3, 3))
    r = random_start(5, 1, 50, 3)
    both = EMNetwork(weights)(tables, r)
    first = EMNetwork({k: v[:1] for k, v in weights.items()})(tables, r)
    assert np.array_equal(both.responsibilities[0], first.responsibilities[0])
    swapped = EMNetwork({k: v[::-1] for k, v in weights.items()})(tables, r)
    assert np.abs(both.responsibilities[-1] - swapped.responsibilities[-1]).max() > 1e-6


def test_n_loops_repeats_one_layer_only() -> None:
    weights = weights_of(learned(n_layers=2))
    with pytest.raises(ValueError, match=r"n_loops=5 needs weights of one layer, these have 2"):
        EMNetwork(weights, n_loops=5)
    one = {k: v[:1] for k, v in weights.items()}
    tables, _ = alone(draw(10, 50, 3, 3))
    r = random_start(5, 1, 50, 3)
    looped = EMNetwork(one, n_loops=3)(tables, r)
    tied = EMNetwork({k: np.concatenate([v] * 3) for k, v in one.items()})(tables, r)
    assert np.array_equal(looped.responsibilities[-1], tied.responsibilities[-1])
    assert len(looped.responsibilities) == 3


def test_pretraining_begins_near_em() -> None:
    problem = draw(11, 60, 3, 3, separation=3.0)
    module = near_em(3, 8, torch.Generator().manual_seed(0)).double()
    assert {k: tuple(v.shape) for k, v in module.layers.items()} == layer_shapes(3, 8)
    assert module.layers["W_hidden"].shape[1] == N_FEATURES
    tables, start = alone(problem)
    with torch.no_grad():
        trace = module(torched(tables), torched(start), record="last")
    r = em.em(problem.X, problem.start, 3)[-1].responsibilities
    assert len(trace.responsibilities) == 1
    found = trace.responsibilities[-1][0].numpy()
    assert (found.argmax(1) == r.argmax(1)).mean() > 0.95
    assert np.abs(found - r).max() > 1e-6  # near, not equal: nothing is saturated


# ---------------------------------------------------------------------------------------------
# Tables on which EM breaks


def check_finite(trace: Trace, tables: Tables) -> None:
    for array in everything(trace):
        assert np.isfinite(array).all()
    np.testing.assert_allclose(trace.responsibilities[-1].sum(-1), 1.0, atol=1e-12)
    assert np.isfinite(log_density(tables, trace.centres[-1])).all()


def ugly_tables() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((20, 3))
    far = X.copy()
    far[0] = 240.0  # the largest value that `compress` lets through
    return {
        "all points coincide": np.full((20, 3), 1.5),
        "two distinct points": np.repeat(X[:2], 10, axis=0),
        "one distinct point per component": np.repeat(X[:4], 5, axis=0),
        "a constant column": X * np.array([1.0, 0.0, 1.0]),
        "columns that repeat": X[:, [0, 0, 0]],
        "one point far away": far,
        "more columns than points": rng.standard_normal((4, 12)),
        "a single row": X[:1],
    }


@pytest.mark.parametrize("name", ugly_tables())
@pytest.mark.parametrize("kind", ["learned", "constructed"])
def test_ugly_tables_give_finite_numbers(network: EMNetwork, name: str, kind: str) -> None:
    X = ugly_tables()[name]
    n, c = len(X), 4
    tables = Tables(X[None], np.ones((1, n)))
    hot = np.zeros((2, n, c))
    hot[0, np.arange(n), np.arange(n) % c] = 1.0
    hot[1] = random_start(0, 1, n, c)[0]
    used = network if kind == "learned" else EMNetwork(em_weights("full", 1e-6), n_loops=30)
    check_finite(used(tables, hot), tables)


def test_a_component_that_loses_its_points_dies_quietly(network: EMNetwork) -> None:
    problem = draw(12, 60, 2, 3)
    tables, start = alone(problem)
    means = start.means.copy()
    means[0, 2] = 1e3  # nobody is near
    lost = Centres(start.weights, means, start.covariances, start.is_component)
    for used in (network, EMNetwork(em_weights("full", 1e-6), n_loops=20)):
        trace = used(tables, lost)
        check_finite(trace, tables)
    assert trace.centres[-1].weights[0, 2] < 1e-6
    two = Centres(
        start.weights[:, :2] / start.weights[:, :2].sum(),
        start.means[:, :2],
        start.covariances[:, :2],
        start.is_component[:, :2],
    )
    expected = EMNetwork(em_weights("full", 1e-6), n_loops=20)(tables, two)
    np.testing.assert_allclose(
        trace.responsibilities[-1][..., :2], expected.responsibilities[-1], atol=1e-6
    )
