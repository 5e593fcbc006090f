"""Descent in span coordinates is descent: weights, answers to fresh rows, every network."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor, nn

from statformer.nn.span import Span
from statformer.nn.vision import (
    Linear,
    PatchClassifier,
    PatchEncoder,
    PatchViT,
    Quadratic,
    Relu,
    TiedDenoiser,
    TrainedHeadClassifier,
)
from statformer.objectives.contrastive import InfoNCE, other_points, single_modal_gradient
from statformer.objectives.denoising import expected_denoising_gradient, expected_denoising_loss
from statformer.objectives.logistic import (
    classifier_gradient,
    trained_head_gradient,
    vit_gradient,
)
from statformer.optim.descent import descend
from statformer.tasks.patch_views import with_fresh_noise
from statformer.tasks.signal_noise import SignalNoisePrior
from statformer.tasks.stream import TaskStream

B, N, D, M, STEPS = 3, 8, 120, 4, 300
PRIOR = SignalNoisePrior(N, D, n_snr2=4.0, sigma=1.0, axis=None, projected=False)
SIMCLR = InfoNCE(1.0, "embedding", stop_gradient=False)


def stream(step: int) -> TaskStream:
    return TaskStream(0, step, range(B), dtype=torch.float64)


BATCH = PRIOR.sample(stream(0))
VIEW = with_fresh_noise(BATCH, PRIOR, stream(1)).X
FRESH = PRIOR.around(BATCH.signal, 50, stream(2)).X
WIDE = {"W", "W_Q", "W_K", "W_V"}  # the weights that multiply patches

Gradient = Callable[[nn.Module, Tensor, Tensor], Mapping[str, Tensor]]


def filters(m: int = M) -> Tensor:
    return 0.02 * stream(3).normal(m, D)


def head() -> Tensor:
    return 0.1 * stream(4).normal(3)


# name: (network from its weights, weights with d as the last axis, gradient, step size)
SETTINGS: dict[str, tuple[Callable[..., nn.Module], list[Tensor], Gradient, float]] = {
    "classifier": (
        lambda W: PatchClassifier(W.reshape(B, 2, M, -1), Quadratic()),
        [filters(2 * M)],
        lambda net, X, _: {"W": classifier_gradient(net, X, BATCH.y)},
        0.05,
    ),
    "trained head": (
        lambda W: TrainedHeadClassifier.from_scale(W, 0.1),
        [filters()],
        lambda net, X, _: trained_head_gradient(net, X, BATCH.y),
        0.05,
    ),
    "denoiser": (
        TiedDenoiser,
        [filters()],
        lambda net, X, _: {"W": expected_denoising_gradient(net, X, 0.8, 0.6)},
        0.02,
    ),
    "encoder": (
        lambda W: PatchEncoder(W, Relu()),
        [filters()],
        lambda net, X, view: {
            "W": single_modal_gradient(SIMCLR, net, X, view, other_points(BATCH.y))
        },
        0.01,
    ),
    "linear encoder": (
        lambda W: PatchEncoder(W, Linear()),
        [filters()],
        lambda net, X, view: {
            "W": single_modal_gradient(SIMCLR, net, X, view, other_points(BATCH.y))
        },
        0.001,
    ),
    "transformer": (
        lambda Q, K, V: PatchViT(Q.mT.clone(), K.mT.clone(), V.mT.clone(), head()),
        [filters(2), 2 * filters(2), filters(3)],
        lambda net, X, _: vit_gradient(net, X, BATCH.y),
        0.1,
    ),
}


def trained(name: str, inside: Callable[[Tensor], Tensor]) -> tuple[nn.Module, dict[str, Tensor]]:
    make, weights, gradient, step_size = SETTINGS[name]
    net = make(*[inside(W).clone() for W in weights])
    start = {key: weight.detach().clone() for key, weight in net.named_parameters()}
    sizes = {key: torch.full((B,), step_size).double() for key in start}
    X, view = inside(BATCH.X), inside(VIEW)
    result = descend(net, lambda: gradient(net, X, view), sizes, STEPS)
    assert not result.diverged.any()
    return net, start


def span_of(name: str) -> Span:
    return Span.of(BATCH.X.flatten(1, 2), VIEW.flatten(1, 2), *SETTINGS[name][1])


@pytest.mark.parametrize("name", SETTINGS)
def test_training_in_coordinates_is_training(name: str) -> None:
    span = span_of(name)
    assert span.basis.shape[1] < D / 2
    plain, start = trained(name, lambda vectors: vectors)
    short, _ = trained(name, span.inside)
    for key, weight in plain.named_parameters():
        other = dict(short.named_parameters())[key].detach()
        if key in WIDE:
            other = other.mT if key != "W" else other
            other = span.vectors(other.contiguous())
            other = other.mT if key != "W" else other
        assert (weight.detach() - start[key]).norm() > 0.3 * start[key].norm(), "it has trained"
        assert (weight.detach() - other).abs().max() < 1e-8 * weight.detach().abs().max()
    answer, same = plain(FRESH).detach(), short(span.inside(FRESH)).detach()
    if name == "denoiser":
        same = span.vectors(same)
    assert (answer - same).abs().max() < 1e-8 * answer.abs().max()


def test_a_span_without_the_first_weights_is_not_enough_for_a_denoiser() -> None:
    plain, _ = trained("denoiser", lambda vectors: vectors)
    span = Span.of(BATCH.X.flatten(1, 2))
    short, _ = trained("denoiser", span.inside)
    gap = (plain.W.detach() - span.vectors(short.W.detach())).abs().max()
    assert gap > 1e-3 * plain.W.detach().abs().max()


def test_the_noise_outside_is_all_that_a_denoisers_loss_misses() -> None:
    span = span_of("denoiser")
    r = span.basis.shape[1]
    whole = expected_denoising_loss(TiedDenoiser(filters()), BATCH.X, 0.8, 0.6)
    part = expected_denoising_loss(
        TiedDenoiser(span.inside(filters())), span.inside(BATCH.X), 0.8, 0.6
    )
    torch.testing.assert_close((whole - part).detach(), torch.full((B,), D - r).double())


def test_coordinates_and_vectors_are_each_others_inverse() -> None:
    span = span_of("classifier")
    torch.testing.assert_close(span.vectors(span.inside(BATCH.X)), BATCH.X)
    lost = FRESH - span.vectors(span.inside(FRESH))
    assert lost.norm() > 0.3 * FRESH.norm()  # fresh rows lie outside for the larger part
    assert span.inside(lost).abs().max() < 1e-12


def test_fresh_rows_may_be_drawn_in_coordinates() -> None:
    """The same share of errors, up to the chance of 20,000 draws each."""
    span = span_of("classifier")
    short, _ = trained("classifier", span.inside)
    rates = []
    for draw in (
        PRIOR.around(span.inside(BATCH.signal), 20_000, stream(5)),
        PRIOR.around(BATCH.signal, 20_000, stream(6)),
    ):
        X = draw.X if draw.X.shape[-1] < D else span.inside(draw.X)
        rates.append((short(X).detach() * draw.y <= 0).double().mean(1))
    spread = (2 * 0.25 / 20_000) ** 0.5
    assert ((rates[0] - rates[1]).abs() < 4 * spread).all()
    assert (rates[0] > 0).any()
