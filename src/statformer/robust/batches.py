"""Images in memory as batches: shuffled anew each epoch, augmented on the device.

Axes: n images, k channels, h by w pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

__all__ = ["ImageBatches", "as_images", "as_labels"]

Augment = Literal["crop-flip"]
PADDING = 4


def as_images(x: Tensor | np.ndarray) -> Float[Tensor, "n k h w"]:
    """Images "n h w", "n h w 3" or "n k h w" as float "n k h w"; uint8 is divided by 255.

    An array of four axes is taken as "n h w 3" where only its last axis has 1 or 3 places. Raises
    ValueError for other shapes.
    """
    images = torch.as_tensor(x)
    if images.ndim == 3:
        images = images[:, None]
    if images.ndim != 4:
        raise ValueError(f"x has shape {tuple(images.shape)}; pass images 'n h w' or 'n k h w'")
    if images.shape[-1] in (1, 3) and images.shape[1] not in (1, 3):
        images = images.permute(0, 3, 1, 2)
    if images.dtype == torch.uint8:
        return images.float() / 255.0
    return images.contiguous()


def as_labels(y: Tensor | np.ndarray) -> Int[Tensor, " n"]:
    """Labels as int64. Raises ValueError where they are no whole numbers of shape n."""
    labels = torch.as_tensor(y)
    if labels.is_floating_point() or labels.ndim != 1:
        raise ValueError(
            f"y is {labels.dtype} of shape {tuple(labels.shape)}; pass whole numbers of shape n"
        )
    return labels.long()


class ImageBatches:
    """Batches (x, y, index) of images held in memory, in an order that (seed, epoch) determines.

    batch_size      128 in SKG-FAT's code
    shuffle         a new order each epoch
    augment         "crop-flip": a crop after padding by 4 pixels and a flip by chance, as for
                    CIFAR; None leaves images as they are
    device          where images lie and are augmented
    generator       one draw from it is the seed of all epochs; seed 0 where not given

    `set_epoch` makes the next pass that of an epoch; otherwise each pass is the next one. The last
    batch is as small as it comes out.
    """

    def __init__(
        self,
        x: Tensor | np.ndarray,
        y: Tensor | np.ndarray,
        *,
        batch_size: int = 128,
        shuffle: bool = True,
        augment: Augment | None = None,
        device: torch.device | str = "cpu",
        generator: Generator | None = None,
    ) -> None:
        self.x, self.y = as_images(x).to(device), as_labels(y).to(device)
        if len(self.x) != len(self.y):
            raise ValueError(f"x has {len(self.x)} images and y {len(self.y)} labels; pass as many")
        if not len(self.x):
            raise ValueError("x has no image; pass at least one")
        if batch_size < 1:
            raise ValueError(f"batch_size={batch_size}: pass at least 1")
        if augment not in (None, "crop-flip"):
            raise ValueError(f"augment={augment!r}: pass 'crop-flip' or None")
        self.batch_size, self.shuffle, self.augment = batch_size, shuffle, augment
        self.seed = 0
        if generator is not None:
            self.seed = int(torch.randint(2**31, (), generator=generator, device=generator.device))
        self.epoch = 0

    def __len__(self) -> int:
        return math.ceil(len(self.x) / self.batch_size)

    def set_epoch(self, epoch: int) -> None:
        """The next pass is that of `epoch`."""
        self.epoch = epoch

    def part(self, places: Tensor, *, augment: Augment | None, shuffle: bool) -> ImageBatches:
        """Batches of the images at `places`, in orders of the same seed."""
        here = places.to(self.x.device)
        made = ImageBatches(
            self.x[here],
            self.y[here],
            batch_size=self.batch_size,
            shuffle=shuffle,
            augment=augment,
            device=self.x.device,
        )
        made.seed = self.seed
        return made

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        # The generator is on the CPU, so that the order does not depend on the device.
        rng = Generator().manual_seed((self.seed * 1_000_003 + self.epoch) % 2**63)
        self.epoch += 1
        n = len(self.x)
        order = torch.randperm(n, generator=rng) if self.shuffle else torch.arange(n)
        for index in torch.split(order, self.batch_size):
            place = index.to(self.x.device)
            x = self.x[place]
            yield (x if self.augment is None else crop_flip(x, rng)), self.y[place], place


def crop_flip(x: Float[Tensor, "n k h w"], rng: Generator) -> Float[Tensor, "n k h w"]:
    """Each image moved by up to 4 pixels each way, black beyond its edge, and mirrored or not."""
    n, _, h, w = x.shape
    padded = torch.nn.functional.pad(x, (PADDING,) * 4)
    shifts = torch.randint(2 * PADDING + 1, (2, n, 1), generator=rng).to(x.device)
    mirrored = (torch.rand(n, 1, generator=rng) < 0.5).to(x.device)
    rows = shifts[0] + torch.arange(h, device=x.device)
    columns = torch.arange(w, device=x.device).expand(n, w)
    columns = shifts[1] + torch.where(mirrored, w - 1 - columns, columns)
    images = torch.arange(n, device=x.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[images, rows[:, :, None], columns[:, None]].permute(
        0, 3, 1, 2
    )
