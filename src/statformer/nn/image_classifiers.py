"""Networks that name what is in an image: ResNet-18 with a stem for small images, a small CNN.

Axes: n images, k colours, h rows and w columns of pixels, c classes, m channels inside.

Images are in [0, 1]; the normalisation (x - mean) / std is the first layer, so that an attack on
the network is an attack on images, and a file of weights brings its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn
from torch.nn.functional import relu


@final
class Normalization(nn.Module):
    """(x - mean) / std, colour by colour; constants that are saved with the weights."""

    mean: Float[Tensor, "k 1 1"]
    std: Float[Tensor, "k 1 1"]

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        if not mean or len(mean) != len(std):
            raise ValueError(f"mean={mean} and std={std}: pass one number of each per colour")
        if not all(spread > 0 for spread in std):
            raise ValueError(f"std={std}: pass numbers above 0")
        for name, values in (("mean", mean), ("std", std)):
            constant = torch.tensor(list(map(float, values)), dtype=torch.float32)
            self.register_buffer(name, constant[:, None, None])

    def forward(self, x: Float[Tensor, "n k h w"]) -> Float[Tensor, "n k h w"]:
        return (x - self.mean) / self.std


@final
class ResidualBlock(nn.Module):
    """relu(B(conv(relu(B(conv(x))))) + shortcut(x)), B batch norm, 3 x 3 kernels without bias.

    The shortcut is x itself, or B(conv 1 x 1) where the shape changes (He et al., arXiv 1512.03385,
    option B).
    """

    def __init__(self, m_in: int, m_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(m_in, m_out, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(m_out)
        self.conv2 = nn.Conv2d(m_out, m_out, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(m_out)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or m_in != m_out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(m_in, m_out, 1, stride, bias=False), nn.BatchNorm2d(m_out)
            )

    def forward(self, x: Float[Tensor, "n m h w"]) -> Float[Tensor, "n m2 h2 w2"]:
        hidden = relu(self.norm1(self.conv1(x)))
        return relu(self.norm2(self.conv2(hidden)) + self.shortcut(x))


@final
class ResNet18(nn.Module):
    """Logits "n c": eight residual blocks of 64 to 512 channels, the mean over pixels, a head.

    For small images: a stem of 3 x 3 kernels with stride 1 and no pooling in place of ImageNet's,
    as the code of arXiv 2409.17589 has it. 11,173,962 weights for 3 colours and 10 classes.

    `mean` and `std` have one number per colour, and their length is the number of colours.
    `generator` (on the CPU) draws the weights: normal, variance 2 / fan-out for kernels.
    """

    def __init__(
        self,
        n_classes: int,
        *,
        mean: Sequence[float] = (0.0, 0.0, 0.0),
        std: Sequence[float] = (1.0, 1.0, 1.0),
        generator: Generator,
    ) -> None:
        super().__init__()
        self.n_classes = n_classes
        self.normalization = Normalization(mean, std)
        with torch.random.fork_rng(devices=[]):  # layers draw weights that `_draw` replaces
            self.stem = nn.Conv2d(len(mean), 64, 3, padding=1, bias=False)
            self.norm = nn.BatchNorm2d(64)
            blocks, m_in = [], 64
            for m_out, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
                blocks += [ResidualBlock(m_in, m_out, stride), ResidualBlock(m_out, m_out, 1)]
                m_in = m_out
            self.blocks = nn.Sequential(*blocks)
            self.head = nn.Linear(m_in, n_classes)
        _draw(self, generator)

    def forward(self, x: Float[Tensor, "n k h w"]) -> Float[Tensor, "n c"]:
        hidden = self.blocks(relu(self.norm(self.stem(self.normalization(x)))))
        return self.head(hidden.mean((2, 3)))


@final
class SmallCNN(nn.Module):
    """Logits "n c": two convolutions (4 x 4, stride 2), a hidden layer of 100, a head.

    The network of the MNIST runs of "Fast is better than free" (arXiv 2001.03994), with a batch
    norm after each convolution (ours), so that it trains with the same settings as a ResNet. Some
    seconds per epoch of MNIST on one core. `width` is the channels of the first convolution, the
    second has twice as many.

    `size` is rows and columns of the images, both at least 4. `mean`, `std` and `generator` are
    those of `ResNet18`.
    """

    def __init__(
        self,
        n_classes: int,
        *,
        size: tuple[int, int] = (28, 28),
        width: int = 16,
        mean: Sequence[float] = (0.0,),
        std: Sequence[float] = (1.0,),
        generator: Generator,
    ) -> None:
        super().__init__()
        if min(size) < 4:
            raise ValueError(f"size={size}: pass images of at least 4 x 4 pixels")
        self.n_classes = n_classes
        self.normalization = Normalization(mean, std)
        n_pixels = (size[0] // 4) * (size[1] // 4)
        with torch.random.fork_rng(devices=[]):
            self.conv1 = nn.Conv2d(len(mean), width, 4, stride=2, padding=1, bias=False)
            self.norm1 = nn.BatchNorm2d(width)
            self.conv2 = nn.Conv2d(width, 2 * width, 4, stride=2, padding=1, bias=False)
            self.norm2 = nn.BatchNorm2d(2 * width)
            self.hidden = nn.Linear(2 * width * n_pixels, 100)
            self.head = nn.Linear(100, n_classes)
        _draw(self, generator)

    def forward(self, x: Float[Tensor, "n k h w"]) -> Float[Tensor, "n c"]:
        channels = relu(self.norm1(self.conv1(self.normalization(x))))
        channels = relu(self.norm2(self.conv2(channels)))
        return self.head(relu(self.hidden(channels.flatten(1))))


@torch.no_grad()
def _draw(network: nn.Module, generator: Generator) -> None:
    """New weights: N(0, 2 / fan-out) for kernels, uniform in +-fan-in^(-1/2) for linear layers."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            fan_out = layer.out_channels * layer.kernel_size[0] * layer.kernel_size[1]
            layer.weight.normal_(0.0, (2.0 / fan_out) ** 0.5, generator=generator)
        elif isinstance(layer, nn.Linear):
            bound = layer.in_features**-0.5
            layer.weight.uniform_(-bound, bound, generator=generator)
            layer.bias.uniform_(-bound, bound, generator=generator)
