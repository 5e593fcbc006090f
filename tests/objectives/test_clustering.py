"""Matching by brute force, losses that ignore numbering, and scikit-learn's Rand index."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score

from statformer.batch import Trace
from statformer.objectives.clustering import (
    adjusted_rand,
    match,
    matched_cross_entropy,
    trace_loss,
)

FLOOR = 1e-6


def responsibilities(seed: int, b: int, n: int, c: int) -> torch.Tensor:
    draws = np.random.default_rng(seed).dirichlet(np.full(c, 0.3), size=(b, n))
    return torch.from_numpy(draws)


def labels(seed: int, b: int, n: int, c: int, noise: float = 0.2) -> torch.Tensor:
    rng = np.random.default_rng(seed + 100)
    y = rng.integers(0, c, size=(b, n))
    return torch.from_numpy(np.where(rng.random((b, n)) < noise, -1, y))


def brute_force(r: np.ndarray, y: np.ndarray) -> tuple[float, tuple[int, ...]]:
    """The smallest mean -log r over all ways to give columns to true components."""
    there = y >= 0
    cost = -np.log(np.maximum(r, FLOOR))
    found = []
    for order in itertools.permutations(range(r.shape[1])):
        column = np.array(order)[y[there]]
        found.append((cost[there][np.arange(there.sum()), column].mean(), order))
    return min(found)


# ---------------------------------------------------------------------------------------------
# Matching


@pytest.mark.parametrize("c", [1, 2, 3, 4, 5])
def test_the_matching_is_the_best_of_all(c: int) -> None:
    r, y = responsibilities(0, 6, 25, c), labels(0, 6, 25, c)
    columns = match(r, y)
    loss = matched_cross_entropy(r, y)
    for t in range(6):
        best, order = brute_force(r[t].numpy(), y[t].numpy())
        assert loss[t].item() == pytest.approx(best, abs=1e-12)
        used = np.unique(y[t][y[t] >= 0])
        assert [columns[t, j].item() for j in used] == [order[j] for j in used]
        assert sorted(columns[t].tolist()) == list(range(c))


def test_more_columns_than_components() -> None:
    r, y = responsibilities(1, 3, 20, 5), labels(1, 3, 20, 2)
    for t, loss in enumerate(matched_cross_entropy(r, y)):
        assert loss.item() == pytest.approx(brute_force(r[t].numpy(), y[t].numpy())[0])


def test_a_right_answer_under_other_names_costs_nothing() -> None:
    y = labels(2, 4, 30, 4, noise=0.0)
    renamed = torch.tensor([2, 0, 3, 1])[y]
    r = torch.nn.functional.one_hot(renamed, 4).double()
    assert matched_cross_entropy(r, y).abs().max() == 0.0
    assert match(r, y).tolist() == [[2, 0, 3, 1]] * 4


def test_relabelling_changes_no_loss() -> None:
    r, y = responsibilities(3, 5, 40, 4), labels(3, 5, 40, 4)
    plain = matched_cross_entropy(r, y)
    order = torch.tensor([3, 1, 0, 2])
    torch.testing.assert_close(matched_cross_entropy(r[..., order], y), plain)
    renamed = torch.where(y < 0, y, order[y.clamp_min(0)])
    torch.testing.assert_close(matched_cross_entropy(r, renamed), plain)


def test_noise_points_do_not_count() -> None:
    r, y = responsibilities(4, 3, 30, 3), labels(4, 3, 30, 3, noise=0.5)
    other = r.clone()
    other[y < 0] = responsibilities(5, 3, 30, 3)[y < 0]
    torch.testing.assert_close(matched_cross_entropy(other, y), matched_cross_entropy(r, y))
    nothing = matched_cross_entropy(r, torch.full_like(y, -1))
    assert nothing.tolist() == [0.0, 0.0, 0.0]


def test_the_cost_of_a_point_is_bounded() -> None:
    y = torch.zeros(1, 4, dtype=torch.int64)
    r = torch.zeros(1, 4, 2, dtype=torch.float64)
    r[0, :, 0] = 1.0
    r[0, 0] = torch.tensor([0.0, 1.0])
    assert matched_cross_entropy(r, y).item() == pytest.approx(-np.log(FLOOR) / 4)


# ---------------------------------------------------------------------------------------------
# Gradients


def test_no_gradient_flows_through_the_matching() -> None:
    r = responsibilities(6, 4, 30, 3).requires_grad_()
    y = labels(6, 4, 30, 3)
    columns = match(r, y)
    assert not columns.requires_grad
    (free,) = torch.autograd.grad(matched_cross_entropy(r, y).sum(), r)
    (fixed,) = torch.autograd.grad(matched_cross_entropy(r, y, columns).sum(), r)
    assert torch.equal(free, fixed)
    # by hand: -1 / (n r) at the matched column of a point with a label, and nothing elsewhere
    expected = torch.zeros_like(free)
    for t, i in itertools.product(range(4), range(30)):
        if y[t, i] >= 0:
            k = columns[t, y[t, i]]
            if r[t, i, k] > FLOOR:
                expected[t, i, k] = -1.0 / (r[t, i, k] * (y[t] >= 0).sum())
    torch.testing.assert_close(free, expected.detach())


def test_the_trace_loss_works_towards_the_numbering_of_the_last_layer() -> None:
    first, last = responsibilities(7, 3, 30, 3), responsibilities(8, 3, 30, 3)
    y = labels(7, 3, 30, 3)
    columns = match(last, y)
    assert not torch.equal(columns, match(first, y))  # so the choice matters
    loss = trace_loss(Trace([first, last], [], []), y, ((1, 1.0), (0, 0.3)))
    expected = matched_cross_entropy(last, y, columns) + 0.3 * matched_cross_entropy(
        first, y, columns
    )
    torch.testing.assert_close(loss, expected)
    assert (expected - matched_cross_entropy(last, y) > 0).all()


# ---------------------------------------------------------------------------------------------
# Adjusted Rand index


@pytest.mark.parametrize("seed", range(5))
def test_the_rand_index_is_scikit_learns(seed: int) -> None:
    rng = np.random.default_rng(seed)
    y = labels(seed, 6, 40, 4)
    found = torch.from_numpy(
        np.where(rng.random((6, 40)) < 0.6, y.clamp_min(0), rng.integers(0, 7, (6, 40)))
    )
    scores = adjusted_rand(found, y)
    for t in range(6):
        keep = y[t] >= 0
        expected = adjusted_rand_score(y[t][keep], found[t][keep])
        assert scores[t].item() == pytest.approx(expected, abs=1e-12)
    keep = torch.from_numpy(rng.random((6, 40)) < 0.5)
    scores = adjusted_rand(found, y, keep)
    for t in range(6):
        some = keep[t] & (y[t] >= 0)
        expected = adjusted_rand_score(y[t][some], found[t][some])
        assert scores[t].item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("y", "found"),
    [
        ([0, 0, 0, 0], [1, 1, 1, 1]),  # one cluster on both sides
        ([0, 0, 0, 0], [0, 1, 1, 0]),  # one true cluster, split
        ([0, 1, 1, 0], [2, 2, 2, 2]),  # two true clusters, merged
        ([0, 1, 2, 3], [3, 2, 1, 0]),  # everybody alone
        ([0, 1, 2, 3], [0, 0, 0, 0]),
        ([0, 1, 0, 1], [0, 0, 1, 1]),  # worse than chance
        ([-1, -1, 0, 0], [0, 1, 1, 1]),  # noise hides the error
        ([-1, -1, -1, 0], [0, 1, 1, 1]),  # a single point
    ],
)
def test_edge_cases_of_the_rand_index(y: list[int], found: list[int]) -> None:
    keep = [i for i, label in enumerate(y) if label >= 0]
    expected = adjusted_rand_score([y[i] for i in keep], [found[i] for i in keep])
    score = adjusted_rand(torch.tensor([found]), torch.tensor([y]))
    assert score.item() == pytest.approx(expected, abs=1e-12)
