"""Two classifiers of scikit-learn's digits: logistic regression and a small convolutional net.

1,797 images of 8 x 8 in 10 classes; four fifths for training, split once for all seeds.
Axes: b images, d pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache

import torch
from jaxtyping import Float, Int
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from statformer.benchmarks.optim_tasks import Losses, initialised, seeded

BATCH = 64


@cache
def _digits() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """X and y for training, then X and y held out; pixels on 0..1."""
    X, y = load_digits(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X / 16.0, y, test_size=0.2, random_state=0, stratify=y)
    images = [torch.tensor(part, dtype=torch.float32) for part in (X, X_test)]
    labels = [torch.tensor(part) for part in (y, y_test)]
    return images[0], images[1], labels[0], labels[1]


def _linear() -> nn.Module:
    """Logistic regression; zeros are the usual start of a convex problem."""
    layer = nn.Linear(64, 10)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def _convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)),
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * 4 * 4, 10),
    )


@dataclass(frozen=True)
class DigitsTask:
    """Cross-entropy of ten classes, batches of 64 without replacement within an epoch."""

    name: str
    n_steps: int
    network: Callable[[], nn.Module]
    ridge: float = 0.0
    max_gradient_norm: float | None = field(default=None, init=False)

    def build(self, seed: int) -> nn.Module:
        with initialised(seed):
            return self.network()

    def batches(self, seed: int) -> Iterator[tuple[Float[Tensor, "b d"], Int[Tensor, " b"]]]:
        X, _, y, _ = _digits()
        rng = seeded(seed)
        while True:
            for rows in torch.split(torch.randperm(len(X), generator=rng), BATCH):
                yield X[rows], y[rows]

    def loss(
        self, module: nn.Module, batch: tuple[Float[Tensor, "b d"], Int[Tensor, " b"]]
    ) -> Tensor:
        X, y = batch
        return cross_entropy(module(X), y) + self._penalty(module)

    def _penalty(self, module: nn.Module) -> Tensor:
        """ridge / (2 n) times the squared weights, n images for training; biases are free."""
        if not self.ridge:
            return torch.zeros(())
        squares = [p.square().sum() for p in module.parameters() if p.ndim > 1]
        return torch.stack(squares).sum() * (self.ridge / (2 * len(_digits()[0])))

    def evaluate(self, module: nn.Module, seed: int) -> Losses:
        X, X_test, y, y_test = _digits()
        with torch.no_grad():
            train, test = self.loss(module, (X, y)), cross_entropy(module(X_test), y_test)
        return Losses(train.item(), test.item())


def digits_regression(n_steps: int) -> DigitsTask:
    """650 parameters; convex, with scikit-learn's default ridge (C = 1), so a minimum exists."""
    return DigitsTask("digits, logistic regression", n_steps, _linear, ridge=1.0)


def digits_network(n_steps: int) -> DigitsTask:
    """Two convolutions and a linear layer, 9,930 parameters."""
    return DigitsTask("digits, convolutional net", n_steps, _convolutional)
