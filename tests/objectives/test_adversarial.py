"""Losses of adversarial training against loops over classes, and the identities they must keep."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Generator, Tensor

from statformer.objectives.adversarial import (
    accuracy_relaxation,
    class_groups,
    class_weighted_pairing,
    group_pairing,
    relaxed_targets,
    soft_cross_entropy,
    start_smoothing,
)

N, C = 12, 5


def normal(*shape: int, seed: int) -> Tensor:
    rng = Generator().manual_seed(seed)
    return torch.randn(*shape, generator=rng, dtype=torch.float64)


CLEAN, MOVED = normal(N, C, seed=1), normal(N, C, seed=2)
# Class 3 is absent, class 4 has one image.
Y = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1, 0, 0, 4, 2])
WEIGHTS = torch.tensor([0.3, 0.9, 0.5, 0.7, 0.4], dtype=torch.float64)


def loop_over_classes(weights: Tensor) -> Tensor:
    total = torch.zeros((), dtype=torch.float64)
    for k in range(C):
        squares = [((CLEAN[i] - MOVED[i]) ** 2).mean() for i in range(N) if Y[i] == k]
        if squares:
            total = total + weights[k] * sum(squares) / len(squares)
    return total


def test_targets_sum_to_one_and_carry_gamma() -> None:
    gamma = torch.tensor([0.3, 0.9, 0.5, 0.7, 1.0])
    targets = relaxed_targets(Y, gamma)
    assert torch.allclose(targets.sum(1), torch.ones(N))
    assert torch.equal(targets[torch.arange(N), Y], gamma[Y])
    others = targets[0][torch.arange(C) != Y[0]]
    assert torch.allclose(others, torch.full((C - 1,), 0.7 / (C - 1)))


def test_soft_cross_entropy_is_the_usual_one_at_hard_labels() -> None:
    targets = relaxed_targets(Y, torch.ones(C, dtype=torch.float64))
    expected = torch.nn.functional.cross_entropy(CLEAN, Y)
    assert torch.allclose(soft_cross_entropy(CLEAN, targets), expected)
    soft = relaxed_targets(Y, WEIGHTS)
    assert torch.allclose(
        soft_cross_entropy(CLEAN, soft), torch.nn.functional.cross_entropy(CLEAN, soft)
    )


def test_label_weights_fall_with_accuracy_within_their_range() -> None:
    accuracy = torch.linspace(0, 1, 101, dtype=torch.float64)
    gamma = accuracy_relaxation(accuracy)
    assert gamma.min() == 0.3
    assert gamma.max() == 0.9
    assert (gamma.diff() <= 0).all()
    assert torch.allclose(accuracy_relaxation(torch.tensor([0.5])), torch.tensor(math.log(2.0)))
    # The ends of the linear part, as derived in our reading: e^-0.3 and e^-0.9.
    assert gamma[75] == 0.3
    assert gamma[74] > 0.3
    assert gamma[40] == 0.9
    assert gamma[41] < 0.9


def test_an_unknown_or_hopeless_class_gets_the_largest_label_weight() -> None:
    gamma = accuracy_relaxation(torch.tensor([0.0, float("nan"), 1.0]))
    assert gamma.tolist() == pytest.approx([0.9, 0.9, 0.3])


def test_a_gamma_of_gamma_is_another_thing() -> None:
    once = accuracy_relaxation(torch.tensor([0.8, 0.5], dtype=torch.float64))
    twice = accuracy_relaxation(once)
    thrice = accuracy_relaxation(twice)
    assert once.tolist() == pytest.approx([0.3, 0.693], abs=1e-3)
    assert twice.tolist() == pytest.approx([0.9, 0.367], abs=1e-3)
    assert thrice.tolist() == pytest.approx([0.3, 0.9], abs=1e-3)


def test_class_weighted_pairing_equals_a_loop() -> None:
    found = class_weighted_pairing(CLEAN, MOVED, Y, WEIGHTS)
    assert torch.allclose(found, loop_over_classes(WEIGHTS), rtol=1e-12)
    disturbed = WEIGHTS.clone()
    disturbed[4] += 0.01  # the class of one image
    assert not torch.allclose(found, loop_over_classes(disturbed), rtol=1e-12)
    disturbed = WEIGHTS.clone()
    disturbed[3] += 0.01  # the absent class
    assert torch.allclose(found, loop_over_classes(disturbed), rtol=1e-12)


def test_equal_weights_and_classes_give_plain_pairing() -> None:
    y = torch.arange(10) % C
    plain = (CLEAN[:10] - MOVED[:10]).square().mean()
    found = class_weighted_pairing(CLEAN[:10], MOVED[:10], y, torch.full((C,), 0.7).double())
    assert torch.allclose(found, 0.7 * C * plain)


def test_no_gradient_is_stopped() -> None:
    for pairing in (
        lambda a, b: class_weighted_pairing(a, b, Y, WEIGHTS),
        lambda a, b: group_pairing(a, b, Y, torch.tensor([0, 1, 2, 3, 3])),
        start_smoothing,
    ):
        a, b = CLEAN.clone().requires_grad_(), MOVED.clone().requires_grad_()
        pairing(a, b).backward()
        assert torch.allclose(a.grad, -b.grad)
        assert a.grad.abs().sum() > 0


def test_groups_are_disjoint_and_leave_out_classes_at_a_mean() -> None:
    clean = torch.tensor([0.9, 0.8, 0.5, 0.4, 0.6, float("nan")])
    robust = torch.tensor([0.5, 0.1, 0.6, 0.2, 0.35, 0.4])
    groups = class_groups(clean, robust, 0.6, 0.35)
    assert groups.tolist() == [3, 2, 1, 0, -1, -1]
    assert class_groups(clean[:1], robust[:1], 0.9, 0.35).tolist() == [-1]
    draws = torch.rand(200, 2, generator=Generator().manual_seed(0))
    found = class_groups(draws[:, 0], draws[:, 1], 0.5, 0.5)
    for group in range(4):
        members = found == group
        assert (members == (((draws > 0.5).long() @ torch.tensor([2, 1])) == group)).all()


def test_group_pairing_equals_a_loop() -> None:
    groups = torch.tensor([0, 2, 2, 1, -1])
    expected = torch.zeros((), dtype=torch.float64)
    for group in range(4):
        members = [i for i in range(N) if groups[Y[i]] == group]
        if members:
            expected = expected + (CLEAN[members] - MOVED[members]).square().mean()
    assert torch.allclose(group_pairing(CLEAN, MOVED, Y, groups), expected, rtol=1e-12)
    no_group = torch.full((C,), -1)
    assert group_pairing(CLEAN, MOVED, Y, no_group) == 0


def test_smoothing_sums_over_logits() -> None:
    expected = C * (CLEAN - MOVED).square().mean()
    assert torch.allclose(start_smoothing(CLEAN, MOVED), expected)
