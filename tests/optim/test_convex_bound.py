"""AdaGrad++ under a bound that can be computed, on a convex function with a kink in every term.

For exact subgradients of a convex f with minimiser x*, with xbar the eta-weighted mean of
x_0..x_{T-1}, D the largest |x_{t,i} - x*_i| for t <= T, and H the sum of delta + s_{T-1},

    f(xbar) - f(x*) <= (D^2 H / 2 + eta_{T-1}^2 sum_i s_{T-1,i}) / sum_{t<T} eta_t.

Ours, not the paper's: expand ||x_{t+1} - x*||^2 in the norm of H_t, which never falls, telescope,
and use sum_t g_t^2 / s_t <= 2 s_{T-1} in every coordinate.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from optim.forms import FAST, TWIN, eta_of, normal

DELTA = 1e-8
N_FEATURES = 6


@dataclass(frozen=True)
class PiecewiseLinear:
    """f(x) = sum_j w_j |a_j' (x - x*)|, so f(x*) = 0."""

    A: Tensor
    w: Tensor
    minimum: Tensor

    def value(self, x: Tensor) -> float:
        return (self.w * (self.A @ (x - self.minimum)).abs()).sum().item()

    def subgradient(self, x: Tensor) -> Tensor:
        return self.A.T @ (self.w * (self.A @ (x - self.minimum)).sign())


PROBLEM = PiecewiseLinear(
    A=normal((9, N_FEATURES), 1), w=normal((9,), 2).abs() + 0.1, minimum=3.0 * normal(6, 3)
)


@dataclass(frozen=True)
class Run:
    gap: float
    bound: float
    etas: Tensor
    xs: Tensor  # T+1 points


def run(make, eta0: float, n_steps: int, lr: float = 1.0) -> Run:
    x = torch.zeros(N_FEATURES, dtype=torch.float64, requires_grad=True)
    optimizer = make([x], lr=lr, eta0=eta0, delta=DELTA)
    G = torch.zeros(N_FEATURES, dtype=torch.float64)
    xs, etas = [x.detach().clone()], []
    for _ in range(n_steps):
        x.grad = PROBLEM.subgradient(x.detach())
        G += x.grad**2
        optimizer.step()
        etas.append(eta_of(optimizer))
        xs.append(x.detach().clone())
    eta, x_t, s = torch.tensor(etas, dtype=torch.float64), torch.stack(xs), G.sqrt()
    mean = (eta[:, None] * x_t[:-1]).sum(0) / eta.sum()
    D = (x_t - PROBLEM.minimum).abs().max()
    bound = (D**2 * (DELTA + s).sum() / 2 + eta[-1] ** 2 * s.sum()) / eta.sum()
    return Run(PROBLEM.value(mean), bound.item(), eta, x_t)


@pytest.mark.parametrize("n_steps", [50, 200, 1000, 5000])
@pytest.mark.parametrize("eta0", [1e-8, 1e-6, 1e-3, 1e-1])
def test_the_mean_is_under_the_bound(eta0, n_steps):
    found = run(FAST["AdaGradPP"], eta0, n_steps)
    assert 0.0 <= found.gap <= found.bound
    assert (found.etas.diff() >= 0).all()


def test_the_gap_closes_with_the_number_of_steps():
    gaps = [run(FAST["AdaGradPP"], 1e-3, n_steps).gap for n_steps in (50, 200, 1000, 5000)]
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] < 0.05 * PROBLEM.value(torch.zeros(N_FEATURES, dtype=torch.float64))


def test_the_twin_takes_the_same_path():
    fast, twin = run(FAST["AdaGradPP"], 1e-3, 1000), run(TWIN["AdaGradPP"], 1e-3, 1000)
    assert twin.gap <= twin.bound
    torch.testing.assert_close(fast.xs, twin.xs, rtol=1e-6, atol=1e-8)


def test_steps_of_another_length_leave_the_bound():
    """The bound is no formality: steps a thousand times shorter than eta break it."""
    found = run(FAST["AdaGradPP"], 1e-1, 5000, lr=1e-3)
    assert found.gap > found.bound
