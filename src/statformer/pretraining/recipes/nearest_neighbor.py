"""One layer that learns one nearest neighbour by gradient descent from a structured start.

    statformer pretrain nearest_neighbor --steps 1000
    statformer pretrain nearest_neighbor --steps 1000 --option matrix=full --option n_points=16

Li et al. 2024 (arXiv 2411.10830): gradient descent on 1/2 E (yhat - y_i*)^2. They use 10,000 fixed
prompts and 2,000 epochs; step size, initial values and sizes were not found. Ours: fresh prompts at
every step, a step size of 2, the start (0, 0) of the two-parameter family. With the full matrix
each of the d entries that make up xi_1 has 1 / d of its gradient, so xi_1 moves d times slower.

Axes: b tasks, n context points, d features.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from statformer.nn.neighbor import NeighborFamily, NeighborTransformer
from statformer.objectives.nearest_neighbor import neighbor_loss
from statformer.pretraining.recipe import Recipe
from statformer.tasks.labelled_points import (
    LabelledPoints,
    LabelledPointsPrior,
    ShiftedPointsPrior,
)
from statformer.tasks.stream import TaskStream

_EVALUATION_SEED = 2_000_006
_N_EVALUATIONS = 8192
MATRICES = ("family", "full")


@dataclass(frozen=True)
class NearestNeighborRecipe(Recipe):
    """Train `NeighborFamily` (two parameters) or `NeighborTransformer` (all of W_QK).

    matrix "family" or "full"; xi_1, xi_2 the start of either; margin that of the shifted prompts.
    """

    matrix: str = "family"
    n_points: int = 4
    n_features: int = 4
    xi_1: float = 0.0
    xi_2: float = 0.0
    step_size: float = 2.0
    margin: float = 0.5
    name: str = "nearest_neighbor"
    batch_size: int = 4096
    max_gradient_norm: float = 1e3  # plain descent: no gradient of this loss is that long
    eval_every: int = 100
    log_every: int = 100

    def __post_init__(self) -> None:
        if self.matrix not in MATRICES:
            raise ValueError(f"matrix={self.matrix!r} is unknown; choose from {MATRICES}")

    def build(self, seed: int) -> NeighborFamily | NeighborTransformer:
        if self.matrix == "family":
            return NeighborFamily(self.xi_1, self.xi_2)
        return NeighborTransformer.from_family(self.n_features, self.xi_1, self.xi_2).float()

    def sample(self, stream: TaskStream) -> LabelledPoints:
        return LabelledPointsPrior(self.n_points, self.n_features).sample(stream)

    def loss(
        self, module: torch.nn.Module, batch: LabelledPoints, progress: float
    ) -> tuple[Tensor, dict[str, float]]:
        return neighbor_loss(answer(module, batch), batch.target), {}

    def evaluate(self, module: torch.nn.Module) -> dict[str, float]:
        """Loss, self-attention and agreement in sign with one nearest neighbour on 8192 prompts.

        An answer of 0 agrees with no label. `shifted_mse` is the mean of (yhat - y_i*)^2 on as many
        shifted prompts, xi_1 and xi_2 the place in the family: of a full matrix the mean of the
        diagonal of its point block, and minus the entry of its flag.
        """
        device = next(module.parameters()).device

        def stream(step: int) -> TaskStream:
            return TaskStream(_EVALUATION_SEED, step, range(_N_EVALUATIONS), device)

        batch = self.sample(stream(0))
        shifted = ShiftedPointsPrior(self.n_points, self.n_features, self.margin).sample(stream(1))
        with torch.no_grad():
            found = answer(module, batch)
            moved = answer(module, shifted)
            unlabelled = torch.ones_like(batch.y)  # labels of 1 show how much the context takes
            context = module(batch.X, unlabelled[..., None], batch.query)[:, 0]
            xi_1, xi_2 = place(module)
        return {
            "eval_loss": neighbor_loss(found, batch.target).item(),
            "agreement": (torch.sign(found) == batch.target).double().mean().item(),
            "self_attention": 1.0 - context.mean().item(),
            "shifted_mse": (moved - shifted.target).square().mean().item(),
            "xi_1": xi_1,
            "xi_2": xi_2,
        }

    def learning_rate(self, step: int, n_steps: int) -> float:
        return self.step_size

    def optimizer(self, params: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.SGD(params, lr=self.step_size)


def answer(module: torch.nn.Module, batch: LabelledPoints) -> Float[Tensor, " b"]:
    """What a network of either kind answers to prompts."""
    found: Tensor = module(batch.X, batch.y[..., None], batch.query)[:, 0]
    return found


def place(module: torch.nn.Module) -> tuple[float, float]:
    """(xi_1, xi_2): of a full matrix the mean of its point block's diagonal, and minus its flag."""
    if isinstance(module, NeighborFamily):
        xi_1, xi_2 = module.xi.tolist()
        return xi_1, xi_2
    assert isinstance(module, NeighborTransformer)
    W, layout = module.attention.W_QK[0], module.layout
    point = torch.diagonal(W[layout["point"], layout["point"]])
    return point.mean().item(), -W[layout["flag"], layout["flag"]].item()


def recipe(**options: Any) -> NearestNeighborRecipe:
    """The recipe with options of the command line, which are the fields of the class."""
    return NearestNeighborRecipe(**options)
