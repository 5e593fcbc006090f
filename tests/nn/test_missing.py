"""`EMNetwork` on tables with missing cells and categories: the reference, symmetries, limits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from learned_layers import learned, torched, weights_of
from statformer.batch import Centres, Readout, Tables
from statformer.constructions.em_network import em_weights
from statformer.nn import e_attention, em_network, missing
from statformer.nn.categories import Categories
from statformer.nn.em_network import EMNetwork, log_density, respond
from statformer.nn.missing import Patterns, fill, single_gaussian, sweep
from statformer.reference import em_missing
from statformer.reference.em import Mixture

N_STEPS = 6
RIDGE = 1e-3


def mixed(
    seed: int, n: int, d: int, c: int, rate: float, kinds: tuple[int, ...] = ()
) -> tuple[Tables, Centres, np.ndarray, np.ndarray, em_missing.MixedMixture]:
    """A table of clusters with cells missing at random: for the network and for the reference."""
    rng = np.random.default_rng([seed, n, d, c])
    y = np.arange(n) % c
    X = (2.0 * rng.standard_normal((c, d)))[y]
    X = X + rng.standard_normal((n, d)) @ (np.eye(d) + 0.4 * rng.standard_normal((d, d)))
    codes = np.stack(
        [(y + rng.integers(2, size=n)) % k for k in kinds] or [np.zeros(n, int)], axis=1
    )[:, : len(kinds)]
    X[rng.random(X.shape) < rate] = np.nan
    codes = np.where(rng.random(codes.shape) < rate, -1, codes)
    weight = rng.integers(1, 4, size=n).astype(float)
    means = 2.0 * rng.standard_normal((c, d))
    B = np.eye(d) + 0.2 * rng.standard_normal((c, d, d))
    covariances = B @ B.transpose(0, 2, 1) + 0.5 * np.eye(d)
    theta = [rng.dirichlet(np.full(k, 3.0), size=c) for k in kinds]
    pi = rng.dirichlet(np.full(c, 5.0))
    observed = ~np.isnan(X)
    onehot, block = None, None
    if kinds:
        onehot = np.concatenate(
            [codes[:, [j]] == np.arange(k) for j, k in enumerate(kinds)], axis=1
        ).astype(float)[None]
        owner = np.repeat(np.arange(len(kinds)), kinds)
        block = (owner[:, None] == owner).astype(float)[None]
    tables = Tables(
        np.where(observed, X, 0.0)[None],
        weight[None],
        None,
        None if rate == 0 else observed[None],
        onehot,
        block,
    )
    centres = Centres(
        pi[None],
        means[None],
        covariances[None],
        np.ones((1, c), bool),
        np.concatenate(theta, axis=1)[None] if kinds else None,
    )
    start = em_missing.MixedMixture(Mixture(pi, means, covariances), theta)
    return tables, centres, X, codes, start


GRID = [
    (60, 3, 2, 0.3, ()),
    (50, 1, 3, 0.2, ()),
    (40, 5, 2, 0.6, ()),
    (60, 2, 3, 0.3, (2, 4)),
    (60, 3, 2, 0.0, (3,)),
    (60, 0, 3, 0.2, (2, 3, 5)),
]


def gap(sizes: tuple, kind: str, nu: float = np.inf, seed: int = 0) -> float:
    """Largest difference between network and reference over all layers and all numbers."""
    tables, centres, X, codes, start = mixed(seed, *sizes)
    tail = {} if np.isinf(nu) else {"b_tail": np.array([[60.0, np.log(nu - 1.0)]])}
    network = EMNetwork(em_weights(kind, RIDGE) | tail, n_loops=N_STEPS)
    # the plain E step of a start has no tails: begin with responsibilities of the reference
    r = em_missing.e_step(X, codes, start)
    found = network(tables, centres)
    worst = 0.0
    mixture = start
    for layer in range(N_STEPS):
        mixture = em_missing.m_step(
            X,
            codes,
            r,
            mixture,
            kind,
            RIDGE,
            tables.weight[0],
            np.inf if layer == 0 else nu,
        )
        r = em_missing.e_step(X, codes, mixture, nu)
        own = found.centres[layer]
        pairs = [
            (own.weights[0], mixture.numbers.weights),
            (own.means[0], mixture.numbers.means),
            (own.covariances[0], mixture.numbers.covariances),
            (found.responsibilities[layer][0], r),
        ]
        if mixture.categories:
            pairs.append((own.categories[0], np.concatenate(mixture.categories, axis=1)))
        worst = max([worst, *(np.abs(a - b).max(initial=0.0) for a, b in pairs)])
    return worst


@pytest.mark.parametrize("sizes", GRID)
@pytest.mark.parametrize("kind", ["full", "tied", "diag", "spherical"])
def test_the_network_is_the_reference(sizes: tuple, kind: str) -> None:
    assert gap(sizes, kind) < 1e-10


@pytest.mark.parametrize("sizes", GRID)
def test_student_layers_are_the_reference(sizes: tuple) -> None:
    assert gap(sizes, "full", nu=3.0) < 1e-10


def test_a_perturbed_formula_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part of the formulas, disturbed by a little, is seen by the comparison."""
    numbers, words = GRID[0], GRID[3]
    plain = Patterns.expect

    def no_spread(self: Patterns, centres: Centres, with_moments: bool = True) -> Any:
        found = plain(self, centres, with_moments)
        found.extra = None if found.extra is None else 0.999 * found.extra
        return found

    def no_determinant(self: Patterns, centres: Centres, with_moments: bool = True) -> Any:
        found = plain(self, centres, with_moments)
        found.half_log_det = 1.001 * found.half_log_det
        return found

    def moved(self: Patterns, centres: Centres, with_moments: bool = True) -> Any:
        found = plain(self, centres, with_moments)
        found.filled = None if found.filled is None else 1.001 * found.filled
        return found

    for broken in (no_spread, no_determinant, moved):
        monkeypatch.setattr(Patterns, "expect", broken)
        assert gap(numbers, "full") > 1e-6, broken.__name__
    monkeypatch.setattr(Patterns, "expect", plain)
    theta, score = Categories.theta, e_attention.category_score
    monkeypatch.setattr(Categories, "theta", lambda self, r: 0.999 * theta(self, r) + 1e-4)
    assert gap(words, "full") > 1e-6
    monkeypatch.setattr(Categories, "theta", theta)
    monkeypatch.setattr(e_attention, "category_score", lambda t, c: 1.01 * score(t, c))
    assert gap(words, "full") > 1e-6
    monkeypatch.setattr(e_attention, "category_score", score)
    assert gap(words, "full") < 1e-10


