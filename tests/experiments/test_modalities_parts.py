"""Shared parts of the experiments on contrast between modalities: views, losses, heads, words."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Generator, Tensor

from statformer.experiments._modalities import (
    Contrast,
    Faults,
    Probe,
    few_negatives,
    paired_prior,
    scene,
    stream_of,
)
from statformer.experiments._modalities_curves import quotient
from statformer.experiments._modalities_images import (
    contrast,
    image_encoder,
    made_pools,
    mnist_pools,
    view,
)
from statformer.experiments._modalities_table import PAPER, words
from statformer.images import ImageArrays
from statformer.nn.vision import PatchEncoder, Relu

PRIOR = paired_prior(12, 60, 5.0, 3.0, projected=False)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def generator(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def ramp(n: int, side: int = 14) -> Tensor:
    """Three channels c of c + 1 times the place from left to right, -1 to 1."""
    places = (2 * torch.arange(side) + 1) / side - 1
    return torch.stack([(c + 1) * places.expand(n, side, side) for c in range(3)], 1)


def test_a_view_is_a_crop_of_its_share_that_keeps_colours() -> None:
    seen = view(ramp(400), 0.08, generator())
    inner = seen[..., 2:-2, 2:-2]
    assert seen.shape == (400, 3, 14, 14)
    torch.testing.assert_close(inner[:, 1], 2 * inner[:, 0])
    torch.testing.assert_close(inner[:, 0], inner[:, 0, :1].expand(400, 10, 10))
    widths = (inner[:, 0, 0, -1] - inner[:, 0, 0, 0]) * 14 / 18  # of the ramp's 2, as a share
    assert 0.2 < widths.min() < 0.35
    assert widths.max() <= 1 + 1e-6
    assert inner[:, 0].min() >= -1
    assert inner[:, 0].max() <= 1


def test_jitter_mixes_colours() -> None:
    colored = torch.zeros(200, 3, 14, 14)
    colored[:, 0] = 1.0
    plain, mixed = (view(colored, 0.5, generator(), jitter=jitter) for jitter in (False, True))
    middle = (..., 7, 7)
    torch.testing.assert_close(plain[middle], torch.tensor([1.0, 0.0, 0.0]).expand(200, 3))
    brightest = mixed[middle].argmax(1)
    assert all((brightest == channel).sum() > 40 for channel in range(3))


def test_the_contrast_of_images_as_written() -> None:
    left, right = (torch.randn(4, 5, generator=generator(seed)) for seed in (1, 2))
    ignored = torch.zeros(4, 4, dtype=torch.bool)
    ignored[0, 2] = ignored[2, 0] = True
    s = torch.zeros(4, 4)
    for i in range(4):
        for j in range(4):
            s[i, j] = left[i] @ right[j] / left[i].norm() / right[j].norm() / 0.2
    total = 0.0
    for i in range(4):
        kept = [j for j in range(4) if not ignored[i, j]]
        total -= torch.log(s[i, i].exp() / sum(s[i, j].exp() for j in kept)) / 8
        total -= torch.log(s[i, i].exp() / sum(s[j, i].exp() for j in kept)) / 8
    torch.testing.assert_close(contrast(left, right, 0.2, ignored), total)


def test_an_encoder_leaves_the_global_generator_as_it_was() -> None:
    before = torch.random.get_rng_state()
    first, again, other = (image_encoder(20, seed) for seed in (3, 3, 4))
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.equal(first[0].weight, again[0].weight)
    assert not torch.equal(first[0].weight, other[0].weight)
    assert first(torch.zeros(2, 3, 14, 14)).shape == (2, 20)


def test_made_images_have_a_pattern_for_each_class() -> None:
    pools = made_pools(rng(), 200, 50)
    assert pools.train.images.shape == (200, 14, 14)
    assert len(pools.test.labels) == 50
    means = torch.stack(
        [pools.train.images[pools.train.labels == k].double().mean(0) for k in range(10)]
    )
    assert torch.pdist(means.flatten(1)).min() > 100


def test_mnist_is_halved_and_copies_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = rng().integers(0, 256, (10, 28, 28)).astype(np.uint8)
    labels = np.arange(10).astype(np.uint8)

    def images(note: str) -> ImageArrays:
        return ImageArrays(pixels, labels, pixels[:3], labels[:3], note)

    module = "statformer.experiments._modalities_images.image_splits"
    monkeypatch.setattr(module, lambda _: images(""))
    read = mnist_pools.__wrapped__
    halved = read().train.images
    assert halved[4, 2, 3] == round(float(pixels[4, 4:6, 6:8].mean()))
    monkeypatch.setattr(module, lambda _: images("JPEG copies"))
    with pytest.raises(ValueError, match="JPEG copies"):
        read()


def test_a_head_finds_a_signal_that_is_there_and_none_that_is_not() -> None:
    stream, prior = stream_of(rng()), paired_prior(100, 300, 5.0, 3.0, projected=False)
    at = scene(prior, 0.01, stream)
    probe = Probe(prior.first, at, stream)
    direction = at.first.mu / at.first.mu.norm()
    noise = at.first.xi[:, :1] - (at.first.xi[:, :1] @ direction.mT) * direction
    signal = PatchEncoder(torch.cat([direction, -direction], 1), Relu())
    assert probe.accuracy(signal) > 0.9
    assert probe.accuracy(signal, fit_on=probe.train) > 0.9
    blind = PatchEncoder(torch.cat([noise, -noise], 1), Relu())
    assert 0.4 < probe.accuracy(blind) < 0.6


def test_what_is_broken_is_broken() -> None:
    at, unpaired = (scene(PRIOR, 0.01, stream_of(rng()), faults=Faults(paired=p)) for p in (1, 0))
    torch.testing.assert_close(unpaired.second.X, at.second.X.roll(1, 1))
    torch.testing.assert_close(unpaired.first.X, at.first.X)
    still = Contrast(at, "multi", 0.1, faults=Faults(trains=False))
    still.descend(3)
    assert torch.equal(still.encoder.W.detach(), at.first.W)
    moved = Contrast(at, "multi", 0.1)
    moved.descend(3)
    assert not torch.equal(moved.encoder.W.detach(), at.first.W)
    assert not torch.equal(moved.partner.W.detach(), at.second.W)
    others = Contrast(at, "single", 0.1, faults=Faults(by_label=False)).negatives
    assert int(others.sum()) == 12 * 11


def test_few_negatives_have_the_other_label() -> None:
    stream = stream_of(rng())
    at = scene(PRIOR, 0.01, stream)
    few = few_negatives(at, 2, stream)
    assert (few.sum(-1) == 2).all()
    apart = at.y[:, :, None] != at.y[:, None]
    assert not (few & ~apart).any()
    assert torch.equal(few_negatives(at, 0, stream), apart)


def test_a_run_whose_loss_is_zero_is_recorded_to_its_end() -> None:
    at = scene(PRIOR, 0.01, stream_of(rng()))
    same = torch.zeros_like(at.y[:, :, None] != at.y[:, None])
    epochs: list[int] = []
    Contrast(at, "single", 0.1, negatives=same).descend(5, epochs.append)
    assert epochs == [0, 1, 2, 3, 4, 5]


def test_quotients_are_geometric_means_at_the_end() -> None:
    rows = [
        {"seed": seed, "epoch": epoch, "method": method, "x": value * (epoch or 100)}
        for seed, values in enumerate(((8.0, 2.0), (9.0, 1.0)))
        for method, value in zip(("multi", "single"), values, strict=True)
        for epoch in (0, 7)
    ]
    found = quotient(pd.DataFrame(rows), "x", "multi", "single")
    assert found.value == pytest.approx(6.0)
    assert found.low < 6.0 < found.high


def test_words_have_the_papers_numbers_beside_ours() -> None:
    rows = pd.DataFrame(
        [
            {"seed": seed, "method": method, "train": 0.5 + seed / 100, "test": 0.25}
            for seed in range(2)
            for method in ("single", "multi")
        ]
    )
    said = words(rows)
    assert said.count("50.5 %") == 2
    assert said.count("25.0 % [25.0, 25.0]") == 2
    for value in PAPER.values():
        assert f"(paper {100 * value:.2f})" in said
