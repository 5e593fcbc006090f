"""What the experiments on denoisers share: repeated patches, adaptive steps, crossings."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from statformer.experiments._diffusion import (
    ALPHA,
    BETA,
    AdaptiveSteps,
    Patches,
    Runs,
    crossings,
    denoising_gradient,
    largest_product,
    synthetic_runs,
)
from statformer.nn.vision import TiedDenoiser
from statformer.objectives.denoising import expected_denoising_gradient
from statformer.optim.descent import descend


def small_runs(sigma0: float = 0.1) -> Runs:
    return synthetic_runs((0.5, 4.0), seed=3, n=6, d=40, m=4, sigma0=sigma0)


def test_repeated_patches_give_the_gradient_of_all() -> None:
    runs = small_runs()
    network, gradient = runs.denoiser()
    expected = expected_denoising_gradient(network, runs.X, ALPHA, BETA)
    torch.testing.assert_close(gradient()["W"], expected, rtol=1e-12, atol=1e-14)
    vectors, counts, n = runs.patches
    assert vectors.shape[1] == 8
    assert counts.sum(1).tolist() == [12.0, 12.0]
    wrong = denoising_gradient(network, Patches(vectors, counts.flip(1), n), ALPHA, BETA)
    assert not torch.allclose(wrong, expected, rtol=1e-3)


def test_training_in_coordinates_is_training_in_features() -> None:
    """The strengths of a seed share noise, labels and filters; each is as it would be alone."""
    both = small_runs()
    alone = synthetic_runs((4.0,), seed=3, n=6, d=40, m=4, sigma0=0.1)
    ends = []
    for runs in (both, alone):
        network, gradient = runs.denoiser()
        descend(network, gradient, {"W": torch.full_like(runs.lengths, 0.01)}, 50)
        ends.append(largest_product(network.W, runs.signal)[-1])
    assert ends[0].item() == pytest.approx(ends[1].item(), rel=1e-10)
    assert both.lengths.square().tolist() == pytest.approx([0.5 * 40 / 6, 4.0 * 40 / 6])


def test_adaptive_steps_settle_where_small_steps_do_and_sooner() -> None:
    results, places = [], []
    for adaptive in (False, True):
        runs = small_runs(sigma0=0.01)
        network, gradient = runs.denoiser()
        steps = AdaptiveSteps(network, gradient, torch.full_like(runs.lengths, 0.1))
        sizes = steps.sizes if adaptive else {"W": torch.full_like(runs.lengths, 0.01)}
        chosen = steps if adaptive else gradient
        results.append(descend(network, chosen, sizes, 20_000, tolerance=1e-8))
        places.append(largest_product(network.W, runs.signal))
    for result in results:
        assert (result.gradient_norm <= 1e-8 * result.largest_gradient).all()
    assert (2 * results[1].n_steps < results[0].n_steps).all()
    torch.testing.assert_close(places[0], places[1], rtol=1e-5, atol=0.0)


def test_adaptive_steps_follow_the_curvature_and_the_cap() -> None:
    """f(w) = h w^2 / 2: from the third step on, steps of 1 / (4 h), or the cap."""
    network = TiedDenoiser(torch.ones(2, 1, 1, dtype=torch.float64))
    h, cap = torch.tensor([50.0, 0.1], dtype=torch.float64), torch.tensor([1.0, 0.3]).double()
    steps = AdaptiveSteps(network, lambda: {"W": h[:, None, None] * network.W.detach()}, cap)
    descend(network, steps, steps.sizes, 40)
    assert steps.sizes["W"].tolist() == pytest.approx([1 / 200, 0.3])


def test_crossings_are_found_on_the_line_between_points() -> None:
    x = np.array([0.0, 1.0, 2.0, 3.0])
    assert crossings(x, np.array([-1.0, 3.0, 3.0, -3.0])) == pytest.approx([0.25, 2.5])
    assert crossings(x, np.array([-1.0, -2.0, -3.0, -0.1])) == []
