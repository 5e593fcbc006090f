"""What the experiments on feature learning share: products, decompositions, laws of growth."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from statformer.experiments._feature_tracks import decompose, growth, products
from statformer.nn.span import Span
from statformer.nn.vision import PatchClassifier, Relu
from statformer.objectives.logistic import classifier_gradient
from statformer.optim.descent import descend
from statformer.tasks.signal_noise import SignalNoisePrior
from statformer.tasks.stream import TaskStream

B, M, D = 2, 3, 20


def normal(*shape: int, seed: int = 0) -> Tensor:
    rng = Generator().manual_seed(seed)
    return torch.randn(*shape, generator=rng, dtype=torch.float64)


def test_products_and_their_summaries() -> None:
    W, mu, xi = normal(B, M, D), normal(B, 2, D, seed=1), normal(B, 5, D, seed=2)
    found = products(W, mu, xi)
    signal = [abs(float(W[1, r] @ mu[1, s])) for r in range(M) for s in range(2)]
    noise = [abs(float(W[1, r] @ xi[1, i])) for r in range(M) for i in range(5)]
    for by, reduce in (("max", np.max), ("mean", np.mean), ("median", np.median)):
        of_signal, of_noise = found.summary(by)
        assert of_signal[1].item() == pytest.approx(reduce(signal))
        assert of_noise[1].item() == pytest.approx(reduce(noise))
    assert found.ratio[1].item() == pytest.approx(max(signal) / max(noise))


def test_a_known_decomposition_is_found_and_its_rest_told() -> None:
    first, mu, xi = normal(B, M, D), normal(B, 1, D, seed=1), normal(B, 5, D, seed=2)
    gamma, rho = normal(B, M, 1, seed=3), normal(B, M, 5, seed=4)
    W = first + gamma * mu / mu.square().sum(-1, keepdim=True)
    W = W + torch.einsum("bmi,bid->bmd", rho, xi / xi.square().sum(-1, keepdim=True))
    found = decompose(W, first, mu, xi)
    torch.testing.assert_close(found.gamma, gamma)
    torch.testing.assert_close(found.rho, rho)
    assert found.rest.max() < 1e-12
    assert decompose(W + normal(B, M, D, seed=5), first, mu, xi).rest.min() > 0.1
    assert (decompose(first, first, mu, xi).rest == 0).all()
    with pytest.raises(ValueError, match="21 vectors in 20 features"):
        decompose(W, first, mu, normal(B, 20, D))


def test_training_moves_in_the_span_and_coordinates_see_the_same() -> None:
    """W(t) - W(0) is in the span of mu and the noise, to 1e-8."""
    stream = TaskStream(0, 0, range(B), dtype=torch.float64)
    batch = SignalNoisePrior(8, 60, n_snr2=3.0, sigma=1.0, projected=False).sample(stream)
    W = 0.1 * stream.normal(2 * M, 60)
    mu, xi = batch.signal[:, 1:], batch.noise[:, :, 0]
    span = Span.of(mu, xi, W)
    tracks = []
    for inside in (lambda x: x, span.inside):
        start, X = inside(W), inside(batch.X)
        net = PatchClassifier(start.reshape(B, 2, M, -1).clone(), Relu())
        sizes = {"W": torch.full((B,), 0.1, dtype=torch.float64)}
        descend(net, lambda: {"W": classifier_gradient(net, X, batch.y)}, sizes, 50)  # noqa: B023
        W_end = net.W.detach().flatten(1, 2)
        tracks.append(decompose(W_end, start, inside(mu), inside(xi)))
    assert tracks[0].rest.max() < 1e-8
    assert tracks[0].gamma.abs().max() > 0.1
    for plain, short in zip(tracks[0][:2], tracks[1][:2], strict=True):
        torch.testing.assert_close(plain, short, rtol=1e-8, atol=1e-8)


def test_laws_of_growth_are_told_apart() -> None:
    t = np.arange(40.0)
    exponential = growth(t, 0.01 * np.exp(0.1 * t))
    linear = growth(t, 0.01 * (1 + 0.2 * t))
    assert exponential.exponential == pytest.approx(1.0)
    assert exponential.linear < 0.95
    assert linear.linear == pytest.approx(1.0)
    assert linear.exponential < 0.95
    later = np.where(t < 20, 0.01 * np.exp(0.1 * t), 5.0)  # what comes after the factor is left out
    assert growth(t, later).exponential == pytest.approx(1.0)
    with pytest.raises(ValueError, match="2 values before"):
        growth(t, np.where(t < 2, 1.0, 100.0))
