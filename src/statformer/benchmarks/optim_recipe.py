"""The pretraining recipe of the mixture layers, small: its own prior, network, loss and clipping.

Every step draws new tables, so training loss is measured on tables of the first steps and test
loss on tables that no run sees.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn

from statformer.benchmarks.optim_tasks import Losses, initialised
from statformer.pretraining.recipes.mixture import MixtureRecipe, PreparedBatch
from statformer.tasks.gaussian_mixture import GaussianMixturePrior
from statformer.tasks.stream import TaskStream

TEST_SEED = 1_000_003
EVALUATED = 4  # batches of either kind
RECIPE = MixtureRecipe(
    n_layers=3,
    n_hidden=8,
    batch_size=8,
    ema_decay=None,
    prior=GaussianMixturePrior(n_points=(40, 80), n_features=(2, 4), n_components=(2, 5)),
)


@cache  # every method walks the same tables; drawing them is a good part of a step
def _batch(seed: int, step: int, n_tasks: int) -> PreparedBatch:
    return RECIPE.sample(TaskStream(seed, step, range(n_tasks)))


@dataclass(frozen=True)
class RecipeTask:
    """What `statformer pretrain mixture` minimises, on small tables and with three layers."""

    name: str
    n_steps: int
    max_gradient_norm: float | None = RECIPE.max_gradient_norm

    def build(self, seed: int) -> nn.Module:
        with initialised(seed):
            return RECIPE.build(seed)

    def batches(self, seed: int) -> Iterator[PreparedBatch]:
        step = 0
        while True:
            yield _batch(seed, step, RECIPE.batch_size)
            step += 1

    def loss(self, module: nn.Module, batch: PreparedBatch) -> Tensor:
        return RECIPE.loss(module, batch, 0.0)[0]

    def evaluate(self, module: nn.Module, seed: int) -> Losses:
        found = []
        with torch.no_grad():
            for which in (seed, TEST_SEED):
                batches = [_batch(which, step, RECIPE.batch_size) for step in range(EVALUATED)]
                losses = [self.loss(module, batch).item() for batch in batches]
                found.append(sum(losses) / len(losses))
        return Losses(*found)


def mixture_layers(n_steps: int) -> RecipeTask:
    """Three learned EM layers in float64."""
    return RecipeTask("mixture recipe", n_steps)