@pytest.mark.parametrize("is_learned", [False, True])
@pytest.mark.parametrize("start", ["centres", "responsibilities"])
def test_all_cells_observed_is_the_complete_path(is_learned: bool, start: str) -> None:
    tables, centres, *_ = mixed(1, 60, 4, 3, 0.0)
    observed = replace(tables, observed=np.ones(tables.X.shape, bool))
    weights = weights_of(learned()) if is_learned else em_weights("full", RIDGE)
    network = EMNetwork(weights, n_loops=None if is_learned else N_STEPS)
    given: Any = centres
    if start == "responsibilities":
        given = np.random.default_rng(0).dirichlet(np.ones(3), size=(2, 60))
    one, other = network(tables, given), network(observed, given)
    for left, right in zip(one.responsibilities, other.responsibilities, strict=True):
        np.testing.assert_allclose(right, left, atol=1e-10)
    np.testing.assert_allclose(
        other.centres[-1].covariances, one.centres[-1].covariances, atol=1e-10
    )
    np.testing.assert_allclose(
        log_density(observed, other.centres[-1]), log_density(tables, one.centres[-1]), atol=1e-10
    )


# ---------------------------------------------------------------------------------------------
# Learned layers


TABLES = {
    "numbers": (60, 4, 3, 0.4, ()),
    "both": (60, 3, 3, 0.3, (2, 4)),
    "words": (60, 0, 3, 0.2, (3, 2, 4)),
    "complete": (60, 3, 3, 0.0, (2, 4)),
}


def random_start(seed: int, runs: int, n: int, c: int) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.full(c, 0.5), size=(runs, n))


