"""TGMM: padding and the order of points have no influence, K selects its own pooling."""

from __future__ import annotations

import pytest
import torch

from statformer.nn.tgmm import TGMM


def network() -> TGMM:
    rng = torch.Generator().manual_seed(3)
    return TGMM(2, 4, rng=rng, n_layers=2, width=16, n_heads=2).double()


def points(b: int, n: int) -> torch.Tensor:
    return torch.randn(b, n, 2, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


def test_padding_is_a_key_for_nobody() -> None:
    module, X, K = network(), points(2, 9), torch.tensor([2, 3])
    is_point = torch.arange(9).expand(2, 9) < torch.tensor([[6], [9]])
    padded = module(torch.where(is_point[..., None], X, 7.0), K, is_point)
    alone = module(X[:1, :6], K[:1])
    torch.testing.assert_close(padded.means[:1], alone.means)
    torch.testing.assert_close(padded.weights[:1], alone.weights)
    read = module(torch.where(is_point[..., None], X, 7.0), K)
    assert (read.means[0] - alone.means[0]).abs().max() > 1e-3  # the mask is what did it


def test_the_order_of_the_points_has_no_influence() -> None:
    module, X, K = network(), points(1, 8), torch.tensor([4])
    order = torch.randperm(8, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(module(X, K).means, module(X[:, order], K).means)


def test_weights_of_absent_components_are_zero_and_each_k_has_its_own_pooling() -> None:
    module, X = network(), points(1, 8)
    two, three = module(X, torch.tensor([2])), module(X, torch.tensor([3]))
    assert two.weights[0, 2:].tolist() == [0.0, 0.0]
    assert two.weights.sum().item() == pytest.approx(1.0)
    with torch.no_grad():
        module.task_embedding[2] = module.task_embedding[1]
        module.queries[2] = module.queries[1]
        module.W_key[2] = module.W_key[1]
        module.W_value[2] = module.W_value[1]
    alike = module(X, torch.tensor([3]))
    torch.testing.assert_close(alike.means, two.means)
    assert (three.means - two.means).abs().max() > 1e-3


def test_what_does_not_fit_is_named() -> None:
    module = network()
    with pytest.raises(ValueError, match="columns"):
        module(torch.zeros(1, 3, 5, dtype=torch.float64), torch.tensor([2]))
    with pytest.raises(ValueError, match="n_components"):
        module(points(1, 3), torch.tensor([5]))
    with pytest.raises(ValueError, match="n_heads"):
        TGMM(2, 4, rng=torch.Generator(), width=15, n_heads=2)
