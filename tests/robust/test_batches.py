"""Batches in memory: forms of images, an order for each epoch, augmentation that only moves."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from statformer.robust.batches import ImageBatches, as_images, crop_flip
from statformer.robust.schedule import learning_rate


def drawn(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=Generator().manual_seed(0))


def test_forms_of_images() -> None:
    grey = np.arange(2 * 4 * 5, dtype=np.uint8).reshape(2, 4, 5)
    assert as_images(grey).shape == (2, 1, 4, 5)
    assert as_images(grey)[1, 0, 3, 4] == 39 / 255
    colour = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3), dtype=np.uint8)
    assert as_images(colour).shape == (2, 3, 4, 5)
    assert as_images(colour)[1, 2, 3, 4] == colour[1, 3, 4, 2] / np.float32(255)
    assert as_images(drawn(2, 3, 4, 5)).shape == (2, 3, 4, 5)
    with pytest.raises(ValueError, match="'n k h w'"):
        as_images(drawn(4))


def test_an_epoch_decides_the_order() -> None:
    batches = ImageBatches(drawn(10, 1, 4, 4), torch.arange(10), batch_size=4)
    assert len(batches) == 3
    first, second = ([y for _, y, _ in batches] for _ in range(2))
    assert [len(y) for y in first] == [4, 4, 2]
    assert sorted(torch.cat(first).tolist()) == list(range(10))
    assert torch.cat(first).tolist() != torch.cat(second).tolist()
    batches.set_epoch(0)
    assert torch.equal(torch.cat([y for _, y, _ in batches]), torch.cat(first))
    seeded = ImageBatches(
        drawn(10, 1, 4, 4), torch.arange(10), generator=Generator().manual_seed(1)
    )
    assert next(iter(seeded))[1].tolist() != torch.cat(first).tolist()


def test_batches_carry_their_indices() -> None:
    x = drawn(10, 1, 4, 4)
    for image, y, index in ImageBatches(x, torch.arange(10) + 5, batch_size=3):
        assert torch.equal(image, x[index])
        assert torch.equal(y, index + 5)


def test_crops_are_shifts_and_mirror_images() -> None:
    x = drawn(40, 2, 6, 7) + 1.0
    moved = crop_flip(x, Generator().manual_seed(1))
    assert moved.shape == x.shape
    padded = torch.nn.functional.pad(x, (4,) * 4)
    n_mirrored = 0
    for image, source in zip(moved, padded, strict=True):
        places = [
            (i, j, mirrored)
            for i in range(9)
            for j in range(9)
            for mirrored, crop in enumerate(
                (source[:, i : i + 6, j : j + 7], source[:, i : i + 6, j : j + 7].flip(2))
            )
            if torch.equal(image, crop)
        ]
        assert places, "an image that is neither a crop nor its mirror image"
        n_mirrored += places[0][2]
    assert 10 < n_mirrored < 30


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"batch_size": 0}, "batch_size=0"),
        ({"augment": "flip"}, "augment='flip'"),
        ({"y": torch.arange(3)}, "10 images and y 3 labels"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, object], words: str) -> None:
    given = {"x": drawn(10, 1, 4, 4), "y": torch.arange(10), **arguments}
    with pytest.raises(ValueError, match=words):
        ImageBatches(**given)


def test_onecycle_is_that_of_torch() -> None:
    n_steps, peak = 57, 0.1
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=peak, momentum=0.9)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, peak, n_steps, cycle_momentum=False)
    for step in range(n_steps):
        expected = optimizer.param_groups[0]["lr"]
        assert learning_rate("onecycle", peak, step, n_steps) == pytest.approx(expected)
        optimizer.step()
        if step < n_steps - 1:
            schedule.step()


def test_drops_are_at_the_epochs_of_the_code() -> None:
    rates = [learning_rate("drops", 0.1, step, 110) for step in (0, 99, 100, 104, 105, 109)]
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])
    assert learning_rate("constant", 0.1, 50, 110) == 0.1
    with pytest.raises(ValueError, match="schedule='cosine'"):
        learning_rate("cosine", 0.1, 0, 10)  # type: ignore[arg-type]
