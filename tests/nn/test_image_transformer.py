"""The vision transformer against a plain loop, its patches, its dropout and what it refuses."""

from __future__ import annotations

import pytest
import torch
from torch import Generator, Tensor
from torch.nn.functional import gelu, layer_norm

from statformer.nn.image_transformer import ImageTransformer


def network(seed: int = 0, **changed: int) -> ImageTransformer:
    shape = {"n_heads": 2, "n_layers": 2, "width": 6, "head_dim": 3, "hidden": 5} | changed
    return ImageTransformer(
        4, size=(3, 4, 4), generator=Generator().manual_seed(seed), **shape
    ).double()


def images(n: int = 3) -> Tensor:
    return torch.rand(n, 3, 4, 4, generator=Generator().manual_seed(1)).double()


def test_it_is_the_loop_over_heads_and_patches() -> None:
    model, x = network(), images()
    with torch.no_grad():
        for weight in model.parameters():  # biases and positions begin at 0 and would hide errors
            weight.add_(0.1 * torch.randn(weight.shape, generator=Generator().manual_seed(2)))
    expected = []
    for image in x:
        corners = [image[:, r : r + 2, c : c + 2].reshape(-1) for r in (0, 2) for c in (0, 2)]
        h = torch.stack(corners) @ model.embed + model.embed_bias + model.positions
        for i in range(2):
            z = layer_norm(h, (6,), model.scale[2 * i], model.shift[2 * i])
            heads = []
            for e in range(2):
                Q, K, V = (
                    z @ model.query_key_value[i][:, 6 * part + 3 * e : 6 * part + 3 * e + 3]
                    for part in range(3)
                )
                heads.append(torch.softmax(Q @ K.T / 3**0.5, dim=1) @ V)
            h = h + torch.cat(heads, 1) @ model.out[i] + model.out_bias[i]
            z = layer_norm(h, (6,), model.scale[2 * i + 1], model.shift[2 * i + 1])
            h = h + gelu(z @ model.up[i] + model.up_bias[i]) @ model.down[i] + model.down_bias[i]
        last = layer_norm(h, (6,), model.scale[-1], model.shift[-1])
        expected.append(last.mean(0) @ model.head + model.head_bias)
    torch.testing.assert_close(model(x), torch.stack(expected), rtol=1e-12, atol=1e-12)


def test_dropout_is_the_generators_and_is_right_on_average() -> None:
    model, x = network(n_layers=1), images(1)
    once, again, other = (model(x, Generator().manual_seed(seed)) for seed in (3, 3, 4))
    assert torch.equal(once, again)
    assert not torch.equal(once, other)
    ones = torch.ones(1, 200, 200)
    kept = model._dropped(ones, Generator().manual_seed(5))
    assert kept.unique().tolist() == pytest.approx([0.0, 1 / 0.9])
    assert float(kept.mean()) == pytest.approx(1.0, abs=0.01)


def test_a_wider_or_deeper_network_begins_at_the_same_scale() -> None:
    x = images(20)
    spreads = [
        float(network(n_heads=e, n_layers=m)(x).detach().std())
        for e, m in ((1, 1), (32, 1), (1, 32))
    ]
    assert max(spreads) < 3 * min(spreads)


def test_gradients_reach_every_weight() -> None:
    model = network()
    model(images()).square().sum().backward()
    assert all(float(weight.grad.abs().sum()) > 0 for weight in model.parameters())  # type: ignore[union-attr]


@pytest.mark.parametrize("n_patches", [3, 9])
def test_patches_that_do_not_fit_are_refused(n_patches: int) -> None:
    with pytest.raises(
        ValueError, match=f"n_patches={n_patches}, size=\\(3, 4, 4\\): pass a square"
    ):
        network(n_patches=n_patches)
