"""Digits beside noise in coordinates: what filters answer is what they would in pixels."""

from __future__ import annotations

import pytest
import torch

from statformer.experiments._diffusion_digits import CLASSES, class_means, digit_runs, pools


def test_class_means_weigh_images_alike() -> None:
    train, _ = pools("made")
    means = class_means(train)
    assert means.norm(dim=-1).tolist() == pytest.approx([1.0, 1.0])
    brighter = train.images.clone()
    brighter[::3] //= 2
    torch.testing.assert_close(
        class_means(type(train)(brighter, train.labels)), means, rtol=0.02, atol=0.002
    )
    for place, digit in enumerate(CLASSES):
        images = train.images[train.labels == digit].flatten(1).to(torch.float64)
        cosines = images @ means.T / images.norm(dim=-1, keepdim=True)
        assert (cosines[:, place] > cosines[:, 1 - place]).all()


def test_strengths_share_images_noise_and_filters() -> None:
    runs = digit_runs("made", 6, (0.5, 2.0), seed=1)
    d = runs.basis.shape[-1]
    lengths = runs.X[:, :, 0].norm(dim=-1)
    expected = torch.tensor([[0.5 * d / 6], [2.0 * d / 6]], dtype=torch.float64).sqrt()
    torch.testing.assert_close(lengths, expected.expand(2, 6))
    torch.testing.assert_close(runs.means.norm(dim=-1), expected.expand(2, 2))
    pixels = torch.einsum("bnpr,brd->bnpd", runs.X, runs.basis)
    torch.testing.assert_close(pixels[1, :, 0], 2.0 * pixels[0, :, 0])
    torch.testing.assert_close(pixels[1, :, 1], pixels[0, :, 1])
    filters = runs.W @ runs.basis
    torch.testing.assert_close(filters[0], filters[1])
    assert not torch.allclose(runs.fresh[:, :, 1], runs.X[:, :, 1])


def test_pixels_of_known_digits_are_those_of_the_pool() -> None:
    runs, (train, _) = digit_runs("made", 6, (2.0,), seed=1), pools("made")
    pixels = torch.einsum("nr,rd->nd", runs.X[0, :, 0], runs.basis[0])
    pool = train.images.flatten(1).to(torch.float64)
    cosines = pixels @ pool.T / (pixels.norm(dim=-1, keepdim=True) * pool.norm(dim=-1))
    best = cosines.max(1)
    assert best.values.min() > 1 - 1e-12
    assert (2 * train.labels[best.indices] - 1).tolist() == runs.y[0].tolist()
