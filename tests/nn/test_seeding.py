"""Batched k-means++ and Lloyd beside literal twins, scikit-learn and their symmetries."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans

from gaussian_tables import alone, draw, padded
from statformer.batch import Tables
from statformer.nn.seeding import (
    LLOYD_STEPS,
    is_component,
    kmeans_plus_plus,
    lloyd,
    lloyd_starts,
    n_trials,
)
from statformer.reference import em


def uniforms(seed: int, runs: int, c: int) -> np.ndarray:
    return np.random.default_rng(seed).random((runs, c, n_trials(c)))


def table(seed: int, n: int, d: int, weighted: bool = False) -> Tables:
    rng = np.random.default_rng(seed)
    weight = rng.choice([0.0, 0.5, 1.0, 3.0], size=(1, n)) if weighted else np.ones((1, n))
    return Tables(rng.standard_normal((1, n, d)), weight)


def count(*values: int) -> np.ndarray:
    return np.array(values)


def greedy(X: np.ndarray, w: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Greedy k-means++ (Arthur and Vassilvitskii 2007) as a loop over points and candidates."""

    def chosen(mass: list[float], goal: float) -> int:
        reached, at = 0.0, 0
        for i, m in enumerate(mass):
            reached += m
            at = i
            if reached > goal * sum(mass):
                break
        return at

    def nearest(x: np.ndarray, centres: list[np.ndarray]) -> float:
        return min(float(((x - centre) ** 2).sum()) for centre in centres)

    centres = [X[chosen(list(w), u[0, 0])]]
    for j in range(1, len(u)):
        mass = [wi * nearest(x, centres) for x, wi in zip(X, w, strict=True)]
        candidates = [X[chosen(mass, goal)] for goal in u[j]]
        left = [
            sum(wi * nearest(x, [*centres, y]) for x, wi in zip(X, w, strict=True))
            for y in candidates
        ]
        centres.append(candidates[int(np.argmin(left))])
    return np.array(centres)


# ---------------------------------------------------------------------------------------------
# k-means++


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("n", "d", "c"), [(20, 1, 2), (35, 3, 5), (50, 2, 9), (12, 4, 1)])
def test_equals_the_greedy_loop(n: int, d: int, c: int, weighted: bool) -> None:
    for seed in range(4):
        tables = table(seed, n, d, weighted)
        u = uniforms(seed, 1, c)
        found = kmeans_plus_plus(tables, count(c), u)[0]
        expected = greedy(tables.X[0], tables.weight[0], u[0])
        np.testing.assert_allclose(found, expected, atol=0)


def test_trials_are_scikit_learns_rule() -> None:
    assert [n_trials(c) for c in (1, 2, 3, 8, 20, 100)] == [
        2 + int(math.log(c)) for c in (1, 2, 3, 8, 20, 100)
    ]


def test_numpy_and_torch_choose_the_same_points() -> None:
    tables = table(0, 60, 3, weighted=True)
    u = uniforms(0, 4, 5)
    by_torch = kmeans_plus_plus(
        Tables(torch.from_numpy(tables.X), torch.from_numpy(tables.weight)),
        torch.tensor([5, 3, 1, 4]),
        torch.from_numpy(u),
    )
    by_numpy = kmeans_plus_plus(tables, count(5, 3, 1, 4), u)
    assert np.array_equal(by_torch.numpy(), by_numpy)


def test_weight_two_is_the_row_twice() -> None:
    for seed in range(8):
        tables = table(seed, 25, 2)
        copies = np.random.default_rng(seed).integers(0, 4, size=25)
        u = uniforms(seed, 1, 4)
        weighted = kmeans_plus_plus(Tables(tables.X, copies[None].astype(float)), count(4), u)
        repeated = np.repeat(tables.X, copies, axis=1)
        literal = kmeans_plus_plus(Tables(repeated, np.ones(repeated.shape[:2])), count(4), u)
        assert np.array_equal(weighted, literal)
        unweighted = kmeans_plus_plus(tables, count(4), u)
        assert not np.array_equal(weighted, unweighted)  # else the weights were not looked at


