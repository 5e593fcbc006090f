"""Digits in colours that follow their label, and in the test set another label (2411.02837).

Axes: b tasks (runs), n points (images), r rows and s columns of pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import one_hot

from statformer.tasks.digits import Digits
from statformer.tasks.stream import TaskStream

N_CLASSES = 10
# Red and green, the colours of 0 and 1, are the paper's; the other eight are ours.
PALETTE = (
    (1.0, 0.0, 0.0),
    (0.0, 1.0, 0.0),
    (0.0, 0.0, 1.0),
    (1.0, 1.0, 0.0),
    (1.0, 0.0, 1.0),
    (0.0, 1.0, 1.0),
    (1.0, 0.5, 0.0),
    (0.5, 0.0, 1.0),
    (0.5, 1.0, 0.5),
    (1.0, 1.0, 1.0),
)
# Which class has whose colour in the test set: 0 and 1 are the paper's, the other pairs are ours.
PARTNERS = (1, 0, 3, 2, 5, 4, 7, 6, 9, 8)


@dataclass(frozen=True)
class ColoredDigits:
    """Coloured images with what they show.

    X      "b n 3 r s"  red, green and blue, 0 to 1: the grey value times the colour
    y      "b n"        the label a learner sees, some of them replaced
    digit  "b n"        the digit that the image shows
    color  "b n"        its row in `PALETTE`
    image  "b n"        its place in the pool
    """

    X: Float[Tensor, "b n 3 r s"]
    y: Int[Tensor, "b n"]
    digit: Int[Tensor, "b n"]
    color: Int[Tensor, "b n"]
    image: Int[Tensor, "b n"]

    def language(self) -> Float[Tensor, "b n 20"]:
        """The paper's idealised language encoder: the digit one-hot, then the colour one-hot."""
        codes = [one_hot(code, N_CLASSES) for code in (self.digit, self.color)]
        return torch.cat(codes, dim=-1).to(self.X.dtype)


@dataclass(frozen=True)
class ColoredDigitsPrior:
    """ColoredMNIST of arXiv 2411.02837: `n_points` different images of a pool, labelled, painted.

    1. A share `flip` of the labels is replaced by a class drawn evenly from all ten.
    2. With odds `bias` an image gets the colour of its class, else evenly one of the nine others.
       For a test set (`swapped`) the colour of its class is that of its partner's.

    The paper: flip 0.10, bias 0.775, class 0 red and 1 green, swapped for the test set. Ours, for
    it is not found: the colours and the partners of the classes 2 to 9, that the colour follows the
    label after its replacement, and that the palette multiplies the grey value.
    """

    digits: Digits
    n_points: int
    swapped: bool = False
    bias: float = 0.775
    flip: float = 0.10

    def __post_init__(self) -> None:
        for name, odds in (("bias", self.bias), ("flip", self.flip)):
            if not 0 <= odds <= 1:
                raise ValueError(f"{name}={odds}: pass odds from 0 to 1")

    def sample(self, stream: TaskStream) -> ColoredDigits:
        """Coloured images; each takes 3 r s numbers of the stream's type."""
        n, device = self.n_points, stream.device
        image = self.digits.draw(n, stream)
        digit = self.digits.labels.to(device)[image]
        replaced, other = stream.uniform(n) < self.flip, stream.integers(0, N_CLASSES, n)
        y = torch.where(replaced, other, digit)
        home = torch.tensor(PARTNERS, device=device)[y] if self.swapped else y
        away = (home + stream.integers(1, N_CLASSES, n)) % N_CLASSES
        color = torch.where(stream.uniform(n) < self.bias, home, away)
        grey = self.digits.images.to(device)[image].to(stream.dtype) / 255
        palette = torch.tensor(PALETTE, dtype=stream.dtype, device=device)
        X = palette[color][..., None, None] * grey[:, :, None]
        return ColoredDigits(X, y, digit, color, image)
