"""The priors of linear regressions are what their docstrings say."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from statformer.tasks.linear_regression import (
    CovariateRegressionPrior,
    LinearRegressionPrior,
    LinearRegressions,
)
from statformer.tasks.stream import TaskStream

N_TASKS = 4000


def draw(prior: LinearRegressionPrior | CovariateRegressionPrior) -> LinearRegressions:
    return prior.sample(TaskStream(3, 0, range(N_TASKS), dtype=torch.float64))


def test_labels_are_those_of_the_weights_and_the_noise() -> None:
    tasks = draw(LinearRegressionPrior(5, 8, noise_stds=(0.1, 0.5, 2.0)))
    noise = tasks.y - torch.einsum("bnd,bd->bn", tasks.X, tasks.w)
    for sigma in (0.1, 0.5, 2.0):
        of_this = tasks.noise_std == sigma
        assert abs(of_this.double().mean() - 1 / 3) < 0.03
        assert abs(noise[of_this].std() / sigma - 1) < 0.03
    at_query = tasks.target - (tasks.query * tasks.w).sum(1)
    assert abs((at_query / tasks.noise_std).std() - 1) < 0.05
    assert abs(tasks.w.square().sum(1).mean() - 1) < 0.05
    assert abs(tasks.X.std() - 1) < 0.02


def test_sparse_weights() -> None:
    tasks = draw(LinearRegressionPrior(6, 4, noise_stds=(0.0,), n_active=2))
    assert ((tasks.w != 0).sum(1) == 2).all()
    assert ((tasks.w != 0).double().mean(0) - 1 / 3).abs().max() < 0.03
    assert abs(tasks.w.square().sum(1).mean() - 1) < 0.06
    torch.testing.assert_close(tasks.target, (tasks.query * tasks.w).sum(1))


def test_covariates_have_their_covariance_and_labels_do_not_show_it() -> None:
    eigenvalues = (0.25, 1.0, 9.0)
    tasks = draw(CovariateRegressionPrior(eigenvalues, 6))
    S = torch.einsum("bni,bnj->ij", tasks.X, tasks.X) / (6 * N_TASKS)
    torch.testing.assert_close(
        S, torch.diag(torch.tensor(eigenvalues).double()), atol=0.2, rtol=0.05
    )
    torch.testing.assert_close(
        tasks.w.square().mean(0), 1 / torch.tensor(eigenvalues).double(), atol=0, rtol=0.1
    )
    assert abs(tasks.y.square().mean() - 3) < 0.2
    torch.testing.assert_close(tasks.y, torch.einsum("bnd,bd->bn", tasks.X, tasks.w))


def test_a_task_does_not_depend_on_its_batch() -> None:
    prior = LinearRegressionPrior(3, 4, noise_stds=(0.1, 1.0), n_active=2)
    whole = prior.sample(TaskStream(0, 0, range(5)))
    part = prior.sample(TaskStream(0, 0, range(3, 4)))
    for name, value in vars(part).items():
        torch.testing.assert_close(vars(whole)[name][3:4], value)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (partial(LinearRegressionPrior, 0), "pass at least 1 of each"),
        (partial(LinearRegressionPrior, noise_stds=()), "noise_stds"),
        (partial(LinearRegressionPrior, noise_stds=(-1.0,)), "noise_stds"),
        (partial(LinearRegressionPrior, 3, n_active=4), "n_active=4"),
        (partial(CovariateRegressionPrior, (1.0, 0.0)), "eigenvalues"),
        (partial(CovariateRegressionPrior, n_context=0), "0 context points"),
    ],
)
def test_bad_arguments_are_named(make: partial, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()
