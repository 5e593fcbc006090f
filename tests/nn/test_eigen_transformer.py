"""The paper's network: shapes, auxiliary rows, switches, refusals."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Generator

from statformer.nn.eigen_transformer import EigenTransformer


def build(seed: int = 0, **options: Any) -> EigenTransformer:
    given = {"n_points": 6, "n_features": 3, "n_components": 2, "n_layers": 2, "width": 8}
    given |= {"n_heads": 2, **options}
    return EigenTransformer(**given, rng=Generator().manual_seed(seed))


def instances() -> tuple[torch.Tensor, torch.Tensor]:
    rng = Generator().manual_seed(5)
    return torch.randn(4, 6, 3, generator=rng), torch.randn(4, 2, 3, generator=rng)


@pytest.mark.parametrize("attention", ["relu", "softmax"])
@pytest.mark.parametrize("auxiliary", [False, True])
@pytest.mark.parametrize("layer_norm", [False, True])
def test_shapes_and_finite_gradients(attention: str, auxiliary: bool, layer_norm: bool) -> None:
    X, starts = instances()
    for target, shape in (("values", (4, 2)), ("vectors", (4, 2, 3))):
        network = build(
            target=target, attention=attention, auxiliary=auxiliary, layer_norm=layer_norm
        )
        answer = network(X, starts if auxiliary else None)
        assert answer.shape == shape
        answer.square().sum().backward()
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name


def test_weights_come_from_the_generator_alone() -> None:
    X, _ = instances()
    assert torch.equal(build(3)(X), build(3)(X))
    assert not torch.equal(build(3)(X), build(4)(X))


def test_auxiliary_rows_are_the_columns_of_the_identity_and_of_the_starts() -> None:
    X, starts = instances()
    network = build(auxiliary=True)
    with torch.no_grad():
        network.W_in.zero_()
        network.W_in[:, 0] = torch.arange(1.0, 9.0)  # 3 columns, 3 of the identity, 2 starts
        network.positions.zero_()
        token = network.embed(X, starts)[0, :, 0]
    for i in range(6):
        expected = X[0, i] @ torch.tensor([1.0, 2.0, 3.0])
        if i < 3:
            expected = expected + 4.0 + i + 7.0 * starts[0, 0, i] + 8.0 * starts[0, 1, i]
        torch.testing.assert_close(token[i], expected)


def test_only_auxiliary_networks_read_the_starts() -> None:
    X, starts = instances()
    for auxiliary in (False, True):
        network = build(auxiliary=auxiliary)
        same = torch.equal(network(X, starts), network(X, -starts))
        assert same is not auxiliary


def test_record_shows_the_activation() -> None:
    X, _ = instances()
    soft = build(attention="softmax").record(X)["block 2.pattern"]
    torch.testing.assert_close(soft.sum(-1), torch.ones(4, 2, 6))
    assert (build(attention="relu").record(X)["block 2.pattern"] == 0).any()


def test_errors_name_the_remedy() -> None:
    for match, options in {
        "target='both'": {"target": "both"},
        "attention='linear'": {"attention": "linear"},
        "n_components=4": {"n_components": 4},
        "width=8": {"n_heads": 3},
        "n_points=2": {"n_points": 2, "auxiliary": True},
    }.items():
        with pytest.raises(ValueError, match=match):
            build(**options)
    with pytest.raises(ValueError, match="reads 6 points of 3 columns"):
        build()(torch.ones(1, 5, 3))
    with pytest.raises(ValueError, match="starts=None"):
        build(auxiliary=True)(torch.ones(1, 6, 3))
