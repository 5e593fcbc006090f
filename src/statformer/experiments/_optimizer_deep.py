"""A deep plain network of convolutions in the manner of VGG16, at the size of digits.

Axes: b images.
"""

from __future__ import annotations

from torch import nn

from statformer.benchmarks.optim_digits import DigitsTask

WIDTHS = (16, 16, 0, 32, 32, 0, 64, 64, 64, 0)  # 0 halves the image


def plain_network() -> nn.Module:
    """Seven convolutions without normalisation or shortcuts, then three linear layers."""
    layers: list[nn.Module] = [nn.Unflatten(1, (1, 8, 8))]
    before = 1
    for width in WIDTHS:
        if not width:
            layers.append(nn.MaxPool2d(2))
            continue
        layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU()]
        before = width
    layers += [nn.Flatten(), nn.Linear(before, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(128, 10))


def plain_digits(n_steps: int) -> DigitsTask:
    """Classify digits with the plain network."""
    return DigitsTask("digits, plain deep net", n_steps, plain_network)
