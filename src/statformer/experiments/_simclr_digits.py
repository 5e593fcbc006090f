"""Two digits beside noise, with a view that knows the class and one that does not.

Axes: b runs, n points (images), d features: the pixels of one image.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from statformer.images import ImageArrays, image_splits
from statformer.tasks.digits import Digits
from statformer.tasks.noisy_digits import NoisyDigits, NoisyDigitsPrior
from statformer.tasks.stream import TaskStream

MOST_SHIFT, EXTRA_NOISE = 2, 0.1


@lru_cache(maxsize=2)
def image_arrays(name: str) -> ImageArrays:
    """The images that `image_splits` has by this name, or "made" ones, which need no file."""
    return made_images() if name == "made" else image_splits(name)


def made_images(n_train: int = 300, n_test: int = 200, side: int = 24) -> ImageArrays:
    """Small pictures of a ring (label 0) and a stroke (label 1), a little off their places."""
    rng = np.random.default_rng(0)
    n = n_train + n_test
    labels = rng.integers(0, 2, n)
    middle = (side - 1) / 2 + rng.uniform(-0.3, 0.3, (2, n, 1, 1))
    rows, columns = np.meshgrid(np.arange(side), np.arange(side), indexing="ij")
    x, y = rows - middle[0], columns - middle[1]
    ring = np.exp(-((np.hypot(x, y) - side / 4) ** 2))
    stroke = np.exp(-(y**2)) * (np.abs(x) < side / 3)
    images = np.where(labels[:, None, None] == 0, ring, stroke)
    pixels, labels = (255 * images).astype(np.uint8), labels.astype(np.uint8)
    return ImageArrays(pixels[:n_train], labels[:n_train], pixels[n_train:], labels[n_train:])


class Parts(NamedTuple):
    """x = (image, noise) "b n 2 d" and y "b n" of three sets; `mean` "b d" is what was taken off.

    `scale` "b" is by what images of length 1 were multiplied after that.
    """

    unlabelled: Float[Tensor, "b n 2 d"]
    classes: Float[Tensor, "b n"]
    labelled: Float[Tensor, "b n 2 d"]
    labels: Float[Tensor, "b n"]
    test: Float[Tensor, "b n 2 d"]
    test_labels: Float[Tensor, "b n"]
    mean: Float[Tensor, "b d"]
    scale: Float[Tensor, " b"]


def draw_parts(
    images: ImageArrays,
    classes: tuple[int, int],
    snr: float,
    sizes: tuple[int, int, int],
    stream: TaskStream,
) -> Parts:
    """Different images for `sizes` unlabelled, labelled and test samples, noise N(0, I) beside.

    Every image has length 1, then loses the mean image of the unlabelled ones, then is multiplied
    so that those have the mean length snr sqrt(d): our reading of "MNIST" as a signal patch.
    """
    n0, n, n_test = sizes
    train, test = (
        Digits(torch.from_numpy(pixels), torch.from_numpy(labels.astype(np.int64)))
        for pixels, labels in (
            (images.train_images, images.train_labels),
            (images.test_images, images.test_labels),
        )
    )
    drawn, fresh = (
        NoisyDigitsPrior(pool, size, signal_norm=1.0, sigma=1.0, classes=classes).sample(stream)
        for pool, size in ((train, n0 + n), (test, n_test))
    )
    pixels = drawn.X[:, :n0, 0]
    mean = pixels.mean(1)
    lengths = (pixels - mean[:, None]).norm(dim=-1).mean(1)
    scale = snr * math.sqrt(pixels.shape[-1]) / lengths

    def centred(part: NoisyDigits) -> Float[Tensor, "b n 2 d"]:
        image = scale[:, None, None] * (part.X[:, :, 0] - mean[:, None])
        return torch.stack([image, part.X[:, :, 1]], dim=2)

    X, y = centred(drawn), drawn.y
    return Parts(X[:, :n0], y[:, :n0], X[:, n0:], y[:, n0:], centred(fresh), fresh.y, mean, scale)


def view_of_class(parts: Parts, stream: TaskStream) -> Float[Tensor, "b n 2 d"]:
    """Another unlabelled image of the same class, with fresh noise: this view knows the class.

    So does the view of the theory of arXiv 2409.18685. A class needs two images.
    """
    X, y = parts.unlabelled, parts.classes
    n = X.shape[1]
    others = (y[:, :, None] == y[:, None]) & ~torch.eye(n, dtype=torch.bool)
    at = stream.uniform(n, n).masked_fill(~others, torch.inf).argmin(-1)
    image = X[:, :, 0].gather(1, at[..., None].expand_as(X[:, :, 0]))
    return torch.stack([image, stream.normal(n, X.shape[-1])], dim=2)


def view_of_own(
    parts: Parts, shape: tuple[int, int], stream: TaskStream
) -> Float[Tensor, "b n 2 d"]:
    """The same image, moved by up to MOST_SHIFT pixels either way, its noise and a little more.

    This view knows no class, nor which patch is the noise. What leaves the image on one side comes
    in on the other.
    """
    X = parts.unlabelled
    b, n, _, d = X.shape
    offset = parts.scale[:, None, None] * parts.mean[:, None]
    # Moved is the image itself, not the image without the mean one.
    whole = (X[:, :, 0] + offset).reshape(b, n, *shape)
    moves = stream.integers(-MOST_SHIFT, MOST_SHIFT + 1, n, 2)
    rows = (torch.arange(shape[0]) - moves[..., :1]) % shape[0]
    columns = (torch.arange(shape[1]) - moves[..., 1:]) % shape[1]
    run, point = torch.arange(b)[:, None, None, None], torch.arange(n)[None, :, None, None]
    moved = whole[run, point, rows[..., :, None], columns[..., None, :]]
    image = moved.reshape(b, n, d) - offset
    return torch.stack([image, X[:, :, 1]], dim=2) + EXTRA_NOISE * stream.normal(n, 2, d)