def test_rows_without_weight_are_never_chosen() -> None:
    rng = np.random.default_rng(0)
    X = np.where(np.arange(40)[None, :, None] % 2 == 0, 100.0, 0.0) + rng.random((1, 40, 2))
    weight = (np.arange(40)[None] % 2).astype(float)  # the rows near 100 are absent
    u = rng.random((50, 6, n_trials(6)))
    u[:, :, 0] = np.linspace(0.0, 1.0 - 1e-16, 50)[:, None]  # both ends of the interval too
    means = kmeans_plus_plus(Tables(X, weight), np.full(50, 6), u)
    assert means.max() < 2.0


def test_the_first_point_is_drawn_in_proportion_to_weight() -> None:
    tables = Tables(np.arange(3.0)[None, :, None], np.array([[1.0, 2.0, 5.0]]))
    u = np.linspace(0.0, 1.0, 8001)[:-1]
    means = kmeans_plus_plus(tables, np.ones(8000, int), np.tile(u[:, None, None], (1, 1, 2)))
    shares = [(means[:, 0, 0] == value).mean() for value in range(3)]
    np.testing.assert_allclose(shares, [1 / 8, 2 / 8, 5 / 8], atol=1e-3)


def test_each_run_has_its_own_number_of_components() -> None:
    tables = table(1, 40, 3)
    u = uniforms(1, 3, 5)
    means = kmeans_plus_plus(tables, count(5, 2, 1), u)
    whole = kmeans_plus_plus(tables, count(5, 5, 5), u)
    for run, k in enumerate((5, 2, 1)):
        assert np.array_equal(means[run, :k], whole[run, :k])
        assert not means[run, k:].any()
    assert is_component(count(5, 2, 1), 5, like=means).sum(1).tolist() == [5, 2, 1]


def test_one_component_is_one_of_the_points() -> None:
    tables = table(2, 30, 2)
    means = kmeans_plus_plus(tables, count(1), uniforms(2, 1, 1))
    assert means.shape == (1, 1, 2)
    assert (tables.X[0] == means[0, 0]).all(1).any()


@pytest.mark.parametrize("n", [1, 2, 3])
def test_fewer_points_than_components(n: int) -> None:
    tables = table(3, n, 2)
    means = kmeans_plus_plus(tables, count(5), uniforms(3, 1, 5))
    assert np.isfinite(means).all()
    assert len(np.unique(means[0], axis=0)) == n  # every point became a centre before any repeat
    r = lloyd(tables, means, np.ones((1, 5), bool))
    np.testing.assert_array_equal(r.sum(-1), np.ones((1, n)))
    assert (r.sum(1) > 0).sum() == n


