"""Divergence and total variation on distributions whose values are known."""

from __future__ import annotations

import math

import pytest
import torch

from statformer.objectives.parent_sets import divergence, surprise, variation


def test_values_by_hand() -> None:
    truth = torch.tensor([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]])
    p = torch.tensor([[0.25, 0.5, 0.25], [1.0, 0.0, 0.0]])
    assert divergence(p, truth).tolist() == pytest.approx([0.5 * math.log(2.0), 0.0], abs=1e-7)
    assert variation(p, truth).tolist() == pytest.approx([0.25, 0.0], abs=1e-7)


def test_the_truth_is_the_best_answer() -> None:
    truth = torch.tensor([0.2, 0.7, 0.1], dtype=torch.float64)
    logits = truth.log().requires_grad_()
    divergence(torch.softmax(logits, 0), truth).backward()
    assert logits.grad is not None
    assert logits.grad.abs().max().item() < 1e-12
    assert divergence(torch.full((3,), 1 / 3, dtype=torch.float64), truth).item() > 0.1


def test_surprise_counts_the_tasks_whose_truth_is_a_candidate() -> None:
    logits = torch.tensor([[0.0, math.log(3.0)], [5.0, 1.0], [0.0, 0.0]])
    found = surprise(logits, torch.tensor([1, -1, 0]))
    assert found.item() == pytest.approx(0.5 * (math.log(4 / 3) + math.log(2.0)), abs=1e-6)
    assert surprise(logits, torch.full((3,), -1)).item() == 0.0
