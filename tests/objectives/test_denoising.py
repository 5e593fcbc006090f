"""The exact expectation is what Monte Carlo approaches; its gradient is the derivative."""

from __future__ import annotations

import pytest
import torch
from torch import Generator, Tensor

from statformer.nn.vision import TiedDenoiser
from statformer.objectives.denoising import (
    denoising_loss,
    expected_denoising_gradient,
    expected_denoising_loss,
)

B, N, P, D, M = 2, 4, 2, 5, 3
ALPHA, BETA = 0.8, 0.6


def normal(*shape: int, seed: int = 0) -> Tensor:
    rng = Generator().manual_seed(seed)
    return torch.randn(*shape, generator=rng, dtype=torch.float64)


X = normal(B, N, P, D, seed=7)


def network() -> TiedDenoiser:
    return TiedDenoiser(0.4 * normal(B, M, D))


def draws(n_draws: int) -> tuple[Tensor, Tensor]:
    """Copies of the samples side by side with noise of their own: the mean is Monte Carlo."""
    eps = normal(B, n_draws * N, P, D, seed=9)
    return ALPHA * X.repeat(1, n_draws, 1, 1) + BETA * eps, eps


def test_monte_carlo_approaches_the_expectation() -> None:
    net = network()
    noised, eps = draws(40_000)
    per_sample = 0.5 * (net(noised) - eps).square().sum((2, 3)).detach()
    error = per_sample.std(1) / per_sample.shape[1] ** 0.5
    exact = expected_denoising_loss(net, X, ALPHA, BETA).detach()
    monte_carlo = denoising_loss(net, noised, eps).detach()
    assert ((monte_carlo - exact).abs() < 5 * error).all()
    # without its smallest term it is not the expectation, and the test can tell
    G = (net.W @ net.W.mT).detach()
    missing = BETA**4 * P * (G**3).sum((1, 2)) / M
    assert ((monte_carlo - (exact - missing)).abs() > 5 * error).all()


def test_the_gradient_of_monte_carlo_approaches_the_closed_form() -> None:
    net = network()
    noised, eps = draws(40_000)
    denoising_loss(net, noised, eps).sum().backward()
    exact = expected_denoising_gradient(net, X, ALPHA, BETA)
    assert (net.W.grad - exact).norm() < 0.02 * exact.norm()


@pytest.mark.parametrize(("alpha", "beta"), [(ALPHA, BETA), (1.0, 0.0), (0.3, 1.2)])
def test_the_closed_form_is_the_automatic_derivative(alpha: float, beta: float) -> None:
    net = network()
    expected_denoising_loss(net, X, alpha, beta).sum().backward()
    gradient = expected_denoising_gradient(net, X, alpha, beta)
    torch.testing.assert_close(gradient, net.W.grad, rtol=1e-9, atol=1e-12)


def test_one_filter_in_one_dimension_by_hand() -> None:
    """out = w (w x_t)^2, x_t = a v + b e: E (out - e)^2 from the moments of e, by hand."""
    w, v, a, b = 0.7, 1.3, 0.8, 0.6
    net = TiedDenoiser(torch.full((1, 1, 1), w, dtype=torch.float64))
    x = torch.full((1, 1, 1, 1), v, dtype=torch.float64)
    c, s = a * v, b
    fourth = c**4 + 6 * c**2 * s**2 + 3 * s**4  # E (c + s e)^4
    by_hand = 0.5 * (w**6 * fourth - 2 * w**3 * (2 * c * s) + 1)
    assert expected_denoising_loss(net, x, a, b).item() == pytest.approx(by_hand, rel=1e-12)
    slope = 0.5 * (6 * w**5 * fourth - 12 * w**2 * c * s)
    gradient = expected_denoising_gradient(net, x, a, b)
    assert gradient.item() == pytest.approx(slope, rel=1e-12)


def test_the_loss_of_no_network_is_the_noise() -> None:
    net = TiedDenoiser(torch.zeros(B, M, D, dtype=torch.float64))
    exact = expected_denoising_loss(net, X, ALPHA, BETA)
    torch.testing.assert_close(exact.detach(), torch.full((B,), P * D / 2).double())


def test_the_gradient_is_in_the_span_of_samples_and_filters() -> None:
    n, d, m = 2, 12, 3
    samples, net = normal(B, n, P, d), TiedDenoiser(normal(B, m, d, seed=2))
    gradient = expected_denoising_gradient(net, samples, ALPHA, BETA)
    span = torch.cat([samples.flatten(1, 2), net.W.detach()], 1).mT
    Q = torch.linalg.qr(span).Q
    assert (gradient - gradient @ Q @ Q.mT).abs().max() < 1e-10 * gradient.abs().max()
