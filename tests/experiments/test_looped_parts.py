"""What the experiments on looped attention share: second moments, and the best multiple of I."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from statformer.experiments._looped import D, best_scalar, second_moments

N_TASKS = 20_000


@pytest.mark.parametrize("n", [3, 8])
def test_second_moments_are_those_of_gaussian_points(n: int) -> None:
    eigenvalues = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    S = second_moments(N_TASKS, n, eigenvalues, np.random.default_rng(0))
    rng = np.random.default_rng(1)
    X = torch.from_numpy(rng.standard_normal((N_TASKS, n, 3))) * eigenvalues.sqrt()
    direct = X.mT @ X / n
    for power in (1, 2):
        ours, theirs = (torch.linalg.matrix_power(M, power) for M in (S, direct))
        spread = (ours.std(0) + theirs.std(0)) / N_TASKS**0.5
        assert ((ours.mean(0) - theirs.mean(0)).abs() < 5 * spread).all()
    torch.testing.assert_close(S.mean(0), torch.diag(eigenvalues), atol=0.06, rtol=0)


def test_too_few_points_are_refused() -> None:
    with pytest.raises(ValueError, match="2 points of 3 features"):
        second_moments(1, 2, torch.ones(3, dtype=torch.float64), np.random.default_rng(0))


def test_the_best_multiple_is_the_known_one() -> None:
    rng = np.random.default_rng(0)
    assert best_scalar(20, 1, rng) == (20 / (20 + D + 1), D * (D + 1) / (20 + D + 1))
    a, loss = best_scalar(20, 2, rng, n_tasks=40_000)
    np.testing.assert_allclose([a, loss], [0.63, 2.10], rtol=0.02)  # related work, Monte Carlo
