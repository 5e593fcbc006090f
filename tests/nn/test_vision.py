"""Patch networks equal their formulas written as loops; wrong pairs of head and activation fail."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Generator, Tensor, nn

from statformer.nn.attention import FactoredAttention
from statformer.nn.vision import (
    Activation,
    Linear,
    PatchClassifier,
    PatchEncoder,
    PatchViT,
    Quadratic,
    Relu,
    ReluPower,
    TiedDenoiser,
    TrainedHeadClassifier,
)

B, N, P, D, M = 2, 5, 3, 6, 4


def normal(*shape: int, seed: int = 0) -> Tensor:
    rng = Generator().manual_seed(seed)
    return torch.randn(*shape, generator=rng, dtype=torch.float64)


def networks() -> dict[str, nn.Module]:
    return {
        "fixed head": PatchClassifier(normal(B, 2, M, D), Quadratic()),
        "trained head": TrainedHeadClassifier(normal(B, M, D), normal(B, M, seed=1)),
        "encoder": PatchEncoder(normal(B, M, D), Relu()),
        "transformer": PatchViT(
            normal(B, D, 3), normal(B, D, 3, seed=1), normal(B, D, 2), normal(B, 2)
        ),
        "denoiser": TiedDenoiser(normal(B, M, D)),
    }


X = normal(B, N, P, D, seed=7)


@pytest.mark.parametrize("activation", [Relu(), ReluPower(2.5), Quadratic(), Linear()])
def test_slopes_are_derivatives(activation: Activation) -> None:
    z = normal(40).requires_grad_()
    (by_autograd,) = torch.autograd.grad(activation(z).sum(), z)
    torch.testing.assert_close(activation.slope(z.detach()), by_autograd)


def by_hand(name: str, network: nn.Module, b: int, x: Tensor) -> Tensor:
    if name == "fixed head":
        sums = [sum((w @ x_p) ** 2 for w in branch for x_p in x) for branch in network.W[b]]
        return (sums[1] - sums[0]) / M
    if name == "trained head":
        pairs = zip(network.v[b], network.W[b], strict=True)
        return sum(v * max(w @ x_p, 0.0) for v, w in pairs for x_p in x)
    if name == "encoder":
        return torch.stack([sum((w @ x_p).clamp_min(0.0) for x_p in x) for w in network.W[b]])
    if name == "denoiser":
        return torch.stack([sum((w @ x_p) ** 2 * w for w in network.W[b]) / M**0.5 for x_p in x])
    total = torch.zeros((), dtype=x.dtype)
    for x_l in x:
        scores = torch.stack([x_l @ network.W_Q[b] @ network.W_K[b].T @ x_k for x_k in x])
        total = total + torch.exp(scores) @ x @ network.W_V[b] @ network.w_O[b] / (
            torch.exp(scores).sum() * P
        )
    return total


@pytest.mark.parametrize("name", networks())
def test_networks_are_their_formulas(name: str) -> None:
    network = networks()[name]
    answer = network(X)
    for b in range(B):
        for i in range(N):
            torch.testing.assert_close(answer[b, i], by_hand(name, network, b, X[b, i]))


@pytest.mark.parametrize("name", ["fixed head", "trained head", "encoder", "transformer"])
def test_the_order_of_patches_does_not_matter(name: str) -> None:
    network = networks()[name]
    torch.testing.assert_close(network(X), network(X.flip(2)))


def test_a_denoiser_answers_patch_by_patch() -> None:
    network = networks()["denoiser"]
    torch.testing.assert_close(network(X).flip(2), network(X.flip(2)))


def test_runs_do_not_touch_each_other() -> None:
    for name, network in networks().items():
        before = network(X)
        with torch.no_grad():
            for weight in network.parameters():
                weight[1] += 0.1
        after = network(X)
        assert torch.equal(before[0], after[0]), name
        assert not torch.isclose(before[1], after[1]).all(), name


def test_the_transformer_attends_as_the_projects_attention_does() -> None:
    network = networks()["transformer"]
    ones = torch.ones(N, P, P, dtype=torch.bool)
    for b in range(B):
        W_Q, W_K = network.W_Q[b : b + 1].detach(), network.W_K[b : b + 1].detach()
        attention = FactoredAttention(W_Q, W_K, W_Q, W_K.mT.contiguous())
        pattern = attention.pattern(X[b], X[b], ones)
        torch.testing.assert_close(network.pattern(X)[b], pattern[:, 0])


def test_a_split_hands_every_filter_to_one_label() -> None:
    W = normal(B, 2 * M, D)
    order = torch.stack(
        [torch.randperm(2 * M, generator=Generator().manual_seed(b)) for b in (0, 1)]
    )
    network = PatchClassifier.from_split(W, order, ReluPower(3.0))
    for b in range(B):
        torch.testing.assert_close(network.W[b].reshape(-1, D), W[b, order[b]])
    with pytest.raises(ValueError, match="W has 3 filters"):
        PatchClassifier.from_split(W[:, :3], order[:, :3], Relu())


def test_a_head_of_one_scale_has_both_signs() -> None:
    network = TrainedHeadClassifier.from_scale(normal(B, 6, D), 0.25)
    assert network.v.tolist() == [[0.25] * 3 + [-0.25] * 3] * B
    with pytest.raises(ValueError, match="W has 5 filters"):
        TrainedHeadClassifier.from_scale(normal(B, 5, D), 0.25)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: PatchClassifier(normal(B, 2, M, D), Linear()),
        lambda: PatchEncoder(normal(B, M, D), Quadratic()),
        lambda: PatchEncoder(normal(B, M, D), ReluPower()),
    ],
    ids=["linear under a fixed head", "quadratic encoder", "power encoder"],
)
def test_types_exclude_what_no_paper_has(wrong: Callable[[], nn.Module]) -> None:
    with pytest.raises(TypeError, match="activation"):
        wrong()


def test_a_power_is_above_two() -> None:
    with pytest.raises(ValueError, match=r"power=2\.0"):
        ReluPower(2.0)
