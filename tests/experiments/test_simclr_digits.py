"""Two digits beside noise: what is taken off, what is put on, and what the views know."""

from __future__ import annotations

import torch

from statformer.experiments._simclr_digits import (
    EXTRA_NOISE,
    MOST_SHIFT,
    Parts,
    draw_parts,
    image_arrays,
    view_of_class,
    view_of_own,
)
from statformer.tasks.stream import TaskStream

SIZES, SNR = (40, 10, 30), 0.5
SHAPE = (24, 24)


def drawn() -> tuple[Parts, TaskStream]:
    stream = TaskStream(3, 0, range(1), dtype=torch.float64)
    return draw_parts(image_arrays("made"), (0, 1), SNR, SIZES, stream), stream


def test_unlabelled_images_are_centred_and_as_strong_as_asked() -> None:
    parts, _ = drawn()
    image, noise = parts.unlabelled[0, :, 0], parts.unlabelled[0, :, 1]
    d = image.shape[1]
    torch.testing.assert_close(
        image.mean(0), torch.zeros(d, dtype=torch.float64), atol=1e-12, rtol=0
    )
    assert abs(float(image.norm(dim=1).mean()) - SNR * d**0.5) < 1e-9
    assert abs(float(noise.std()) - 1.0) < 0.02
    assert [part.shape[1] for part in (parts.unlabelled, parts.labelled, parts.test)] == list(SIZES)


def test_no_image_is_both_unlabelled_and_labelled() -> None:
    parts, _ = drawn()
    apart = torch.cdist(parts.unlabelled[0, :, 0], parts.labelled[0, :, 0])
    assert float(apart.min()) > 1e-6


def test_the_view_of_the_class_is_another_image_of_it() -> None:
    parts, stream = drawn()
    view = view_of_class(parts, stream)
    X, y = parts.unlabelled[0, :, 0], parts.classes[0]
    same = (view[0, :, None, 0] == X).all(-1)
    # Some made images are equal, so that one may be its other's likeness.
    assert bool((same & ~torch.eye(len(y), dtype=torch.bool)).any(1).all())
    assert not bool((same & (y[:, None] != y)).any())
    assert float((view[:, :, 1] - parts.unlabelled[:, :, 1]).std()) > 1.3  # two draws: root of 2


def test_the_view_of_its_own_is_the_moved_image_and_its_noise() -> None:
    parts, stream = drawn()
    view = view_of_own(parts, SHAPE, stream)
    offset = parts.scale[:, None, None] * parts.mean[:, None]
    first = (parts.unlabelled[:, :, 0] + offset)[0].reshape(-1, *SHAPE)
    second = (view[:, :, 0] + offset)[0].reshape(-1, *SHAPE)
    steps = range(-MOST_SHIFT, MOST_SHIFT + 1)
    moved = torch.stack([first.roll((i, j), (1, 2)) for i in steps for j in steps])
    rest = (moved - second).square().mean((2, 3)).sqrt()
    closest = rest.min(0)
    assert bool((closest.values < 1.2 * EXTRA_NOISE).all())
    assert len(set(closest.indices.tolist())) > len(steps)  # in both directions
    added = view[:, :, 1] - parts.unlabelled[:, :, 1]
    assert abs(float(added.std()) / EXTRA_NOISE - 1.0) < 0.02
