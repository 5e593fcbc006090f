"""The loss of one nearest neighbour: gradient, known values, landscape."""

from __future__ import annotations

import pytest
import torch

from statformer.nn.neighbor import NeighborFamily, NeighborTransformer
from statformer.objectives.nearest_neighbor import family_gradient, landscape, neighbor_loss
from statformer.tasks.labelled_points import (
    LabelledPoints,
    LabelledPointsPrior,
    ShiftedPointsPrior,
)
from statformer.tasks.stream import TaskStream


def draw(prior: LabelledPointsPrior | ShiftedPointsPrior, b: int = 20_000) -> LabelledPoints:
    return prior.sample(TaskStream(3, 0, range(b), dtype=torch.float64))


def loss_at(network: torch.nn.Module, batch: LabelledPoints) -> torch.Tensor:
    return neighbor_loss(network(batch.X, batch.y[..., None], batch.query)[:, 0], batch.target)


@pytest.mark.parametrize("xi", [(0.0, 0.0), (0.0, 10.0), (6.0, 4.0), (20.0, 30.0)])
def test_the_closed_form_is_the_gradient(xi: tuple[float, float]) -> None:
    batch = draw(LabelledPointsPrior(7, 3), b=50)
    network = NeighborFamily(*xi)
    loss_at(network, batch).backward()
    found = family_gradient(network.xi.detach(), batch.X, batch.y, batch.query, batch.target)
    torch.testing.assert_close(found, network.xi.grad, rtol=1e-9, atol=1e-14)


# (xi_1, xi_2) -> mean squared error on prompts of the training law, from the specification.
KNOWN = {
    (4, 4): {(5.0, 10.0): 0.162, (10.0, 15.0): 0.085, (20.0, 30.0): 0.041, (40.0, 60.0): 0.021},
    (16, 8): {(5.0, 10.0): 0.474, (10.0, 15.0): 0.249, (20.0, 30.0): 0.119, (40.0, 60.0): 0.057},
}


@pytest.mark.parametrize("sizes", KNOWN)
def test_known_errors_on_the_training_law(sizes: tuple[int, int]) -> None:
    batch = draw(LabelledPointsPrior(*sizes))
    for xi, known in KNOWN[sizes].items():
        with torch.no_grad():
            found = 2.0 * loss_at(NeighborFamily(*xi), batch).item()
        assert found == pytest.approx(known, rel=0.12)  # both sides are means over 20,000 prompts


SHIFTED = {
    (4, 4): {(5.0, 10.0): (1.8e-2, 2.6e-3), (10.0, 15.0): (9e-4, 1e-5)},
    (16, 8): {(5.0, 10.0): (8.2e-2, 2.9e-2), (10.0, 15.0): (2.5e-3, 8e-5)},
}


@pytest.mark.parametrize("sizes", SHIFTED)
def test_known_errors_on_shifted_prompts(sizes: tuple[int, int]) -> None:
    for column, margin in enumerate((0.5, 1.0)):
        batch = draw(ShiftedPointsPrior(*sizes, margin))
        for xi, known in SHIFTED[sizes].items():
            with torch.no_grad():
                found = 2.0 * loss_at(NeighborFamily(*xi), batch).item()
            assert found == pytest.approx(known[column], rel=0.15, abs=1e-5)
        with torch.no_grad():
            assert loss_at(NeighborFamily(20.0, 30.0), batch) < 1e-5


def test_the_full_gradient_stays_in_the_family() -> None:
    """Symmetry: the mean gradient is diagonal, equal on the point block, zero on the label."""
    batch = draw(LabelledPointsPrior(4, 4), b=100_000)
    network = NeighborTransformer.from_family(4, 3.0, 4.0)
    loss_at(network, batch).backward()
    grad = network.attention.W_QK.grad[0]
    by_xi = family_gradient(
        torch.tensor([3.0, 4.0], dtype=torch.float64),
        batch.X,
        batch.y,
        batch.query,
        batch.target,
    )
    expected = torch.diag(torch.stack([*(by_xi[:1] / 4).expand(4), 0 * by_xi[0], -by_xi[1]]))
    torch.testing.assert_close(grad, expected, rtol=0.0, atol=2e-3)
    assert by_xi.abs().min() > 5e-3  # the tolerance would see it missing
    torch.testing.assert_close(torch.diagonal(grad)[:4].sum(), by_xi[0])


def test_the_landscape_is_the_loss_and_is_not_convex() -> None:
    batch = draw(LabelledPointsPrior(4, 4), b=2000)
    prompts = batch.X, batch.y, batch.query, batch.target
    xi_1 = torch.linspace(-20.0, 30.0, 11, dtype=torch.float64)
    xi_2 = torch.linspace(-20.0, 30.0, 6, dtype=torch.float64)
    found = landscape(xi_1, xi_2, *prompts)
    assert found.shape == (11, 6)
    with torch.no_grad():
        one = loss_at(NeighborFamily(xi_1[7].item(), xi_2[4].item()), batch)
    torch.testing.assert_close(found[7, 4], one, rtol=1e-12, atol=0.0)
    midpoint = found[1:-1] - 0.5 * (found[2:] + found[:-2])
    assert midpoint.max() > 0.05  # above its chord
    assert midpoint.min() < -0.01  # and below
