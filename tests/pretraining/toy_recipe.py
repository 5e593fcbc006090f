"""A recipe of a few hundred numbers, whose loss can be told to fail; for the tests of the loop."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from statformer.pretraining import Recipe
from statformer.tasks.stream import TaskStream


class Points(NamedTuple):
    X: Tensor
    y: Tensor
    step: int


@dataclass(frozen=True)
class ToyRecipe(Recipe):
    """Regress y = sum of sin(w) + x on w and x, drawn anew per task."""

    name: str = "toy"
    batch_size: int = 16
    width: int = 8
    ema_decay: float | None = 0.9
    max_gradient_norm: float = 0.5
    eval_every: int = 7
    log_every: int = 3
    nan_from: int = -1
    nan_to: int = -1
    seconds_per_step: float = 0.0

    def build(self, seed: int) -> nn.Module:
        width = self.width
        return nn.Sequential(
            nn.Linear(2 * width, 16), nn.Tanh(), nn.BatchNorm1d(16), nn.Linear(16, 1)
        )

    def sample(self, stream: TaskStream) -> Points:
        w, x = stream.normal(self.width), stream.normal(self.width)
        return Points(torch.cat((w, x), 1), (w.sin() + x).sum(1), stream.step)

    def loss(
        self, module: nn.Module, batch: Points, progress: float
    ) -> tuple[Tensor, dict[str, float]]:
        time.sleep(self.seconds_per_step)
        # Not `module(...)`: BatchNorm's statistics would differ between ranks.
        hidden = torch.tanh(module[0](batch.X))
        loss = (module[3](hidden)[:, 0] - batch.y).square().mean()
        if self.nan_from <= batch.step < self.nan_to:
            loss = loss * float("nan")
        return loss, {"progress": progress}

    def evaluate(self, module: nn.Module) -> dict[str, float]:
        batch = self.sample(TaskStream(99, -1, range(32)))
        return {"error": self.loss(module, batch, 1.0)[0].item()}

    def learning_rate(self, step: int, n_steps: int) -> float:
        return 0.01 * min(1.0, (step + 1) / 5) * (1.0 - step / n_steps)

    def optimizer(self, params: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.AdamW(params, betas=(0.9, 0.98))


def recipe(**options: object) -> ToyRecipe:
    return ToyRecipe(**options)
