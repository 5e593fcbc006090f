"""Losses of conditional laws against counting by hand."""

from __future__ import annotations

import math

import pytest
import torch

from statformer.objectives.bayes_net import context_frequencies, cross_entropy, l1_loss
from statformer.tasks.bayes_net import BayesNetPrior
from statformer.tasks.stream import TaskStream


def test_frequencies_are_those_of_the_prior_and_back_off_to_all_rows() -> None:
    batch = BayesNetPrior("general", n_rows=13).sample(TaskStream(0, 0, range(200)))
    known, matching = batch.frequencies(12, batch.adjacency)
    backed_off = 0
    for target in range(5):
        found = context_frequencies(
            batch.X[:, :-1], batch.X[:, -1], target, batch.adjacency[:, target], 2
        )
        for i in range(200):
            if matching[i, target]:
                torch.testing.assert_close(found[i], known[i, target])
            else:
                backed_off += 1
                share = (batch.X[i, :-1, target] == 1).float().mean().item()
                assert found[i, 1].item() == pytest.approx(share)
    assert backed_off > 5


def test_l1_of_two_categories_is_the_difference_of_one() -> None:
    p, law = torch.tensor([[0.3, 0.7]]), torch.tensor([[0.5, 0.5]])
    assert l1_loss(p, law).item() == pytest.approx(0.2)


def test_cross_entropy_is_finite_for_a_certain_and_wrong_answer() -> None:
    p = torch.tensor([[0.25, 0.75], [1.0, 0.0]])
    found = cross_entropy(p, torch.tensor([1, 1]))
    assert found[0].item() == pytest.approx(-math.log(0.75))
    assert found[1].item() == pytest.approx(-math.log(1e-6))
