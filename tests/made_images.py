"""Small made images of a few classes, and networks that learn them in a second."""

from __future__ import annotations

import torch
from torch import Generator, Tensor, nn

N_CLASSES = 4


def images(
    n: int, seed: int, size: int = 8, shares: tuple[float, ...] = ()
) -> tuple[Tensor, Tensor]:
    """A smooth picture for each class plus noise, clipped to [0, 1]; classes in `shares`."""
    rng = Generator().manual_seed(seed)
    weights = torch.tensor(shares or (1.0,) * N_CLASSES)
    y = torch.multinomial(weights, n, replacement=True, generator=rng)
    pictures = torch.rand(N_CLASSES, 1, 4, 4, generator=Generator().manual_seed(5))
    pictures = nn.functional.interpolate(pictures, size=(size, size), mode="bilinear")
    noise = torch.randn(n, 1, size, size, generator=rng)
    return (pictures[y] + 0.1 * noise).clamp(0, 1), y


def network(size: int = 8, width: int = 8, seed: int = 0) -> nn.Module:
    """Convolutions with batch normalisation, and a linear layer."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(2 * width * (size // 2) ** 2, N_CLASSES),
        )
