"""The tasks that optimizers are trained on: what a task is, and the list of them.

Each run takes seconds on one core. They show that an optimizer does what its formulas say and how
it depends on its settings; they are far too small to rank optimizers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from statformer.benchmarks.optim_settings import Sizes


class Losses(NamedTuple):
    """Mean loss per example on training data and on data held out."""

    train: float
    test: float


class Task(Protocol):
    """A network, an endless supply of batches and a loss; all follow from a seed."""

    @property
    def name(self) -> str:
        """What it is called in tables."""
        ...

    @property
    def n_steps(self) -> int:
        """Length of a run."""
        ...

    @property
    def max_gradient_norm(self) -> float | None:
        """Longer gradients are scaled down to this norm; None leaves them as they are."""
        ...

    def build(self, seed: int) -> nn.Module:
        """The network before training."""
        ...

    def batches(self, seed: int) -> Iterator[Any]:
        """Batches of the training data, in an order that follows from the seed."""
        ...

    def loss(self, module: nn.Module, batch: Any) -> Tensor:
        """The mean loss of a batch."""
        ...

    def evaluate(self, module: nn.Module, seed: int) -> Losses:
        """Losses of `module`, trained with `seed`, on the same data at every call."""
        ...


def tasks(sizes: Sizes) -> dict[str, Task]:
    """The tasks by name, at the lengths of `sizes`."""
    from statformer.benchmarks.optim_digits import digits_network, digits_regression
    from statformer.benchmarks.optim_language import python_text
    from statformer.benchmarks.optim_recipe import mixture_layers

    makers: tuple[Callable[[int], Task], ...] = (
        digits_regression,
        digits_network,
        python_text,
        mixture_layers,
    )
    made = [make(n_steps) for make, n_steps in zip(makers, sizes.steps, strict=True)]
    return {task.name: task for task in made}


def seeded(seed: int) -> torch.Generator:
    """A generator of its own for `seed`."""
    return torch.Generator().manual_seed(seed)


@contextmanager
def initialised(seed: int) -> Iterator[None]:
    """torch's initialisers follow from `seed` meanwhile; the global state is put back.

    They know no other generator than the global one.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