@pytest.fixture(scope="module")
def network() -> EMNetwork:
    return EMNetwork(weights_of(learned()))


@pytest.mark.parametrize("name", TABLES)
def test_numpy_and_torch_agree(network: EMNetwork, name: str) -> None:
    tables, *_ = mixed(2, *TABLES[name])
    r = random_start(0, 2, 60, 3)
    by_numpy = network(tables, r)
    module = learned()
    by_torch = module(torched(tables), torch.from_numpy(r))
    for left, right in zip(by_numpy.responsibilities, by_torch.responsibilities, strict=True):
        np.testing.assert_allclose(left, right.detach().numpy(), atol=1e-9)
    by_torch.responsibilities[-1][:, :, 0].sum().backward()
    assert all(bool(value.grad.isfinite().all()) for value in module.layers.values())


@pytest.mark.parametrize("name", TABLES)
def test_rows_and_columns_may_trade_places(network: EMNetwork, name: str) -> None:
    tables, *_ = mixed(3, *TABLES[name])
    r = random_start(0, 1, 60, 3)
    plain = network(tables, r).responsibilities[-1]
    rng = np.random.default_rng(0)
    rows, columns = rng.permutation(60), rng.permutation(tables.X.shape[2])
    at = np.ix_([0], rows, columns)
    other = replace(
        tables,
        X=tables.X[at],
        weight=tables.weight[:, rows],
        observed=None if tables.observed is None else tables.observed[at],
    )
    if tables.onehot is not None:
        words = rng.permutation(tables.onehot.shape[2])
        other = replace(
            other,
            onehot=tables.onehot[np.ix_([0], rows, words)],
            same_block=tables.same_block[np.ix_([0], words, words)],
        )
    found = network(other, r[:, rows]).responsibilities[-1]
    np.testing.assert_allclose(found, plain[:, rows], atol=1e-8)


@pytest.mark.parametrize("name", TABLES)
def test_a_weight_is_a_number_of_copies(network: EMNetwork, name: str) -> None:
    tables, *_ = mixed(4, *TABLES[name])
    copies = np.random.default_rng(0).integers(0, 4, size=60)
    rows = np.repeat(np.arange(60), copies)
    r = random_start(0, 1, 60, 3)
    weighted = network(replace(tables, weight=copies[None].astype(float)), r)

    def pick(array: np.ndarray | None) -> np.ndarray | None:
        return None if array is None else array[:, rows]

    literal = Tables(
        tables.X[:, rows],
        np.ones((1, len(rows))),
        None,
        pick(tables.observed),
        pick(tables.onehot),
        tables.same_block,
    )
    found = network(literal, r[:, rows]).responsibilities[-1]
    np.testing.assert_allclose(weighted.responsibilities[-1][:, rows], found, atol=1e-8)


@pytest.mark.parametrize("name", TABLES)
def test_respond_repeats_the_last_layer_for_any_rows(network: EMNetwork, name: str) -> None:
    tables, *_ = mixed(5, *TABLES[name])
    trace = network(tables, random_start(0, 2, 60, 3))
    some = slice(5, 25)
    rows = Tables(
        tables.X[:, some],
        0.0 * tables.weight[:, some],
        None,
        None if tables.observed is None else tables.observed[:, some],
        None if tables.onehot is None else tables.onehot[:, some],
        tables.same_block,
    )
    found = respond(rows, trace.centres[-1], trace.readouts[-1])
    np.testing.assert_allclose(found, trace.responsibilities[-1][:, some], atol=1e-8)


