"""The adjoint gives the gradient, the energy law holds, and the limit is its own equations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from statformer.nn.mean_field import Cloud, MeanFieldTransformer
from statformer.nn.mean_field_encoders import MeanAttention, MeanFeedForward
from statformer.objectives.mean_field import (
    adjoint,
    flow,
    mean_square,
    objective,
    risk,
)
from statformer.objectives.mean_field_limit import field_at, limit

B, L, M, N, TOKENS, D, S = 2, 3, 4, 6, 5, 3, 4
READ = 1
PENALTY = 0.07


def data(seed: int = 0) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(seed)
    return (
        torch.from_numpy(rng.uniform(-1, 1, (N, TOKENS, D))),
        torch.from_numpy(rng.uniform(-1, 1, N)),
    )


def network(
    sigma_a: str = "softmax", sigma_m: str | None = "huber", n_layers: int = L
) -> MeanFieldTransformer:
    rng = np.random.default_rng(2)
    cloud = Cloud.uniform_in_ball(B, n_layers, M, D, S if sigma_m else 0, 5.0, rng)
    h = MeanFeedForward(sigma_m) if sigma_m else None
    return MeanFieldTransformer(cloud, READ, MeanAttention(sigma_a), h)


def by_autograd(net: MeanFieldTransformer, penalty: float | Tensor) -> dict[str, Tensor]:
    """M L dQ/d beta."""
    H, y = data()
    Q = objective(net, H, y, penalty).sum()
    slopes = torch.autograd.grad(Q, list(net.parameters()))
    names = [name for name, _ in net.named_parameters()]
    return {
        name: net.n_layers * net.n_particles * slope
        for name, slope in zip(names, slopes, strict=True)
    }


@pytest.mark.parametrize("sigma_a", ["softmax", "relu"])
@pytest.mark.parametrize("sigma_m", ["huber", "relu", None])
def test_the_field_is_the_scaled_gradient(sigma_a: str, sigma_m: str | None) -> None:
    net = network(sigma_a, sigma_m)
    found, expected = flow(net, *data(), PENALTY).fields, by_autograd(net, PENALTY)
    assert set(found) == set(expected)
    for name, slope in expected.items():
        assert slope.abs().max() > 1e-2
        assert (found[name] - slope).abs().max() < 1e-10 * slope.abs().max()


def test_an_adjoint_of_the_step_before_is_no_gradient() -> None:
    """Each encoder is paired with p after its own step; that before it is off by O(1 / L)."""
    net = network()
    H, y = data()
    found = adjoint(net, H, y)
    expected = by_autograd(net, PENALTY)
    layer, f = net.steps()[2]
    weights = net.weights(layer, f)
    for place, agrees in ((2, True), (1, False), (3, False)):
        field = field_at(f, found.states[2], found.adjoints[place], weights, PENALTY)
        gap = (field[0] - expected["V"][:, layer]).abs().max()
        assert (gap < 1e-12) == agrees, place


def test_the_adjoint_is_the_derivative_through_every_state() -> None:
    net = network()
    H, y = data()
    found = adjoint(net, H, y)
    T = found.states[0].clone().requires_grad_()
    states = [T]
    for layer, encoder in net.steps():
        states.append(states[-1] + 0.5 / L * encoder.mean(states[-1], *net.weights(layer, encoder)))
    total = 0.5 * (states[-1][:, :, -1, READ] - y).square().sum()
    slopes = torch.autograd.grad(total, states[1:])
    assert len(slopes) == len(found.adjoints)
    for slope, p in zip(slopes, found.adjoints, strict=True):
        torch.testing.assert_close(p, slope, rtol=1e-11, atol=1e-13)


def test_risk_and_objective_are_their_formulas() -> None:
    net = network()
    H, y = data()
    answers = net.path(H)[-1][:, :, -1, READ].detach()
    expected = 0.5 * ((answers - y) ** 2).mean(1)
    total = sum(float(weight[0].detach().square().sum()) for weight in net.parameters())
    found = flow(net, H, y, PENALTY)
    torch.testing.assert_close(risk(net, H, y).detach(), expected)
    torch.testing.assert_close(found.risk, expected)
    assert float(mean_square(dict(net.named_parameters()))[0].detach()) == pytest.approx(
        total / (M * L)
    )
    Q = float(expected[0]) + PENALTY / (2 * M * L) * total
    assert float(found.objective[0]) == pytest.approx(Q, rel=1e-12)
    assert float(objective(net, H, y, PENALTY)[0].detach()) == pytest.approx(Q, rel=1e-12)


def test_each_run_may_have_its_own_penalty() -> None:
    net, penalties = network(), torch.tensor([0.01, 0.3], dtype=torch.float64)
    found = flow(net, *data(), penalties)
    for run, penalty in enumerate(penalties.tolist()):
        alone = flow(net, *data(), penalty)
        torch.testing.assert_close(found.objective[run], alone.objective[run])
        torch.testing.assert_close(found.fields["W1"][run], alone.fields["W1"][run])


def test_the_objective_falls_at_the_rate_of_the_energy_law() -> None:
    net, step = network(), 1e-4
    first = flow(net, *data(), PENALTY)
    with torch.no_grad():
        for name, weight in net.named_parameters():
            weight.sub_(step * first.fields[name])
    second = flow(net, *data(), PENALTY)
    rate = (second.objective - first.objective) / step
    mean = 0.5 * (first.dissipation + second.dissipation)
    torch.testing.assert_close(rate, -mean, rtol=1e-4, atol=0.0)


def test_the_limit_is_what_another_solver_finds() -> None:
    net = network(n_layers=2)
    H, y = data()
    found = limit(net, H, y, 16)
    for layer in range(2):

        def velocity(t: float, flat: np.ndarray, layer: int = layer) -> np.ndarray:
            T = torch.from_numpy(flat.reshape(B, N, TOKENS, D))
            with torch.no_grad():
                parts = [e.mean(T, *net.weights(layer, e)) for e in net.encoders()]
            return 0.5 * sum(part.numpy() for part in parts).ravel()

        start = found.states[layer].numpy().ravel()
        solved = solve_ivp(velocity, (0.0, 0.5), start, "DOP853", rtol=1e-12, atol=1e-12)
        end = torch.from_numpy(solved.y[:, -1].reshape(B, N, TOKENS, D))
        torch.testing.assert_close(found.states[layer + 1], end, rtol=1e-7, atol=1e-8)


def test_the_limits_adjoint_is_the_derivative_of_its_risk() -> None:
    """Central differences through the forward equation; an exponential of the integral fails."""
    net = network()
    H, y = data()
    found = limit(net, H, y, 16)
    rng = np.random.default_rng(3)
    direction = torch.from_numpy(rng.standard_normal((N, TOKENS, D)))
    ends = []
    for side in (1e-4, -1e-4):
        last = limit(net, H + side * direction, y, 16).states[-1]
        ends.append(0.5 * (last[:, :, -1, READ] - y).square())
    slope = (ends[0] - ends[1]) / 2e-4
    by_adjoint = (found.adjoints[0] * direction).sum((2, 3))
    torch.testing.assert_close(by_adjoint, slope, rtol=1e-4, atol=1e-6)
    assert (_exponential(net, found, y)[0, 0] - found.adjoints[0][0, 0]).abs().max() > 1e-4


def _exponential(net: MeanFieldTransformer, found: object, y: Tensor) -> Tensor:
    """exp(integral of the Jacobian)' p(1) for the first run and sequence, by the trapezium rule."""
    states = found.states  # type: ignore[attr-defined]
    size = TOKENS * D
    total = torch.zeros(size, size, dtype=torch.float64)
    for layer in range(L):
        for place in (layer, layer + 1):

            def velocity(flat: Tensor, layer: int = layer) -> Tensor:
                T = flat.reshape(1, 1, TOKENS, D)
                parts = [
                    e.mean(T, *(weight[:1] for weight in net.weights(layer, e)))
                    for e in net.encoders()
                ]
                return 0.5 * sum(parts).reshape(-1)  # type: ignore[return-value]

            J = torch.autograd.functional.jacobian(velocity, states[place][0, 0].reshape(-1))
            total += J.detach() / (2 * L)
    p = torch.zeros(size, dtype=torch.float64)
    p[(TOKENS - 1) * D + READ] = states[-1][0, 0, -1, READ] - y[0]
    return (torch.linalg.matrix_exp(total).mT @ p).reshape(1, 1, TOKENS, D)


def test_networks_approach_the_limit_at_rate_one_over_depth() -> None:
    H, y = data()
    rng = np.random.default_rng(5)
    cloud = Cloud.uniform_in_ball(B, 1, M, D, S, 5.0, rng)
    fine = limit(MeanFieldTransformer(cloud, READ), H, y, 64)
    errors = []
    for n_layers in (8, 16, 32):
        found = adjoint(MeanFieldTransformer(cloud.refined(n_layers), READ), H, y)
        errors.append(
            [
                float((found.states[-1] - fine.states[-1]).abs().max()),
                float((found.adjoints[0] - fine.adjoints[0]).abs().max()),
            ]
        )
    ratios = np.array(errors[:-1]) / np.array(errors[1:])
    assert ((ratios > 1.8) & (ratios < 2.2)).all()


@pytest.mark.parametrize("n_steps", [0, 3])
def test_an_odd_number_of_steps_is_refused(n_steps: int) -> None:
    with pytest.raises(ValueError, match=f"n_steps={n_steps}: pass an even"):
        limit(network(), *data(), n_steps)
