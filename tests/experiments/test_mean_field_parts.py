"""Shared by the experiments on mean-field Transformers: task, flow, limit, slope."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from statformer.experiments._mean_field import (
    N_CONTEXT,
    N_SEQUENCES,
    PENALTY,
    READ,
    D,
    S,
    cloud,
    limit_risk,
    network,
    power_law,
    sequences,
    train,
    train_clouds,
)
from statformer.experiments.mean_field_bound import DELTA, gap_bound
from statformer.experiments.mean_field_descent import growth
from statformer.nn.mean_field import Cloud, MeanFieldTransformer
from statformer.objectives.mean_field import flow, mean_square, objective, risk


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_a_sequence_is_a_line_and_its_query() -> None:
    H, y = sequences(rng())
    assert H.shape == (N_SEQUENCES, N_CONTEXT + 1, D)
    w = H[:, 0, READ] / H[:, 0, 0]
    torch.testing.assert_close(H[:, :-1, READ], w[:, None] * H[:, :-1, 0])
    torch.testing.assert_close(y, w * H[:, -1, 0])
    assert (H[:, -1, READ] == 0).all()
    assert (H[:, -1, 2] == 1).all()
    assert (H[:, :-1, 2] == 0).all()


def test_the_flow_is_eulers_method_on_the_scaled_gradient() -> None:
    task, particles, step = sequences(rng()), cloud(rng(1), 2, 2, 3), 0.7
    track = train(network(particles), task, 3, step=step)
    net = network(particles)
    for k in range(4):
        Q = objective(net, *task, PENALTY)
        torch.testing.assert_close(track.objective[k], Q.detach())
        torch.testing.assert_close(track.risk[k], risk(net, *task).detach())
        square = mean_square(dict(net.named_parameters())).detach()
        torch.testing.assert_close(track.square[k], square)
        slopes = torch.autograd.grad(Q.sum(), list(net.parameters()))
        with torch.no_grad():
            for weight, slope in zip(net.parameters(), slopes, strict=True):
                weight.sub_(step * 2 * 3 * slope)
    assert track.risk.shape == (4, 2)
    slow = train(network(particles), task, 3, step=step, scaled=False)
    by_hand = train(network(particles), task, 3, step=step / 6)
    torch.testing.assert_close(slow.risk, by_hand.risk)


def test_runs_in_parts_are_the_same_runs() -> None:
    task, particles = sequences(rng()), cloud(rng(1), 3, 2, 100)
    together = train(network(particles), task, 2)
    parts = train_clouds(particles, task, 2)
    for one, other in zip(parts, together, strict=True):
        torch.testing.assert_close(one, other)


def test_a_run_that_diverges_is_infinite_from_then_on() -> None:
    task, particles = sequences(rng()), cloud(rng(1), 2, 4, 4)
    found = train_clouds(particles, task, 6, louder=200.0).risk
    assert found.shape == (7, 2)
    assert torch.isfinite(found[0]).all()
    assert torch.isinf(found[-1]).all()


@pytest.mark.parametrize("louder", [2.0, 7.0])
def test_the_faults_gradients_are_its_own(louder: float) -> None:
    task, net = sequences(rng()), network(cloud(rng(1), 2, 2, 3), louder)
    found = flow(net, *task, PENALTY).fields
    slopes = torch.autograd.grad(objective(net, *task, PENALTY).sum(), list(net.parameters()))
    for name, slope in zip(found, slopes, strict=True):
        torch.testing.assert_close(found[name], 6 * slope)
    quiet = network(cloud(rng(1), 2, 2, 3))(task.H)
    assert (net(task.H) - quiet).abs().max() > 1e-2


def test_the_limit_of_depth_is_of_second_order() -> None:
    task, particles = sequences(rng()), cloud(rng(1), 1, 2, 8)
    _, best = limit_risk(particles.refined(16), task, 2)
    first, second = [], []
    for times in (2, 4):
        here, extrapolated = limit_risk(particles.refined(times), task, 2)
        first.append(float((here - best).abs().max()))
        second.append(float((extrapolated - best).abs().max()))
    assert 1.7 < first[0] / first[1] < 2.4
    assert second[0] / second[1] > 3.0
    assert second[1] < first[1] / 5


@pytest.mark.parametrize(
    ("slope", "noise", "status"),
    [(-0.5, 0.01, "holds"), (-0.8, 0.01, "fails"), (-0.1, 0.01, "fails"), (-0.5, 3.0, "undecided")],
)
def test_a_power_is_two_sided(slope: float, noise: float, status: str) -> None:
    x = np.tile([4.0, 16.0, 64.0, 256.0], 10)
    y = x**slope * np.exp(noise * rng().standard_normal(40))
    fit, verdict = power_law(x, y, np.repeat(np.arange(10), 4), -0.5, "the gap")
    assert verdict.status == status
    assert fit is not None
    y[3] = np.inf
    fit, verdict = power_law(x, y, np.repeat(np.arange(10), 4), -0.5, "the gap")
    assert fit is None
    assert verdict.status == "fails"


def test_aligned_particles_nearly_use_the_sharper_bound_and_whole_steps_break_it() -> None:
    """V = I and equal tokens grow by (1 + 1 / 2L)^L, which is exp(1/2) up to 1 / L."""
    depth = 64
    eye = torch.eye(D, dtype=torch.float64).expand(1, depth, 2, D, D).clone()
    nothing = torch.zeros(1, depth, 2, S, D, dtype=torch.float64)
    particles = Cloud(eye, torch.zeros_like(eye), nothing, nothing.mT.clone())
    H = torch.ones(3, 4, D, dtype=torch.float64)
    net = MeanFieldTransformer(particles, READ)
    square = mean_square(dict(net.named_parameters())).detach()
    found = growth(net, H, square)
    assert found["log_growth"] == pytest.approx(depth * math.log1p(0.5 / depth))
    assert 0.98 < found["growth_use"] <= 1.0
    assert found["lemma_use"] == pytest.approx(found["log_growth"] / (1.0 + math.sqrt(D) + D))
    assert growth(network(particles, 2.0), H, square)["growth_use"] > 1.9
    assert growth(network(particles, 30.0), H, square)["lemma_use"] > 1.0


def test_the_bound_is_that_of_the_theorem() -> None:
    assert 1.0 - 3.0 * math.exp(-DELTA) == pytest.approx(0.95)
    assert gap_bound(100, 4) == pytest.approx(0.25 + math.sqrt((DELTA + math.log(5)) / 100))