def test_padded_tables_equal_tables_alone(network: EMNetwork) -> None:
    """Side by side and padded in rows, numbers and words: what is padded must not matter."""
    pair = [mixed(6, 50, 3, 3, 0.4, (2, 3)), mixed(7, 60, 5, 3, 0.3, (4,))]
    n, d, q = 64, 6, 6
    r = random_start(0, 2, n, 3)
    parts: dict[str, list[np.ndarray]] = {}
    for tables, *_ in pair:
        _, own_n, own_d = tables.X.shape
        own_q = tables.onehot.shape[2]
        X, weight = np.full((n, d), 7.0), np.zeros(n)
        observed, onehot = np.arange(n * d).reshape(n, d) % 2 == 0, np.zeros((n, q))
        X[:own_n, :own_d], weight[:own_n] = tables.X[0], tables.weight[0]
        observed[:own_n, :own_d], onehot[:own_n, :own_q] = tables.observed[0], tables.onehot[0]
        block = np.zeros((q, q))
        block[:own_q, :own_q] = tables.same_block[0]
        of = {"X": X, "weight": weight, "is_feature": np.arange(d) < own_d}
        of |= {"observed": observed, "onehot": onehot, "same_block": block}
        for key, value in of.items():
            parts.setdefault(key, []).append(value)
    together = Tables(**{key: np.stack(value) for key, value in parts.items()})
    found = network(together, r)
    density = log_density(together, found.centres[-1])
    for t, (tables, *_) in enumerate(pair):
        own_n = tables.X.shape[1]
        own = network(tables, r[t : t + 1, :own_n])
        np.testing.assert_allclose(
            found.responsibilities[-1][t, :own_n], own.responsibilities[-1][0], atol=1e-9
        )
        np.testing.assert_allclose(
            density[t, :own_n], log_density(tables, own.centres[-1])[0], atol=1e-9
        )


@pytest.mark.parametrize("is_learned", [False, True])
def test_sixty_per_cent_missing_has_no_nan(is_learned: bool) -> None:
    """Rows without any cell, a column with two cells, more components than the data carry."""
    for seed in range(5):
        tables, *_ = mixed(seed, 40, 6, 5, 0.6, (3,))
        observed = tables.observed.copy()
        observed[:, :3] = False
        observed[:, 2:, 4] = False
        observed[:, :2, 4] = True
        tables = replace(tables, observed=observed, X=np.where(observed, tables.X, 0.0))
        network = EMNetwork(
            weights_of(learned()) if is_learned else em_weights("full", 1e-4),
            n_loops=None if is_learned else 50,
        )
        trace = network(tables, random_start(seed, 2, 40, 5))
        last = trace.centres[-1]
        for array in (*vars(last).values(), trace.responsibilities[-1], log_density(tables, last)):
            assert np.isfinite(array).all()
        np.testing.assert_allclose(trace.responsibilities[-1].sum(axis=-1), 1.0, atol=1e-12)


# ---------------------------------------------------------------------------------------------
# Parts


def test_sweep_is_the_blocks() -> None:
    rng = np.random.default_rng(0)
    B = rng.standard_normal((7, 5, 5))
    A = B @ B.transpose(0, 2, 1) + np.eye(5)
    mask = rng.random((7, 5)) < 0.5
    mask[0], mask[1] = False, True
    swept, half_log_det = sweep(A.transpose(1, 2, 0).copy(), mask.T)
    for i in range(7):
        seen, gone = mask[i], ~mask[i]
        inverse = np.linalg.inv(A[i][np.ix_(seen, seen)])
        cross = A[i][np.ix_(seen, gone)]
        found = swept[:, :, i]
        np.testing.assert_allclose(found[np.ix_(seen, seen)], -inverse, atol=1e-12)
        np.testing.assert_allclose(found[np.ix_(seen, gone)], inverse @ cross, atol=1e-12)
        np.testing.assert_allclose(found[np.ix_(gone, seen)], (inverse @ cross).T, atol=1e-12)
        rest = A[i][np.ix_(gone, gone)] - cross.T @ inverse @ cross
        np.testing.assert_allclose(found[np.ix_(gone, gone)], rest, atol=1e-12)
        expected = 0.5 * np.linalg.slogdet(A[i][np.ix_(seen, seen)])[1] if seen.any() else 0.0
        np.testing.assert_allclose(half_log_det[i], expected, atol=1e-12)


def test_groups_hold_rows_of_one_pattern() -> None:
    rng = np.random.default_rng(1)
    few = rng.random((4, 5)) < 0.5
    observed = np.stack([few[rng.integers(4, size=90)], rng.random((90, 5)) < 0.6])
    slots, used, m = missing._group(observed)
    assert m > 1
    for t in range(2):
        assert sorted(slots[t][used[t]]) == list(range(90))
        for group in slots[t].reshape(-1, m):
            assert (observed[t][group] == observed[t][group[0]]).all()


