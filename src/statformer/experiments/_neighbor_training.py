"""What the experiments on one nearest neighbour share: prompts, descent on them, and its scores.

The set-up of Li et al. 2024 (arXiv 2411.10830) as far as it was found: full-batch gradient descent
on 1/2 (yhat - y_i*)^2 over fixed prompts. Step size 2 and the start (0, 0) are ours.

Axes: b prompts, n context points, d features.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
import torch

from statformer.nn.neighbor import NeighborFamily
from statformer.objectives.nearest_neighbor import family_gradient, neighbor_loss
from statformer.pretraining.recipes.nearest_neighbor import (
    NearestNeighborRecipe,
    answer,
    place,
)
from statformer.tasks.labelled_points import (
    LabelledPoints,
    LabelledPointsPrior,
    ShiftedPointsPrior,
)
from statformer.tasks.stream import TaskStream

NOT_THE_AUTHORS = (
    "the authors' initial values, step size, sizes (N, d) and margin were not found; the token "
    "matrix with its flag is our reading, and theirs may differ"
)
Prior = LabelledPointsPrior | ShiftedPointsPrior


def draw(prior: Prior, n_prompts: int, rng: np.random.Generator) -> LabelledPoints:
    """Prompts of a prior; each call draws others."""
    return prior.sample(TaskStream(int(rng.integers(2**31)), 0, range(n_prompts)))


def another_target(batch: LabelledPoints) -> LabelledPoints:
    """A fault: the label asked for is that of the first point, near or not."""
    return replace(batch, target=batch.y[:, 0])


def marks(first: int, last: int, n_marks: int) -> list[int]:
    """Numbers of steps evenly spaced in their logarithm, both ends included."""
    return sorted({round(k) for k in np.geomspace(first, last, n_marks)})


def descend(
    recipe: NearestNeighborRecipe,
    batch: LabelledPoints,
    at: Iterable[int],
    *,
    has_flag: bool = True,
) -> Iterator[tuple[int, torch.nn.Module]]:
    """The recipe's network, from its start, after each number of steps in `at`, ascending.

    One and the same network is trained on between two answers. The family's gradient is taken in
    closed form, which is quicker; without `has_flag` its xi_2 stays where it starts.
    """
    module = recipe.build(0)
    optimizer = recipe.optimizer(module.parameters())
    moves = torch.tensor([1.0, 1.0 if has_flag else 0.0], dtype=torch.float64)
    done = 0
    for mark in at:
        for _ in range(done, mark):
            if isinstance(module, NeighborFamily):
                xi = module.xi.detach().to(batch.X.dtype)
                parts = batch.X, batch.y, batch.query, batch.target
                module.xi.grad = moves * family_gradient(xi, *parts)
            else:
                optimizer.zero_grad()
                loss, _ = recipe.loss(module, batch, 0.0)
                loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        done = max(done, mark)
        yield mark, module


def scores(module: torch.nn.Module, batch: LabelledPoints) -> dict[str, float]:
    """Loss, agreement in sign with one nearest neighbour, attention to itself, xi_1 and xi_2."""
    with torch.no_grad():
        found = answer(module, batch)
        ones = answer(module, replace(batch, y=torch.ones_like(batch.y)))
    xi_1, xi_2 = place(module)
    return {
        "loss": neighbor_loss(found, batch.target).item(),
        "agreement": (found.sign() == batch.target.sign()).double().mean().item(),
        "self_attention": 1.0 - ones.mean().item(),
        "size": found.abs().mean().item(),
        "xi_1": xi_1,
        "xi_2": xi_2,
    }
