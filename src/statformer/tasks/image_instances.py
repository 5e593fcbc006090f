"""Instances made of images, prepared as for the transfer tests of the paper (arXiv 2501.01312).

Axes: b tasks, n points (images), d features, p pixels.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from statformer.images.npz import PARTS, read_splits
from statformer.tasks.eigenpairs import EigenBatch, eigen_batch
from statformer.tasks.stream import TaskStream

_CHUNK = 4096


@dataclass(frozen=True)
class ImagePool:
    """Images as points of d coordinates "n d", with their labels "n"."""

    points: Float[Tensor, "n d"]
    labels: Int[Tensor, " n"]

    def only(self, digits: Collection[int]) -> ImagePool:
        """The images of some labels.

        Raises ValueError where there are none.
        """
        kept = torch.isin(self.labels, torch.tensor(sorted(digits)))
        if not bool(kept.any()):
            there = sorted(set(self.labels.tolist()))
            raise ValueError(f"digits={sorted(digits)}: no such image; the labels are {there}")
        return ImagePool(self.points[kept], self.labels[kept])


class ImageSplits(NamedTuple):
    """Training and test images in the coordinates of `load_images`."""

    train: ImagePool
    test: ImagePool


@dataclass(frozen=True)
class ImageInstances:
    """An instance is `n_points` images of the pool, drawn without replacement, all orders alike."""

    pool: ImagePool
    n_points: int = 10

    def __post_init__(self) -> None:
        if not 2 <= self.n_points <= len(self.pool.points):
            raise ValueError(
                f"n_points={self.n_points}: pass 2 to {len(self.pool.points)}, the size of the pool"
            )

    def sample(self, stream: TaskStream) -> EigenBatch:
        """Instances with the eigenpairs of their covariance; `latent`: "image" "b n", the rows."""
        at = _without_replacement(stream, len(self.pool.points), self.n_points)
        X = self.pool.points.to(stream.device)[at]
        return eigen_batch(X.to(stream.dtype), {"image": at})


def load_images(path: str | Path, n_features: int) -> ImageSplits:
    """Images of an .npz file on their leading directions; the paper's steps in the paper's order:

    pixels as they are, flattened; minus the mean image; SVD; the coordinates on the `n_features`
    leading directions (training and test images each with their own mean and SVD); each coordinate
    minus the mean and divided by the standard deviation of the training images.

    Directions come from the eigenvectors of the p x p scatter matrix, in float64;
    each points so that its largest entry is positive (ours: an SVD leaves the sign open).

    Raises what `read_splits` raises, and ValueError where there are fewer than `n_features` pixels
    or images.
    """
    return on_directions(read_splits(path), n_features)


def on_directions(
    splits: Mapping[str, tuple[Shaped[np.ndarray, "n *size"], Shaped[np.ndarray, " n"]]],
    n_features: int,
) -> ImageSplits:
    """As `load_images`, for images and labels by "train" and "test"."""
    points, labels = {}, {}
    for part, (images, labels[part]) in splits.items():
        pixels = images.reshape(len(images), -1)
        if not 1 <= n_features <= min(pixels.shape):
            raise ValueError(
                f"n_features={n_features}: {part}_images has {pixels.shape[0]} images of "
                f"{pixels.shape[1]} pixels; pass 1 to {min(pixels.shape)}"
            )
        points[part] = _project(pixels, n_features)
    mean, spread = points["train"].mean(axis=0), points["train"].std(axis=0)
    if not np.all(spread > 0):
        raise ValueError(
            f"n_features={n_features}: the training images do not vary in so many directions"
        )
    train, test = (
        ImagePool(
            torch.from_numpy(((points[part] - mean) / spread).astype(np.float32)),
            torch.from_numpy(labels[part].astype(np.int64)),
        )
        for part in PARTS
    )
    return ImageSplits(train, test)


def _project(pixels: Shaped[np.ndarray, "n p"], n_features: int) -> Float[np.ndarray, "n d"]:
    """Coordinates of the centred images on their own leading right singular vectors."""
    mean = pixels.mean(axis=0, dtype=np.float64)
    starts = range(0, len(pixels), _CHUNK)
    chunks = [slice(start, start + _CHUNK) for start in starts]
    scatter = np.zeros((pixels.shape[1], pixels.shape[1]))
    for chunk in chunks:
        centred = pixels[chunk] - mean
        scatter += centred.T @ centred
    directions = np.linalg.eigh(scatter)[1][:, ::-1][:, :n_features]
    largest = np.abs(directions).argmax(axis=0)
    directions = directions * np.sign(directions[largest, np.arange(n_features)])
    return np.concatenate([(pixels[chunk] - mean) @ directions for chunk in chunks])


def _without_replacement(stream: TaskStream, size: int, n: int) -> Int[Tensor, "b n"]:
    """n different numbers below `size` per task: the j-th is one of the size - j still there."""
    left = size - torch.arange(n, device=stream.device)
    ranks = stream.integers(0, left[None], n)
    taken = ranks[:, :0]
    drawn = []
    for j in range(n):
        number = ranks[:, j]
        for lower in taken.unbind(1):  # ascending: step over every number already taken
            number = number + (number >= lower)
        drawn.append(number)
        taken = torch.cat([taken, number[:, None]], dim=1).sort(dim=1).values
    return torch.stack(drawn, dim=1)