def test_densities_are_scipys() -> None:
    """log N(x_O) and log pmf of observed cells; the pmf sums to 1 over all words."""
    tables, centres, X, codes, start = mixed(8, 20, 3, 2, 0.4, (3,))
    found = log_density(tables, centres)[0]
    for i in range(20):
        seen = ~np.isnan(X[i])
        total = 0.0
        for k, (pi, mean, covariance) in enumerate(zip(*start.numbers, strict=True)):
            p = start.categories[0][k, codes[i, 0]] if codes[i, 0] >= 0 else 1.0
            if seen.any():
                p *= stats.multivariate_normal(mean[seen], covariance[np.ix_(seen, seen)]).pdf(
                    X[i, seen]
                )
            total += pi * p
        np.testing.assert_allclose(found[i], np.log(total), atol=1e-10)
    every = replace(tables, onehot=np.eye(3)[np.arange(20) % 3][None])
    alone = replace(tables, onehot=np.zeros((1, 20, 3)))
    same = np.zeros((1, 3, 3)) + 1.0
    sums = np.zeros(20)
    for shift in range(3):
        rolled = replace(every, onehot=np.roll(every.onehot, shift, axis=2), same_block=same)
        sums += np.exp(log_density(rolled, centres)[0])
    np.testing.assert_allclose(np.log(sums), log_density(alone, centres)[0], atol=1e-10)


def test_student_responsibilities_count_observed_columns() -> None:
    tables, centres, X, codes, start = mixed(9, 30, 4, 3, 0.5, (2,))
    rho, nu = np.array([[0.0, 1.0, 0.3]]), np.array([[5.0, 1.3, 4.0]])
    readout = Readout(np.array([0.7]), np.array([1.4]), rho, nu)
    score = np.zeros((30, 3))
    for i in range(30):
        for k, (pi, mean, covariance) in enumerate(zip(*start.numbers, strict=True)):
            normal = em_missing.log_density(X[i], mean, covariance)
            student = em_missing.log_density(X[i], mean, covariance, nu[0, k])
            score[i, k] = (1.0 - rho[0, k]) * normal + rho[0, k] * student + 1.4 * np.log(pi)
            if codes[i, 0] >= 0:
                score[i, k] += np.log(start.categories[0][k, codes[i, 0]])
    e = np.exp(0.7 * (score - score.max(axis=1, keepdims=True)))
    expected = e / e.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(respond(tables, centres, readout)[0], expected, atol=1e-10)


def test_filling_follows_the_regression() -> None:
    """x_2 = 2 x_1 + noise: missing cells of one are read from the other, in any unit."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal(200)
    X = np.stack([x, 2.0 * x + 0.1 * rng.standard_normal(200)], axis=1) + 5.0
    observed = np.ones((200, 2), bool)
    observed[:50, 1] = False
    tables = Tables(np.where(observed, X, 0.0)[None], np.ones((1, 200)), None, observed[None])
    found = fill(tables)[0]
    assert np.array_equal(found[observed], X[observed])
    assert np.abs(found[:50, 1] - X[:50, 1]).max() < 0.5
    scaled = fill(replace(tables, X=tables.X * np.array([1e3, 1e-3])))[0]
    np.testing.assert_allclose(scaled, found * np.array([1e3, 1e-3]), rtol=1e-9)
    assert single_gaussian(tables).means.shape == (1, 1, 2)


def test_learned_layers_expect_missing_cells_under_their_own_centres(
    monkeypatch: pytest.MonkeyPatch, network: EMNetwork
) -> None:
    """Refilling again and again settles: the means are then a fixed point of their own filling."""
    tables, *_ = mixed(10, *TABLES["numbers"])
    r = random_start(0, 1, 60, 3)
    found = []
    for times in (0, 2, 60, 61):
        monkeypatch.setattr(em_network, "REFILLS", times)
        found.append(network(tables, r).centres[0].means)
    assert np.abs(found[0] - found[1]).max() > 1e-3
    np.testing.assert_allclose(found[2], found[3], atol=1e-8)
