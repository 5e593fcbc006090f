"""Attacks stay in the ball and in [0, 1], go uphill, and start where their start says."""

from __future__ import annotations

import pytest
import torch
from torch import Generator, nn

from made_images import N_CLASSES, images, network
from statformer.objectives.adversarial import relaxed_targets, soft_cross_entropy
from statformer.robust.attack import in_range, pgd, single_step
from statformer.robust.starts import STARTS, CarriedPerImageStart, CarriedStart, make_start

EPS = 0.1
X, Y = images(24, seed=1)
TARGETS = relaxed_targets(Y, torch.ones(N_CLASSES))
INDEX = torch.arange(24)


def rng() -> Generator:
    return Generator().manual_seed(3)


@pytest.mark.parametrize("name", sorted(STARTS))
def test_a_step_stays_in_the_ball_and_in_range(name: str) -> None:
    start, model = make_start(name), network().train()
    for _ in range(3):
        d0 = start(X, EPS, rng(), INDEX)
        ball = EPS if start.stays_in_ball else None
        delta = single_step(model, X, TARGETS, start=d0, eps=ball, step=1.25 * EPS).delta
        start.keep(delta, INDEX)
        radius = EPS if start.stays_in_ball else 3.25 * EPS
        assert delta.abs().max() <= radius + 1e-6
        assert (X + delta).min() >= -1e-6
        assert (X + delta).max() <= 1 + 1e-6
    assert delta.abs().max() > 0.9 * EPS


def test_only_the_noise_start_leaves_the_ball() -> None:
    assert [name for name in STARTS if not STARTS[name].stays_in_ball] == ["noise"]
    d0 = make_start("noise")(X, EPS, rng(), None)
    assert d0.abs().max() > 1.9 * EPS


def test_a_step_follows_the_sign_of_the_gradient() -> None:
    model = network().eval()
    d0 = torch.zeros_like(X)
    moved = X.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(soft_cross_entropy(model(moved), TARGETS), moved)
    found = single_step(model, X, TARGETS, start=d0, eps=EPS, step=0.05)
    assert torch.equal(found.delta, in_range(0.05 * gradient.sign(), X, EPS))
    assert torch.allclose(found.at_start, model(X))


def test_an_attack_leaves_the_parameters_alone() -> None:
    model = network().train()
    single_step(model, X, TARGETS, start=torch.zeros_like(X), eps=EPS, step=EPS)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert model.training


def test_the_start_is_not_clipped_before_the_gradient() -> None:
    """x + d0 may leave [0, 1]; only x + d is brought back, as in the released code."""
    seen = []

    class Watched(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(x.detach())
            return x.flatten(1)[:, :N_CLASSES]

    single_step(Watched(), X, TARGETS, start=torch.full_like(X, EPS), eps=EPS, step=EPS)
    assert seen[0].max() > 1


def test_more_steps_find_more() -> None:
    model = network(seed=1).eval()
    losses = []
    for n_steps in (1, 10):
        delta = pgd(
            model, X, TARGETS, start=torch.zeros_like(X), eps=EPS, step=EPS / 4, n_steps=n_steps
        )
        assert delta.abs().max() <= EPS + 1e-6
        assert (X + delta).min() >= -1e-6
        assert (X + delta).max() <= 1 + 1e-6
        losses.append(soft_cross_entropy(model(X + delta), TARGETS).item())
    assert losses[1] > losses[0] > soft_cross_entropy(model(X), TARGETS).item()


def test_the_carried_start_begins_at_corners_and_keeps_slots() -> None:
    start = CarriedStart()
    d0 = start(X, EPS, rng(), None)
    assert torch.equal(d0.abs(), torch.full_like(X, EPS))
    assert 0.4 < (d0 > 0).float().mean() < 0.6
    first = torch.rand(X.shape, generator=rng())
    start.keep(first, None)
    assert torch.equal(start(X, EPS, rng(), None), first)
    # A smaller last batch uses, and renews, the first slots only.
    assert torch.equal(start(X[:5], EPS, rng(), None), first[:5])
    start.keep(torch.zeros_like(X[:5]), None)
    after = start(X, EPS, rng(), None)
    assert torch.equal(after[:5], torch.zeros_like(X[:5]))
    assert torch.equal(after[5:], first[5:])


def test_the_carried_start_grows_and_refuses_other_shapes() -> None:
    start = CarriedStart()
    start(X[:5], EPS, rng(), None)
    assert len(start(X, EPS, rng(), None)) == len(X)
    with pytest.raises(ValueError, match="needs one shape"):
        start(X[:, :, :4], EPS, rng(), None)


def test_a_start_per_image_remembers_each_image() -> None:
    start = CarriedPerImageStart()
    start(X[:4], EPS, rng(), torch.tensor([3, 0, 7, 5]))
    kept = torch.rand(X[:4].shape, generator=rng())
    start.keep(kept, torch.tensor([3, 0, 7, 5]))
    found = start(X[:3], EPS, rng(), torch.tensor([7, 1, 3]))
    assert torch.equal(found[0], kept[2])
    assert torch.equal(found[2], kept[0])
    assert torch.equal(found[1].abs(), torch.full_like(X[1], EPS))  # not met before
    again = CarriedPerImageStart()
    again.load(start.state())
    assert torch.equal(again(X[:1], EPS, rng(), torch.tensor([7])), kept[2:3])
    with pytest.raises(ValueError, match="index"):
        start(X, EPS, rng(), None)


def test_an_unknown_start_is_named() -> None:
    with pytest.raises(ValueError, match="'fgsm': pass one of zero, uniform"):
        make_start("fgsm")
