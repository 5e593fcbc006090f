"""A digit as the signal patch and Gaussian noise as the other: Noisy-MNIST (arXiv 2412.01021).

Axes: b tasks (runs), n points (images), d features: the pixels of one image.
"""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from statformer.tasks.digits import Digits
from statformer.tasks.signal_strength import Strength, strength
from statformer.tasks.stream import TaskStream


@dataclass(frozen=True)
class NoisyDigits:
    """Images beside noise.

    X      "b n 2 d"  the image, flattened and scaled, and the noise
    y      "b n"      -1 or +1 for the two digits
    image  "b n"      the image's place in the pool of the two digits
    """

    X: Float[Tensor, "b n 2 d"]
    y: Float[Tensor, "b n"]
    image: Int[Tensor, "b n"]


@dataclass(frozen=True)
class NoisyDigitsPrior:
    """x = (c_i image_i, xi), xi ~ N(0, sigma^2 I): `n_points` different images of two digits.

    The paper: the original image is the clean signal, a standard Gaussian patch is put beside it,
    so as to control the SNR. Ours, for it is not found: every image is scaled to the one length
    `signal_norm`, so that n SNR^2 is what it is in the synthetic data; two digits, the first of
    `classes` being y = -1; and two patches instead of a layout in one image.

    Of `signal_norm`, `sigma` and `n_snr2`, exactly two are given (`signal_strength.strength`).
    Raises ValueError where a digit has no image, or an image of them is black and has no length.
    """

    digits: Digits
    n_points: int
    _: KW_ONLY
    signal_norm: float | None = None
    sigma: float | None = None
    n_snr2: float | None = None
    classes: tuple[int, int] = (0, 1)

    def __post_init__(self) -> None:
        _ = self.strength  # raises where it cannot be told
        if self.classes[0] == self.classes[1]:
            raise ValueError(f"classes={self.classes}: pass two different digits")
        black = ~(self._pool.images > 0).flatten(1).any(1)
        if bool(black.any()):
            raise ValueError(
                f"digits: {int(black.sum())} images of {self.classes} are black; leave them out"
            )

    @property
    def strength(self) -> Strength:
        """The length of an image and sigma, whichever two numbers they were given by."""
        n_pixels = math.prod(self.digits.images.shape[1:])
        return strength(self.n_points, n_pixels, self.signal_norm, self.sigma, self.n_snr2)

    @property
    def _pool(self) -> Digits:
        return self.digits.only(self.classes)

    def sample(self, stream: TaskStream) -> NoisyDigits:
        """Images with noise and label."""
        pool = self._pool
        image = pool.draw(self.n_points, stream)
        pixels = pool.images.to(stream.device)[image].flatten(2).to(stream.dtype)
        signal = self.strength.signal_norm * pixels / pixels.norm(dim=-1, keepdim=True)
        noise = self.strength.sigma * stream.normal(*signal.shape[1:])
        second = pool.labels.to(stream.device)[image] == self.classes[1]
        y = torch.where(second, 1.0, -1.0).to(stream.dtype)
        return NoisyDigits(torch.stack([signal, noise], dim=2), y, image)
