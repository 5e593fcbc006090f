"""Digits beside Gaussian noise, in the coordinates in which filters are trained (arXiv 2412.01021).

Axes: b strengths of the signal, n points, i images of a pool, d pixels, f filters, r coordinates in
the span.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from statformer.experiments._diffusion import SIGMA0, M
from statformer.images import image_splits
from statformer.nn.span import Span
from statformer.tasks.digits import Digits
from statformer.tasks.noisy_digits import NoisyDigitsPrior
from statformer.tasks.stream import TaskStream

CLASSES = (0, 1)


class DigitRuns(NamedTuple):
    """Known and fresh samples, class means and first filters, in coordinates of their span."""

    X: Float[Tensor, "b n 2 r"]
    y: Float[Tensor, "b n"]
    means: Float[Tensor, "b 2 r"]
    W: Float[Tensor, "b f r"]
    fresh: Float[Tensor, "b n 2 r"]
    fresh_y: Float[Tensor, "b n"]
    basis: Float[Tensor, "b r d"]


def digit_runs(images: str, n: int, strengths: Sequence[float], seed: int) -> DigitRuns:
    """`n` points at each strength; images, noise and filters of a seed are the same at all."""
    train, test = pools(images)
    parts = [_run(train, test, n, n_snr2, seed) for n_snr2 in strengths]
    return DigitRuns(*(torch.cat(part) for part in zip(*parts, strict=True)))


def _run(train: Digits, test: Digits, n: int, n_snr2: float, seed: int) -> DigitRuns:
    stream = TaskStream(seed, 0, range(1), dtype=torch.float64)
    prior = NoisyDigitsPrior(train, n, sigma=1.0, n_snr2=n_snr2, classes=CLASSES)
    batch = prior.sample(stream)
    W = SIGMA0 * stream.normal(2 * M, batch.X.shape[-1])
    length = prior.strength.signal_norm
    others = NoisyDigitsPrior(test, n, sigma=1.0, signal_norm=length, classes=CLASSES)
    fresh = others.sample(stream)
    means = length * class_means(train)[None]
    span = Span.of(batch.X.flatten(1, 2), means, W)
    X, means, W, fresh_X = (span.inside(part) for part in (batch.X, means, W, fresh.X))
    return DigitRuns(X, batch.y, means, W, fresh_X, fresh.y, span.basis)


def class_means(digits: Digits) -> Float[Tensor, "2 d"]:
    """Mean of the images of each class, all scaled to length 1; scaled to length 1 as well."""
    pixels = digits.images.flatten(1).to(torch.float64)
    pixels = pixels / pixels.norm(dim=-1, keepdim=True)
    means = torch.stack([pixels[digits.labels == digit].mean(0) for digit in CLASSES])
    return means / means.norm(dim=-1, keepdim=True)


@lru_cache(maxsize=2)
def pools(images: str) -> tuple[Digits, Digits]:
    """Training and test images of both classes: of MNIST, or "made" without a file."""
    if images == "made":
        return _made(0), _made(1)
    found = image_splits(images)
    train, test = (
        Digits(torch.from_numpy(pixels), torch.from_numpy(labels.astype(np.int64))).only(CLASSES)
        for pixels, labels in (
            (found.train_images, found.train_labels),
            (found.test_images, found.test_labels),
        )
    )
    return train, test


def _made(seed: int, n: int = 80, side: int = 20) -> Digits:
    """Rings (0) and bars (1) of changing place and size."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    row, column = np.mgrid[:side, :side] - (side - 1) / 2.0
    x, y = (rng.uniform(-1.5, 1.5, (n, 1, 1)) for _ in range(2))
    radius = rng.uniform(0.25, 0.35, (n, 1, 1)) * side
    ring = np.abs(np.hypot(row - y, column - x) - radius)
    bar = np.hypot(column - x, np.maximum(np.abs(row - y) - radius, 0.0))
    away = np.where(labels[:, None, None] == 0, ring, bar)
    images = np.round(255.0 * np.exp(-(away**2) / 2.0)).astype(np.uint8)
    return Digits(torch.from_numpy(images), torch.from_numpy(labels))
