"""The trained kind of `MixtureTransformer`: symmetries, padding, records, gradients."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Generator, Tensor

from statformer.batch import Centres, Tables
from statformer.nn.mixture import MixtureTransformer
from statformer.nn.tokens import moments

B, N, D, C = 2, 12, 3, 4


def network(**settings: object) -> MixtureTransformer:
    rng = Generator().manual_seed(0)
    made = MixtureTransformer.from_noise(D, rng=rng, width=16, n_layers=2, n_heads=2, **settings)
    return made.double()


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=Generator().manual_seed(seed), dtype=torch.float64)


def problem() -> tuple[Tables, Centres]:
    start = Centres(
        torch.softmax(normal(1, B, C), dim=-1),
        normal(2, B, C, D),
        torch.eye(D, dtype=torch.float64).expand(B, C, D, D),
        torch.ones(B, C, dtype=torch.bool),
    )
    return Tables(normal(0, B, N, D), torch.ones(B, N, dtype=torch.float64)), start


def answer(net: MixtureTransformer, tables: Tables, start: Centres | Tensor) -> Tensor:
    return net(tables, start).responsibilities[-1]


@pytest.mark.parametrize("point_layers", [False, True])
@pytest.mark.parametrize("layer_norm", [False, True])
def test_trace_has_a_simplex_and_its_moments_per_layer(
    layer_norm: bool, point_layers: bool
) -> None:
    tables, start = problem()
    trace = network(layer_norm=layer_norm, point_layers=point_layers, sigma=0.5)(tables, start)
    assert len(trace.responsibilities) == len(trace.centres) == 2
    for r, centres in zip(trace.responsibilities, trace.centres, strict=True):
        torch.testing.assert_close(r.sum(-1), torch.ones(B, N).double())
        torch.testing.assert_close(centres.weights, r.mean(1))
        means = (r.mT @ tables.X) / r.sum(1)[..., None]
        torch.testing.assert_close(centres.means, means)
        eye = 0.25 * torch.eye(D).double().expand(B, C, D, D)
        torch.testing.assert_close(centres.covariances, eye)
    assert (trace.responsibilities[0] - trace.responsibilities[1]).abs().max() > 1e-3


@pytest.mark.parametrize("point_layers", [False, True])
def test_order_of_points_and_components_carries_over(point_layers: bool) -> None:
    net = network(point_layers=point_layers)
    tables, start = problem()
    rows = torch.randperm(N, generator=Generator().manual_seed(0))
    columns = torch.randperm(C, generator=Generator().manual_seed(1))
    mixed = Centres(
        start.weights[:, columns], start.means[:, columns], start.covariances, start.is_component
    )
    found = answer(net, Tables(tables.X[:, rows], tables.weight), mixed)
    torch.testing.assert_close(found, answer(net, tables, start)[:, rows][:, :, columns])


@pytest.mark.parametrize("point_layers", [False, True])
def test_padding_changes_nothing(point_layers: bool) -> None:
    net = network(point_layers=point_layers)
    tables, start = problem()
    X = torch.cat([tables.X, torch.full((B, 3, D), 7.0).double()], dim=1)
    weight = torch.cat([tables.weight, torch.zeros(B, 3)], dim=1)
    padded = Centres(
        torch.cat([start.weights, torch.zeros(B, 2)], dim=1),
        torch.cat([start.means, torch.zeros(B, 2, D)], dim=1),
        torch.cat([start.covariances, torch.eye(D).expand(B, 2, D, D)], dim=1),
        torch.cat([start.is_component, torch.zeros(B, 2, dtype=torch.bool)], dim=1),
    )
    trace = net(Tables(X, weight), padded)
    plain = net(tables, start)
    found = trace.responsibilities[-1]
    torch.testing.assert_close(found[:, :N, :C], plain.responsibilities[-1])
    assert not found[..., C:].any()
    torch.testing.assert_close(trace.centres[-1].means[:, :C], plain.centres[-1].means)
    assert not trace.centres[-1].weights[:, C:].any()


@pytest.mark.parametrize("point_layers", [False, True])
def test_a_row_of_weight_two_is_two_rows(point_layers: bool) -> None:
    net = network(point_layers=point_layers)
    tables, start = problem()
    weight = tables.weight.clone()
    weight[:, 0] = 2.0
    doubled = Tables(torch.cat([tables.X, tables.X[:, :1]], 1), torch.ones(B, N + 1).double())
    left = net(Tables(tables.X, weight), start)
    right = net(doubled, start)
    torch.testing.assert_close(left.responsibilities[-1], right.responsibilities[-1][:, :N])
    torch.testing.assert_close(left.centres[-1].weights, right.centres[-1].weights)


def test_fewer_columns_are_columns_of_zeros_and_more_are_an_error() -> None:
    net = network()
    tables, start = problem()
    narrow = Tables(tables.X[..., :2], tables.weight)
    flat = tables.X.clone()
    flat[..., 2] = 0.0
    on_zeros = dataclasses.replace(start, means=start.means * torch.tensor([1.0, 1.0, 0.0]))
    narrow_start = dataclasses.replace(
        start, means=start.means[..., :2], covariances=start.covariances[..., :2, :2]
    )
    torch.testing.assert_close(
        answer(net, narrow, narrow_start), answer(net, Tables(flat, tables.weight), on_zeros)
    )
    wide = Tables(normal(0, B, N, D + 1), tables.weight)
    with pytest.raises(ValueError, match="4 columns, the weights take at most 3"):
        net(wide, start)


def test_responsibilities_as_a_start_are_their_moments() -> None:
    net = network()
    tables, start = problem()
    r = torch.softmax(normal(5, B, N, C), dim=-1)
    by_moments = moments(tables, r, start.is_component, sigma=1.0)
    torch.testing.assert_close(answer(net, tables, r), answer(net, tables, by_moments))


def test_record_names_patterns_and_residuals() -> None:
    tables, start = problem()
    found = network(point_layers=True).record(tables, start)
    respond = ["points.pattern", "points.data", "E.pattern", "E.data", "data MLP.data"]
    layer = ["M.pattern", "M.centres", "centre MLP.centres", *respond, "responsibilities"]
    expected = ["embedding.data", "embedding.centres", *(f"entry.{name}" for name in respond)]
    expected += [f"layer {number}.{name}" for number in (1, 2) for name in layer]
    assert list(found) == expected
    assert found["layer 2.points.pattern"].shape == (B, 2, N, N)
    assert found["layer 2.E.pattern"].shape == (B, 2, N, C)
    assert found["layer 2.M.pattern"].shape == (B, 2, C, N)
    for name in ("points", "E", "M"):
        total = found[f"layer 1.{name}.pattern"].sum(-1)
        torch.testing.assert_close(total, torch.ones_like(total))


def test_operations_are_listed() -> None:
    norm = ("layer norm",)
    assert network().non_attention_operations == {
        "E": norm,
        "data MLP": (*norm, "gelu"),
        "M": norm,
        "centre MLP": (*norm, "gelu"),
    }
    assert network(layer_norm=False).non_attention_operations == {
        "data MLP": ("gelu",),
        "centre MLP": ("gelu",),
    }


@pytest.mark.parametrize("point_layers", [False, True])
def test_gradients_reach_every_parameter(point_layers: bool) -> None:
    net = network(point_layers=point_layers)
    tables, start = problem()
    padded = dataclasses.replace(
        start, is_component=torch.tensor([[True] * C, [True, True, False, False]])
    )
    answer(net, tables, padded)[..., 0].log().sum().backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0, name


def test_noise_comes_from_the_generator_alone() -> None:
    def weights(seed: int) -> Tensor:
        net = MixtureTransformer.from_noise(2, rng=Generator().manual_seed(seed), width=8)
        return torch.cat([p.flatten() for p in net.parameters()])

    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))


def test_heads_have_to_divide_the_width() -> None:
    with pytest.raises(ValueError, match="width=10 is no multiple of n_heads=4"):
        MixtureTransformer.from_noise(2, rng=Generator().manual_seed(0), width=10)
