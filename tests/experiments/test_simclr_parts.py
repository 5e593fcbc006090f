"""What the SimCLR experiments share: descents, and vectors drawn by their coordinates."""

from __future__ import annotations

import pytest
import torch

from statformer.experiments._simclr import (
    GROWTH,
    LOSS,
    POWER,
    cosines,
    fine_tune,
    n_pre_training_steps,
    pre_train,
    pre_trained,
    step_size,
    wrong,
)
from statformer.experiments._simclr_coordinates import gaussian_coordinates
from statformer.nn.vision import Linear, PatchClassifier, PatchEncoder, ReluPower
from statformer.objectives.contrastive import (
    InfoNCE,
    other_points,
    power_matrix,
    single_modal_loss,
)
from statformer.tasks.patch_views import with_fresh_noise
from statformer.tasks.signal_noise import SignalNoisePrior
from statformer.tasks.stream import TaskStream


def stream(n_tasks: int, seed: int = 0) -> TaskStream:
    return TaskStream(seed, 0, range(n_tasks), dtype=torch.float64)


def test_pre_training_is_descent_on_the_loss_of_both_patches() -> None:
    prior = SignalNoisePrior(8, 30, signal_norm=2.0, sigma=1.0)
    draws = stream(2)
    batch = prior.sample(draws)
    view = with_fresh_noise(batch, prior, draws)
    W = 0.01 * draws.normal(4, 30)
    found = pre_trained(W, batch, view, 3)
    eta = step_size(batch.X.sum(2), view.X.sum(2))
    encoder = PatchEncoder(W.clone(), Linear())
    objective = InfoNCE(1.0, "embedding", stop_gradient=False)
    for _ in range(3):
        loss = single_modal_loss(objective, encoder, batch.X, view.X, other_points(batch.y))
        (slope,) = torch.autograd.grad(loss.sum(), [encoder.W])
        encoder = PatchEncoder(encoder.W.detach() - eta[:, None, None] * slope, Linear())
    torch.testing.assert_close(found, encoder.W.detach(), rtol=1e-9, atol=1e-12)


def test_small_filters_grow_along_the_first_eigenvector_as_said() -> None:
    draws = stream(1)
    Z, views = draws.normal(10, 15), draws.normal(10, 15)
    u = torch.linalg.eigh(power_matrix(Z, views, 1.0))[1][:, :, -1]
    found = pre_train(1e-6 * u[:, None], Z, views, 1)
    torch.testing.assert_close(found, (1 + GROWTH) * 1e-6 * u[:, None], rtol=1e-6, atol=0.0)
    assert (1 + GROWTH) ** n_pre_training_steps(1e-4) == pytest.approx(1e4, rel=GROWTH)


def test_fine_tuning_ends_at_its_loss_and_records_the_end() -> None:
    prior = SignalNoisePrior(12, 40, signal_norm=4.0, sigma=0.1)
    draws = stream(2)
    batch = prior.sample(draws)
    network = PatchClassifier(0.1 * draws.normal(2, 3, 40), ReluPower(POWER))
    found = fine_tune(
        network, batch.X, batch.y, batch.X, batch.y, 2000, times=frozenset({0, 7, 10_000})
    )
    assert found.times[:2] == [0, 7]
    assert found.times[-1] < 2000
    assert bool((found.train_loss[-1] < LOSS).all())
    assert bool((found.train_loss[0] > LOSS).all())
    torch.testing.assert_close(found.train_loss, found.test_loss)
    assert found.train_error[-1].tolist() == [0.0, 0.0]


def test_an_answer_of_zero_is_half_wrong() -> None:
    f = torch.tensor([[2.0, -1.0, 0.0, 0.0]])
    y = torch.tensor([[1.0, 1.0, 1.0, -1.0]])
    assert wrong(f, y).tolist() == [0.5]


def test_cosines_tell_the_side() -> None:
    mu = torch.tensor([[0.0, 3.0]], dtype=torch.float64)
    W = torch.tensor([[[0.0, 2.0], [0.0, -5.0], [1.0, 1.0]]], dtype=torch.float64)
    torch.testing.assert_close(
        cosines(W, mu), torch.tensor([[1.0, -1.0, 0.5**0.5]], dtype=torch.float64)
    )


def test_coordinates_have_the_products_of_gaussian_vectors() -> None:
    n_runs, v, d = 20_000, 4, 9
    R = gaussian_coordinates(v, d, stream(n_runs))
    G = R @ R.mT
    X = stream(n_runs, seed=1).normal(v, d)
    drawn = X @ X.mT
    rows, columns = torch.tril_indices(v, v)
    # Var |x|^2 = 2 d, Var <x, y> = d; Cov of two products of a triangle comes in at third order.
    for power in (1, 2):
        first, second = (one[:, rows, columns] ** power for one in (G, drawn))
        error = (first.var(0) / n_runs + second.var(0) / n_runs).sqrt()
        assert bool(((first.mean(0) - second.mean(0)).abs() < 4.5 * error).all())
    triangle = [(one[:, 0, 1] * one[:, 1, 2] * one[:, 2, 0]).mean() for one in (G, drawn)]
    assert triangle[0] == pytest.approx(d, abs=0.8)
    assert triangle[1] == pytest.approx(d, abs=0.8)


def test_more_vectors_than_features_are_refused() -> None:
    with pytest.raises(ValueError, match="n_vectors=5: pass 1 to n_features=4"):
        gaussian_coordinates(5, 4, stream(1))
