"""Logistic gradients: closed form, automatic differentiation and loops agree; the balance law."""

from __future__ import annotations

import pytest
import torch
from torch import Generator, Tensor, nn

from statformer.nn.vision import (
    PatchClassifier,
    PatchViT,
    Quadratic,
    Relu,
    ReluPower,
    TrainedHeadClassifier,
)
from statformer.objectives.logistic import (
    classifier_gradient,
    logistic_loss,
    logistic_slope,
    trained_head_gradient,
    vit_gradient,
)

B, N, P, D, M = 2, 7, 3, 6, 4


def normal(*shape: int, seed: int = 0) -> Tensor:
    rng = Generator().manual_seed(seed)
    return torch.randn(*shape, generator=rng, dtype=torch.float64)


X = normal(B, N, P, D, seed=7)
y = torch.sign(normal(B, N, seed=8))

NETWORKS = {
    "relu": lambda: PatchClassifier(normal(B, 2, M, D), Relu()),
    "power": lambda: PatchClassifier(normal(B, 2, M, D), ReluPower(3.0)),
    "quadratic": lambda: PatchClassifier(normal(B, 2, M, D), Quadratic()),
    "trained head": lambda: TrainedHeadClassifier(normal(B, M, D), normal(B, M, seed=1)),
    "transformer": lambda: PatchViT(
        normal(B, D, 3), normal(B, D, 3, seed=1), normal(B, D, 2), normal(B, 2)
    ),
}


def closed_form(network: nn.Module) -> dict[str, Tensor]:
    if isinstance(network, PatchClassifier):
        return {"W": classifier_gradient(network, X, y)}
    if isinstance(network, TrainedHeadClassifier):
        return trained_head_gradient(network, X, y)
    assert isinstance(network, PatchViT)
    return vit_gradient(network, X, y)


@pytest.mark.parametrize("name", NETWORKS)
def test_closed_forms_are_automatic_derivatives(name: str) -> None:
    network = NETWORKS[name]()
    logistic_loss(network(X), y).sum().backward()
    gradient = closed_form(network)
    assert gradient.keys() == dict(network.named_parameters()).keys()
    for key, weight in network.named_parameters():
        torch.testing.assert_close(gradient[key], weight.grad, rtol=1e-9, atol=1e-12)
        assert weight.grad.abs().max() > 1e-3


def test_the_loss_and_its_slope_as_written() -> None:
    f = normal(B, N, seed=3).requires_grad_()
    loss = logistic_loss(f, y)
    by_hand = torch.stack([torch.log(1 + torch.exp(-y[b] * f[b])).mean() for b in range(B)])
    torch.testing.assert_close(loss, by_hand)
    loss.sum().backward()
    torch.testing.assert_close(logistic_slope(f.detach(), y), f.grad)
    far = torch.full((1, 1), -1e4, dtype=torch.float64)
    assert logistic_loss(far, torch.ones_like(far)).item() == 1e4  # no overflow


def test_the_filters_gradient_by_hand() -> None:
    """dL/dw_jr = (j/m)(1/n) sum_i (-y_i / (1 + e^(y_i f_i))) sum_p 2 <w_jr, x_ip> x_ip."""
    network = NETWORKS["quadratic"]()
    gradient, f, W = classifier_gradient(network, X, y), network(X).detach(), network.W.detach()
    for branch, j in ((0, -1.0), (1, 1.0)):
        w, by_hand = W[1, branch, 2], torch.zeros(D, dtype=torch.float64)
        for i in range(N):
            slope = -y[1, i] / (1 + torch.exp(y[1, i] * f[1, i])) / N
            for x in X[1, i]:
                by_hand += j / M * slope * 2 * (w @ x) * x
        torch.testing.assert_close(gradient[1, branch, 2], by_hand)


def test_the_trained_heads_gradient_by_hand_and_its_balance() -> None:
    network = NETWORKS["trained head"]()
    gradient, f = trained_head_gradient(network, X, y), network(X).detach()
    W, v = network.W.detach(), network.v.detach()
    of_w, of_v = torch.zeros(D, dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for i in range(N):
        slope = -y[0, i] / (1 + torch.exp(y[0, i] * f[0, i])) / N
        for x in X[0, i]:
            if W[0, 1] @ x > 0:
                of_w += v[0, 1] * slope * x
                of_v += slope * (W[0, 1] @ x)
    torch.testing.assert_close(gradient["W"][0, 1], of_w)
    torch.testing.assert_close(gradient["v"][0, 1], of_v)
    # d/dt (|w|^2 - v^2) = 0 along the gradient flow (section 3.8 of our reading, derived)
    torch.testing.assert_close((W * gradient["W"]).sum(-1), v * gradient["v"])


def test_the_balance_drifts_in_proportion_to_the_step() -> None:
    """|w|^2 - v^2 after a fixed time of descent; halving the step halves the drift."""

    def drift(step_size: float) -> float:
        network = TrainedHeadClassifier.from_scale(0.1 * normal(B, M, D), 0.3)
        start = network.W.square().sum(-1) - network.v.square()
        for _ in range(round(4.0 / step_size)):
            gradient = trained_head_gradient(network, X, y)
            with torch.no_grad():
                network.W -= step_size * gradient["W"]
                network.v -= step_size * gradient["v"]
        end = network.W.square().sum(-1) - network.v.square()
        return (end - start).abs().max().item()

    coarse, fine = drift(0.1), drift(0.05)
    assert 1e-6 < fine < 0.05
    assert coarse / fine == pytest.approx(2.0, rel=0.15)


def test_the_order_of_points_does_not_matter() -> None:
    network = NETWORKS["relu"]()
    order = torch.randperm(N, generator=Generator().manual_seed(0))
    torch.testing.assert_close(
        classifier_gradient(network, X[:, order], y[:, order]), classifier_gradient(network, X, y)
    )
