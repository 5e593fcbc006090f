"""The layer that reads the nearest label: visible matrices, and the same by the selector."""

from __future__ import annotations

import pytest
import torch

from statformer.nn.neighbor import (
    NeighborFamily,
    NeighborTransformer,
    neighbor_layout,
)


def prompts(b: int = 6, n: int = 5, d: int = 3, v: int = 1) -> tuple[torch.Tensor, ...]:
    rng = torch.Generator().manual_seed(0)
    X = torch.randn(b, n, d, generator=rng, dtype=torch.float64)
    y = torch.randn(b, n, v, generator=rng, dtype=torch.float64)
    return X, y, torch.randn(b, d, generator=rng, dtype=torch.float64)


@pytest.mark.parametrize("xi", [(0.0, 0.0), (3.0, 5.0), (20.0, -4.0)])
@pytest.mark.parametrize("v", [1, 3])
def test_visible_matrices_and_selector_agree(xi: tuple[float, float], v: int) -> None:
    X, y, query = prompts(v=v)
    network = NeighborTransformer.from_family(3, *xi, n_labels=v)
    torch.testing.assert_close(
        network(X, y, query), NeighborFamily(*xi)(X, y, query), rtol=0, atol=1e-12
    )


def test_the_answer_is_the_formula() -> None:
    X, y, query = prompts(b=1)
    xi_1, xi_2 = 2.0, 1.5
    s = torch.cat([X[0] @ query[0], query[0].square().sum()[None]])
    scores = xi_1 * s - torch.tensor([0.0] * 5 + [xi_2], dtype=torch.float64)
    a = scores.softmax(0)
    network = NeighborTransformer.from_family(3, xi_1, xi_2)
    torch.testing.assert_close(network.pattern(X, y, query)[0], a)
    torch.testing.assert_close(network(X, y, query)[0, 0], a[:5] @ y[0, :, 0])


def test_only_the_scores_are_learned_and_every_entry_of_them() -> None:
    network = NeighborTransformer.from_family(3, 1.0, 1.0)
    free = [name for name, p in network.named_parameters() if p.requires_grad]
    assert free == ["attention.W_QK"]
    assert network.attention.W_QK.shape == (1, 5, 5)


def test_layout_and_errors() -> None:
    assert neighbor_layout(4, 2).width == 7
    X, y, query = prompts()
    with pytest.raises(ValueError, match="X has 3 columns and y 1; these weights"):
        NeighborTransformer.from_family(4, 1.0, 1.0)(X, y, query)
