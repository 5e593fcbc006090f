"""Priors of principal components and of two classes: what the docstrings say they are."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from statformer.reference.power_iteration import covariance, exact_eigenpairs
from statformer.tasks.eigenpairs import eigen_batch
from statformer.tasks.spiked_covariance import (
    PaperGaussianPrior,
    SpikedCovariancePrior,
    TwoClassPrior,
)
from statformer.tasks.stream import TaskStream

PRIORS = {
    "spiked": SpikedCovariancePrior(n_points=20, n_features=6, n_spikes=2),
    "paper": PaperGaussianPrior(n_points=12, n_features=4),
    "two classes": TwoClassPrior(n_points=20, n_features=6, radius=(0.5, 3.0)),
}


def stream(tasks: range = range(8), **options: object) -> TaskStream:
    return TaskStream(0, 0, tasks, **options)


@pytest.mark.parametrize("name", PRIORS)
def test_a_task_does_not_depend_on_the_batch_around_it(name: str) -> None:
    whole, part = PRIORS[name].sample(stream()), PRIORS[name].sample(stream(range(3, 5)))
    torch.testing.assert_close(whole.X[3:5], part.X)
    assert not torch.isclose(whole.X[3], whole.X[4]).any()
    for key, value in whole.latent.items():
        torch.testing.assert_close(value[3:5], part.latent[key])


@pytest.mark.parametrize("name", ["spiked", "paper"])
def test_targets_are_those_of_the_centred_covariance(name: str) -> None:
    batch = PRIORS[name].sample(stream(dtype=torch.float64))
    for X, values, vectors in zip(batch.X, batch.eigenvalues, batch.eigenvectors, strict=True):
        S = covariance(X.numpy())
        exact = exact_eigenpairs(S, len(S))
        np.testing.assert_allclose(values, exact.values, rtol=1e-10)
        np.testing.assert_allclose(np.abs(np.sum(vectors.numpy() * exact.vectors, axis=1)), 1.0)
        assert (np.diff(values) < 0).all()


def test_fewer_points_than_columns_leave_eigenvalues_of_zero() -> None:
    values = PaperGaussianPrior(n_points=3, n_features=5).sample(stream()).eigenvalues
    assert (values >= 0).all()
    assert values[:, 2:].max() < 1e-5
    with pytest.raises(ValueError, match="needs at least 2"):
        eigen_batch(torch.ones(1, 1, 3))


def test_the_population_of_the_spiked_prior_is_the_one_in_latent() -> None:
    prior = SpikedCovariancePrior(
        n_points=200_000, n_features=5, n_spikes=2, spike=(2.0, 9.0), noise=3.0
    )
    batch = prior.sample(stream(range(2), dtype=torch.float64))
    U, s = batch.latent["subspace"], batch.latent["spikes"]
    torch.testing.assert_close(U @ U.mT, torch.eye(2).double().expand(2, 2, 2))
    assert ((s >= 2.0) & (s <= 9.0)).all()
    assert (s[:, 0] >= s[:, 1]).all()
    Sigma = 9.0 * (torch.eye(5) + U.mT @ torch.diag_embed(s) @ U)
    torch.testing.assert_close(torch.stack([x.T.cov() for x in batch.X]), Sigma, atol=0.5, rtol=0.0)


def test_the_subspace_of_the_spiked_prior_points_anywhere() -> None:
    prior = SpikedCovariancePrior(n_points=2, n_features=3, n_spikes=1)
    U = prior.sample(stream(range(4000))).latent["subspace"][:, 0]
    assert U.mean(0).abs().max() < 0.05
    torch.testing.assert_close(U.T @ U / 4000, torch.eye(3) / 3, atol=0.03, rtol=0.0)


def test_the_papers_instances_have_covariance_l_l() -> None:
    batch = PaperGaussianPrior(200_000, 3).sample(stream(range(2), dtype=torch.float64))
    L = batch.latent["L"]
    torch.testing.assert_close(
        torch.stack([x.T.cov() for x in batch.X]), L @ L.mT, atol=0.1, rtol=0
    )
    shift = PaperGaussianPrior(2, 2).sample(stream(range(40_000))).latent["L"].mean(0)
    torch.testing.assert_close(shift, 0.1 * torch.eye(2), atol=0.02, rtol=0.0)


def test_the_two_classes_are_opposite() -> None:
    prior = TwoClassPrior(n_points=4000, n_features=3, radius=2.0, sigma=0.5)
    batch = prior.sample(stream(range(3), dtype=torch.float64))
    theta = batch.latent["theta"]
    torch.testing.assert_close(theta.norm(dim=-1), torch.full((3,), 2.0).double())
    for X, y, centre in zip(batch.X, batch.y, theta, strict=True):
        for label, sign in ((0, -1.0), (1, 1.0)):
            points = X[y == label]
            assert abs(len(points) / 4000 - 0.5) < 0.05
            torch.testing.assert_close(points.mean(0), sign * centre, atol=0.06, rtol=0.0)
            torch.testing.assert_close(
                points.std(0), torch.full((3,), 0.5).double(), atol=0.03, rtol=0
            )
    assert batch.n_components.tolist() == [2, 2, 2]
    radius = PRIORS["two classes"].sample(stream(range(500))).latent["radius"]
    assert 0.5 < radius.min() < 0.6
    assert 2.9 < radius.max() < 3.0


def test_one_class_alone_is_counted_as_one() -> None:
    batch = TwoClassPrior(n_points=2, n_features=1).sample(stream(range(50)))
    same = batch.y[:, 0] == batch.y[:, 1]
    assert 0 < same.sum() < 50
    torch.testing.assert_close(batch.n_components, torch.where(same, 1, 2))


def test_errors_name_the_remedy() -> None:
    with pytest.raises(ValueError, match="n_spikes=4"):
        SpikedCovariancePrior(n_features=3, n_spikes=4)
    with pytest.raises(ValueError, match="spike="):
        SpikedCovariancePrior(spike=(0.0, 1.0))
