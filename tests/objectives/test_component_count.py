"""The log score of P(K | X), and how far the most probable K is from the truth."""

from __future__ import annotations

import math

import torch

from statformer.objectives.component_count import count_errors, log_score

P = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6], [0.0, 1.0, 0.0]], dtype=torch.float64)


def test_the_log_score_is_the_surprise_at_the_truth() -> None:
    scores = log_score(torch.log(P), torch.tensor([1, 2, 2]))
    expected = torch.tensor([-math.log(0.7), -math.log(0.3), 0.0], dtype=torch.float64)
    torch.testing.assert_close(scores, expected)


def test_an_impossible_truth_costs_much_but_not_everything() -> None:
    log_p = torch.log(P).requires_grad_()
    score = log_score(log_p, torch.tensor([1, 1, 3]))[2]
    assert abs(score.item() + math.log(1e-9)) < 0.1
    score.backward()
    assert log_p.grad is not None
    assert bool(log_p.grad.isfinite().all())


def test_the_truth_has_the_best_expected_score() -> None:
    """A proper score: no other answer does better on average."""
    truth = P[0]

    def expected_score(answer: torch.Tensor) -> float:
        every = log_score(torch.log(answer).expand(3, 3), torch.tensor([1, 2, 3]))
        return float((truth * every).sum())

    assert expected_score(truth) < min(
        expected_score(torch.tensor(p, dtype=torch.float64))
        for p in ([0.9, 0.05, 0.05], [0.5, 0.3, 0.2], [1 / 3, 1 / 3, 1 / 3], [0.7, 0.1, 0.2])
    )


def test_exactness_and_distance_of_the_most_probable_count() -> None:
    exact, error = count_errors(torch.log(P), torch.tensor([1, 1, 3]))
    assert exact.tolist() == [1.0, 0.0, 0.0]
    assert error.tolist() == [0.0, 2.0, 1.0]