def test_starts_of_several_tables_equal_starts_alone() -> None:
    problems = [draw(seed, *sizes) for seed, sizes in enumerate([(30, 2, 3), (45, 4, 3)])]
    tables, _ = padded(problems, 50, 5, 3)
    u = uniforms(4, 6, 4)
    K = count(4, 3, 2, 4, 2, 1)
    means = kmeans_plus_plus(tables, K, u)
    r = lloyd(tables, means, is_component(K, 4, like=means), 5)
    for run in range(6):
        n, d, _ = problems[run // 3].sizes
        own_tables, _ = alone(problems[run // 3])
        own = kmeans_plus_plus(own_tables, K[run : run + 1], u[run : run + 1])
        np.testing.assert_allclose(means[run, :, :d], own[0], atol=1e-12)
        own_r = lloyd(own_tables, own, is_component(K[run : run + 1], 4, like=own), 5)
        np.testing.assert_array_equal(r[run, :n], own_r[0])


# ---------------------------------------------------------------------------------------------
# Lloyd


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_steps", [1, 3, 10])
def test_lloyd_equals_scikit_learn(n_steps: int, weighted: bool) -> None:
    compared = 0
    for seed in range(10):
        problem = draw(seed, 80, 3, 4, separation=1.5)
        X = problem.X
        rng = np.random.default_rng(seed)
        weight = rng.choice([0.5, 1.0, 4.0], size=80) if weighted else np.ones(80)
        means = X[rng.choice(80, 4, replace=False)]
        steps = em.lloyd(X, means, n_steps, weight)
        if min(len(np.unique(labels)) for _, labels in steps) < 4:
            continue  # scikit-learn moves an empty cluster elsewhere
        r = lloyd(Tables(X[None], weight[None]), means[None], np.ones((1, 4), bool), n_steps)
        model = KMeans(4, init=means, n_init=1, max_iter=n_steps, tol=0.0, algorithm="lloyd")
        labels = model.fit(X, sample_weight=weight).labels_
        np.testing.assert_array_equal(r[0].argmax(-1), labels)
        np.testing.assert_array_equal(r[0].argmax(-1), steps[-1][1])
        compared += 1
    assert compared > 5


def test_more_steps_change_the_answer_until_it_is_a_fixed_point() -> None:
    problem = draw(0, 200, 2, 5, separation=0.8)
    tables, _ = alone(problem)
    means = problem.X[None, :5]
    there = np.ones((1, 5), bool)
    few, many = lloyd(tables, means, there, 1), lloyd(tables, means, there, 100)
    assert not np.array_equal(few, many)
    moved = np.einsum("nc,nd->cd", many[0], problem.X) / many[0].sum(0)[:, None]
    np.testing.assert_array_equal(many[0].argmax(-1), em.assign(problem.X, moved))


def test_lloyd_lowers_the_sum_of_squares() -> None:
    tables = table(5, 100, 3, weighted=True)
    means = tables.X[:, :6]
    costs = []
    for n_steps in range(6):
        r = lloyd(tables, means, np.ones((1, 6), bool), n_steps)[0]
        w = r * tables.weight[0][:, None]
        centres = (w.T @ tables.X[0]) / np.maximum(w.sum(0), 1e-300)[:, None]
        costs.append(float((w * em.squared_distances(tables.X[0], centres)).sum()))
    assert (np.diff(costs) <= 1e-9).all()
    assert costs[-1] < 0.95 * costs[0]


def test_lloyd_ignores_the_order_of_rows_and_components() -> None:
    problem = draw(6, 90, 3, 4, separation=1.0)
    tables, _ = alone(problem)
    rng = np.random.default_rng(0)
    rows, order = rng.permutation(90), rng.permutation(4)
    means = problem.start.means[None]
    there = np.ones((1, 4), bool)
    plain = lloyd(tables, means, there, 10)
    turned = lloyd(Tables(tables.X[:, rows], tables.weight), means[:, order], there, 10)
    np.testing.assert_array_equal(turned, plain[:, rows][..., order])


def test_absent_components_get_no_point_even_if_they_are_nearest() -> None:
    tables = table(7, 30, 2)
    means = np.zeros((1, 3, 2))
    means[0, 1:] = [[5.0, 5.0], [-5.0, -5.0]]
    r = lloyd(tables, means, np.array([[False, True, True]]), 5)
    assert not r[..., 0].any()
    np.testing.assert_array_equal(r.sum(-1), np.ones((1, 30)))


def test_a_centre_that_lost_its_points_stays() -> None:
    tables = Tables(np.array([[[0.0], [1.0], [10.0]]]), np.ones((1, 3)))
    means = np.array([[[0.4], [1e6], [9.0]]])
    r = lloyd(tables, means, np.ones((1, 3), bool), 10)
    assert r[0].argmax(-1).tolist() == [0, 0, 2]


def test_lloyd_on_torch_is_lloyd_on_numpy() -> None:
    tables = table(8, 70, 3, weighted=True)
    means = tables.X[:, :4]
    there = np.ones((1, 4), bool)
    by_torch = lloyd(
        Tables(torch.from_numpy(tables.X), torch.from_numpy(tables.weight)),
        torch.from_numpy(means),
        torch.from_numpy(there),
        6,
    )
    np.testing.assert_array_equal(by_torch.numpy(), lloyd(tables, means, there, 6))


def test_lloyd_starts_are_lloyd_from_the_drawn_centres() -> None:
    tables = table(9, 80, 3, weighted=True)
    u = uniforms(9, 2, 5)
    start = lloyd_starts(tables, count(5, 3), u)
    assert not start[1, :, 3:].any()
    for run, k in enumerate((5, 3)):
        means = kmeans_plus_plus(tables, count(k), u[run : run + 1])[:, :k]
        there = np.ones((1, k), bool)
        found = lloyd(tables, means, there, LLOYD_STEPS)
        np.testing.assert_array_equal(start[run, :, :k], found[0])
        assert not np.array_equal(found, lloyd(tables, means, there, 0))
