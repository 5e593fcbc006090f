"""`ComponentCount`, features of a run, tokens: probabilities, symmetries, ugly tables."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist

from gaussian_tables import alone, draw, padded
from statformer.batch import Tables, Trace
from statformer.constructions.em_network import em_network
from statformer.nn.component_count import (
    N_RUN_FEATURES,
    N_TOKEN_FEATURES,
    ComponentCount,
    count_shapes,
    run_features,
    tokens,
)

MAX_COMPONENTS = 6


def random_weights(seed: int = 0, n_hidden: int = 8) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    weights = {}
    for name, shape in count_shapes(n_hidden).items():
        weights[name] = rng.standard_normal(shape) / math.sqrt(shape[0])
    weights["scale"] = np.abs(weights["scale"]) + 0.5
    weights["w_4"] = 3.0 * weights["w_4"]
    return weights


def random_tokens(seed: int = 0, b: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((b, MAX_COMPONENTS, N_TOKEN_FEATURES))


def possible(*highest: int) -> np.ndarray:
    return np.arange(1, MAX_COMPONENTS + 1) <= np.array(highest)[:, None]


# ---------------------------------------------------------------------------------------------
# The head


def test_probabilities_sum_to_one_and_impossible_counts_have_none() -> None:
    keep = possible(6, 1, 3, 5, 2)
    with np.errstate(divide="raise", invalid="raise"):
        log_p = ComponentCount(random_weights())(random_tokens(), keep)
    np.testing.assert_allclose(np.exp(log_p).sum(-1), 1.0, rtol=1e-12)
    assert np.array_equal(np.exp(log_p) > 0, keep)
    assert np.isneginf(log_p[~keep]).all()
    assert log_p[1, 0] == 0.0  # one count is possible: certainty
    assert np.exp(log_p[0]).std() > 1e-3  # not a constant answer


def test_impossible_counts_do_not_speak() -> None:
    network, keep = ComponentCount(random_weights()), possible(3, 3, 3, 3, 3)
    t = random_tokens()
    other = t.copy()
    other[:, 3:] = 50.0
    np.testing.assert_allclose(network(other, keep), network(t, keep), rtol=1e-12)
    changed = t.copy()
    changed[:, 1] += 0.1  # but one that is possible speaks to all
    gap = np.abs(np.exp(network(changed, keep)) - np.exp(network(t, keep)))
    assert (gap[:, :3] > 1e-6).all()


def test_tables_do_not_see_each_other() -> None:
    network, keep, t = ComponentCount(random_weights()), possible(6, 1, 3, 5, 2), random_tokens()
    together = network(t, keep)
    for row in range(len(t)):
        own = network(t[row : row + 1], keep[row : row + 1])
        np.testing.assert_allclose(together[row], own[0], rtol=1e-12)


def test_numpy_and_torch_agree() -> None:
    weights, keep, t = random_weights(), possible(6, 1, 3, 5, 2), random_tokens()
    by_torch = ComponentCount({k: torch.from_numpy(v) for k, v in weights.items()})(
        torch.from_numpy(t), torch.from_numpy(keep)
    )
    np.testing.assert_allclose(by_torch.numpy(), ComponentCount(weights)(t, keep), atol=1e-12)


def test_every_weight_matters() -> None:
    weights, keep, t = random_weights(), possible(6, 4, 3, 5, 2), random_tokens()
    plain = np.exp(ComponentCount(weights)(t, keep))
    rng = np.random.default_rng(1)
    for name, value in weights.items():
        moved = weights | {name: value + 0.1 * rng.standard_normal(value.shape)}
        assert np.abs(np.exp(ComponentCount(moved)(t, keep)) - plain).max() > 1e-4, name


# ---------------------------------------------------------------------------------------------
# Features of a run


def run(tables: Tables, r: np.ndarray) -> Trace:
    return em_network("full", 1e-3, 12)(tables, r, record="last")


def random_start(seed: int, runs: int, n: int, c: int) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.full(c, 0.3), size=(runs, n))


def test_features_keep_their_value_under_every_symmetry() -> None:
    tables, _ = alone(draw(0, 60, 4, 3))
    r = random_start(0, 1, 60, 3)
    rng = np.random.default_rng(0)
    rows, columns, order = rng.permutation(60), rng.permutation(4), rng.permutation(3)
    sign = np.array([1.0, -1.0, -1.0, 1.0])
    turned = Tables((tables.X * sign)[:, rows][..., columns], tables.weight[:, rows])
    density, features = run_features(tables, run(tables, r))
    other_density, other = run_features(turned, run(turned, r[:, rows][..., order]))
    assert features.shape == (1, N_RUN_FEATURES)
    np.testing.assert_allclose(other, features, atol=1e-9)
    np.testing.assert_allclose(other_density, density, atol=1e-9)
    far = Tables(tables.X + 5.0, tables.weight)
    np.testing.assert_allclose(run_features(far, run(far, r))[1], features, atol=1e-8)
    wrong = run_features(tables, run(tables, random_start(1, 1, 60, 3)))[1]
    assert np.abs(wrong - features).max() > 1e-3  # another answer has other features


def test_the_features_of_padded_tables_are_those_of_the_tables() -> None:
    problems = [draw(seed, *s) for seed, s in enumerate([(40, 2, 3), (60, 4, 2), (50, 1, 1)])]
    tables, start = padded(problems, 64, 5, 4)
    trace = em_network("full", 1e-3, 12)(tables, start)
    density, features = run_features(tables, trace)
    for t, problem in enumerate(problems):
        own_tables, own_start = alone(problem)
        own = run_features(own_tables, em_network("full", 1e-3, 12)(own_tables, own_start))
        np.testing.assert_allclose(density[t], own[0][0], atol=1e-9)
        np.testing.assert_allclose(features[t], own[1][0], atol=1e-8)


def test_features_of_two_starts_per_table() -> None:
    tables, _ = padded([draw(0, 50, 3, 2), draw(1, 50, 3, 2)], 50, 3, 2)
    r = random_start(2, 4, 50, 2)
    density, features = run_features(tables, run(tables, r))
    for at in range(4):
        one = Tables(tables.X[at // 2][None], tables.weight[:1])
        own = run_features(one, run(one, r[at : at + 1]))
        np.testing.assert_allclose(density[at], own[0][0], atol=1e-9)
        np.testing.assert_allclose(features[at], own[1][0], atol=1e-8)


def test_features_say_what_they_are_called() -> None:
    """Counts, sizes, certainty and distances of a clear mixture, by hand."""
    X = np.array([[-10.0, 0.0], [-10.0, 2.0], [-12.0, 0.0], [-12.0, 2.0]] * 10)
    X = np.concatenate([X, X[:20] + np.array([21.0, 0.0])])
    y = np.repeat([0, 1], [40, 20])
    tables = Tables(X[None], np.ones((1, 60)))
    trace = run(tables, np.eye(2)[y][None])
    _, features = run_features(tables, trace)
    found = dict(enumerate(features[0]))
    variance = 1.0 + 1e-3  # within each cluster and column, plus the ridge
    distance = pdist(np.array([[-11.0, 1.0], [10.0, 1.0]]))[0] / math.sqrt(variance)
    expected = {
        0: math.log(2.0),  # log K
        1: 0.0,  # entropy of the assignments
        3: math.log(1e-4),  # nobody is in doubt
        4: 1.0,  # every component is somebody's first choice
        5: math.log(variance),  # mean log-determinant per column
        7: math.log(distance + 1e-3),
        8: math.log(distance + 1e-3),
        9: math.log(2.0 / 3.0 + 1e-6),  # smallest weight times K
        10: math.log(10.0 + 1e-6),  # points per column of the smallest
        11: -(1 / 3 * math.log(1 / 3) + 2 / 3 * math.log(2 / 3)),
        13: 0.0,  # rho
        15: 0.0,  # log temperature
        16: 0.0,  # log strength
        17: math.log(60.0) / 2.0,
        18: math.log(2.0) / 2.0,
        19: math.log(30.0) / 2.0,
        20: math.log(2.0 / 60.0 * 2.0) / 2.0,
        21: 0.2,
    }
    for index, value in expected.items():
        assert found[index] == pytest.approx(value, abs=1e-5), index


# ---------------------------------------------------------------------------------------------
# Tokens


def test_tokens_hold_the_gain_penalised_as_bic_does() -> None:
    rng = np.random.default_rng(0)
    b, k, d = 2, 4, 3
    n = np.array([50.0, 80.0])
    density = np.sort(rng.standard_normal((b, k)), axis=1)
    features = rng.standard_normal((b, k, N_RUN_FEATURES))
    t = tokens(density, features, n, np.full(b, float(d)))
    assert t.shape == (b, k, N_TOKEN_FEATURES)
    np.testing.assert_array_equal(t[..., :N_RUN_FEATURES], features)
    for row in range(b):
        for j in range(k):
            K = j + 1
            sizes = [K - 1 + K * d + K * own for own in (d * (d + 1) / 2, d, 1)]
            ones = [d + own for own in (d * (d + 1) / 2, d, 1)]
            for column, (size, one) in enumerate(zip(sizes, ones, strict=True)):
                bic = -2.0 * n[row] * density[row, j] + size * math.log(n[row])
                bic_one = -2.0 * n[row] * density[row, 0] + one * math.log(n[row])
                half = 0.5 * (bic_one - bic)
                expected = math.copysign(math.log1p(abs(half)), half)
                assert t[row, j, N_RUN_FEATURES + 1 + column] == pytest.approx(expected)


def test_tokens_look_back_and_ahead() -> None:
    rng = np.random.default_rng(1)
    b, k = 2, 4
    features = rng.standard_normal((b, k, N_RUN_FEATURES))
    density = rng.standard_normal((b, k))
    t = tokens(density, features, np.full(b, 60.0), np.full(b, 2.0))
    width = N_RUN_FEATURES + 4
    base, back, ahead = t[..., :width], t[..., width : 2 * width], t[..., 2 * width : 3 * width]
    np.testing.assert_allclose(back[:, 1:], base[:, 1:] - base[:, :-1])
    np.testing.assert_allclose(ahead[:, :-1], back[:, 1:])
    assert not back[:, 0].any()
    assert not ahead[:, -1].any()
    first, final = t[..., -2], t[..., -1]
    np.testing.assert_array_equal(first, np.tile([1.0, 0.0, 0.0, 0.0], (b, 1)))
    np.testing.assert_array_equal(final, np.tile([0.0, 0.0, 0.0, 1.0], (b, 1)))
    # a common shift of log density is a change of units, and changes nothing
    shifted = tokens(density + 7.0, features, np.full(b, 60.0), np.full(b, 2.0))
    np.testing.assert_allclose(shifted, t, atol=1e-12)


@pytest.mark.parametrize(
    "name", ["coinciding", "constant column", "duplicates", "two rows", "one row", "outlier"]
)
def test_features_are_finite_on_ugly_tables(name: str) -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((24, 3))
    X = {
        "coinciding": np.ones((24, 3)),
        "constant column": X * np.array([1.0, 0.0, 1.0]),
        "duplicates": np.repeat(X[:3], 8, axis=0),
        "two rows": X[:2],
        "one row": X[:1],
        "outlier": np.concatenate([X, [[240.0] * 3]]),
    }[name]
    tables = Tables(X[None], np.ones((1, len(X))))
    densities, features = [], []
    for K in (1, 2, 5):
        density, feature = run_features(tables, run(tables, random_start(K, 1, len(X), K)))
        densities.append(density)
        features.append(feature)
    t = tokens(
        np.stack(densities, 1), np.stack(features, 1), np.array([float(len(X))]), np.array([3.0])
    )
    assert np.isfinite(t).all()
    assert np.isfinite(ComponentCount(random_weights())(t, np.ones((1, 3), bool))).all()
