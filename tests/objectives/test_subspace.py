"""Angles between subspaces beside scipy's, and the loss made of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import subspace_angles

from statformer.objectives.subspace import cosines, distance, excess, largest_angle


def bases(seed: int, b: int = 4, k: int = 3, d: int = 8) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    W = torch.randn(b, d, k, generator=generator, dtype=torch.float64)
    return torch.linalg.qr(W).Q.mT.contiguous()


def test_angles_are_those_of_scipy() -> None:
    V, W = bases(0), bases(1)
    expected = [subspace_angles(v.T, w.T) for v, w in zip(V.numpy(), W.numpy(), strict=True)]
    found = torch.arccos(cosines(V, W)).flip(1).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-10)
    np.testing.assert_allclose(largest_angle(V, W), np.degrees([e.max() for e in expected]))


def test_distance_is_between_the_largest_sine_and_sqrt_k_times_that() -> None:
    V, W = bases(2), bases(3)
    sine = torch.sin(torch.deg2rad(largest_angle(V, W)))
    found = distance(V, W)
    assert bool((found >= sine).all())
    assert bool((found <= 3**0.5 * sine + 1e-2).all())
    turned = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator()))[0]
    torch.testing.assert_close(distance(turned @ V, W), found)
    torch.testing.assert_close(distance(V, V), torch.full((4,), 1e-2, dtype=torch.float64))


def test_the_gradient_is_finite_at_the_truth_and_points_to_it() -> None:
    V, truth = bases(4), bases(5)
    at_truth = truth.clone().requires_grad_()
    distance(at_truth, truth).sum().backward()
    assert bool(at_truth.grad.isfinite().all())
    moving = V.clone().requires_grad_()
    distance(moving, truth).sum().backward()
    stepped = torch.linalg.qr((V - 0.1 * moving.grad).mT).Q.mT
    assert bool((distance(stepped, truth) < distance(V, truth)).all())


def test_tables_that_are_hard_for_all_count_less() -> None:
    V, truth = bases(6), bases(7)
    easy, hard = (excess(V, truth, torch.full((4,), r, dtype=torch.float64)) for r in (0.05, 1.0))
    assert bool((easy > 4.0 * hard).all())
    reachable = distance(V, truth)
    assert excess(V, truth, reachable)[0].item() == pytest.approx(
        (reachable / (reachable + 0.2))[0].item()
    )
