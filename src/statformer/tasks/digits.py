"""Images of digits as they are, and the drawing of some of them.

Axes: b tasks (runs), n points (images drawn), i images of the pool, r rows and s columns of pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from statformer.images.npz import read_splits
from statformer.tasks.stream import TaskStream


@dataclass(frozen=True)
class Digits:
    """A pool of grey images "i r s" with their digits "i", 0 to 9."""

    images: UInt8[Tensor, "i r s"]
    labels: Int[Tensor, " i"]

    def __post_init__(self) -> None:
        if bool(((self.labels < 0) | (self.labels > 9)).any()):
            raise ValueError("labels: pass digits from 0 to 9")

    def only(self, digits: Sequence[int]) -> Digits:
        """The images of some digits. Raises ValueError where one of them has no image."""
        there = set(self.labels.tolist())
        if not there.issuperset(digits):
            raise ValueError(f"digits={list(digits)}: the pool has images of {sorted(there)}")
        kept = torch.isin(self.labels, torch.tensor(list(digits)))
        return Digits(self.images[kept], self.labels[kept])

    def draw(self, n_points: int, stream: TaskStream) -> Int[Tensor, "b n"]:
        """Which images each task takes: `n_points` different ones, all choices alike.

        Raises ValueError where the pool has not so many.
        """
        if not 1 <= n_points <= len(self.labels):
            raise ValueError(
                f"n_points={n_points}: pass 1 to {len(self.labels)}, the size of the pool"
            )
        return stream.permutation(len(self.labels))[:, :n_points]


class DigitSplits(NamedTuple):
    """Training and test images."""

    train: Digits
    test: Digits


def load_digits(path: str | Path) -> DigitSplits:
    """Digits of an .npz file; the form and the errors are those of `read_splits`."""
    splits = read_splits(path)
    for part, (images, _) in splits.items():
        if images.ndim != 3:
            raise ValueError(
                f"{path}: {part}_images has shape {images.shape}; grey images (n, rows, columns) "
                "are expected"
            )
    train, test = (
        Digits(torch.from_numpy(images), torch.from_numpy(labels.astype(np.int64)))
        for images, labels in (splits["train"], splits["test"])
    )
    return DigitSplits(train, test)
