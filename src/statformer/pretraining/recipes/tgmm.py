"""TGMM of Chen, Wu and Fang 2025 (arXiv 2505.11918), small enough for one processor core.

    statformer pretrain tgmm --steps 3000 --option n_features=4

The prior is theirs (`TGMMPrior`): K drawn per instance, means uniform on [-5, 5]^d, weights sorted
ascending, n / 2 to n points. So is the loss: cross-entropy of the weights plus squared error of the
means, component by component in the order of the true weights, without a matching. Theirs are 12
layers of width 128, batches of 64 per K and 10,001 to 100,001 steps of AdamW at 1e-3 or 1e-4; ours
are smaller sizes, Adam with warm-up and a cosine to zero, and gradients cut at norm 1.

Axes: b tasks, c components, d features.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from statformer.batch import TaskBatch
from statformer.nn.tgmm import TGMM, Estimate
from statformer.pretraining.recipe import Recipe
from statformer.tasks.gaussian_mixture import TGMMPrior
from statformer.tasks.stream import TaskStream

_EVALUATION_SEED = 2_000_017
_N_EVALUATIONS = 512


@dataclass(frozen=True)
class TGMMRecipe(Recipe):
    """Train `TGMM` on `TGMMPrior`."""

    n_features: int = 4
    min_components: int = 2
    max_components: int = 4
    n_points: int = 64
    n_layers: int = 4
    width: int = 64
    n_heads: int = 4
    name: str = "tgmm"
    batch_size: int = 64
    peak_learning_rate: float = 1e-3
    eval_every: int = 500
    log_every: int = 50

    @property
    def prior(self) -> TGMMPrior:
        """The instances that it is trained on."""
        K = (self.min_components, self.max_components)
        return TGMMPrior(self.n_points, self.n_features, K)

    def build(self, seed: int) -> TGMM:
        return TGMM(
            self.n_features,
            self.max_components,
            rng=Generator().manual_seed(seed),
            n_layers=self.n_layers,
            width=self.width,
            n_heads=self.n_heads,
        )

    def sample(self, stream: TaskStream) -> TaskBatch:
        with torch.no_grad():
            return self.prior.sample(stream)

    def loss(
        self, module: torch.nn.Module, batch: TaskBatch, progress: float
    ) -> tuple[Tensor, dict[str, float]]:
        found = module(batch.X, batch.n_components, batch.is_point)
        of_weights, of_means = ordered_losses(found, batch)
        parts = {"weights": of_weights.mean().item(), "means": of_means.mean().item()}
        return (of_weights + of_means).mean(), parts

    def evaluate(self, module: torch.nn.Module) -> dict[str, float]:
        """The two parts of the loss on 512 instances."""
        device = next(module.parameters()).device
        batch = self.sample(TaskStream(_EVALUATION_SEED, 0, range(_N_EVALUATIONS), device))
        with torch.no_grad():
            found = module(batch.X, batch.n_components, batch.is_point)
        of_weights, of_means = ordered_losses(found, batch)
        return {
            "eval_loss": (of_weights + of_means).mean().item(),
            "eval_weights": of_weights.mean().item(),
            "eval_means": of_means.mean().item(),
        }

    def learning_rate(self, step: int, n_steps: int) -> float:
        warm = min(1.0, (step + 1) / 100.0)
        return self.peak_learning_rate * warm * 0.5 * (1.0 + math.cos(math.pi * step / n_steps))

    def optimizer(self, params: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.Adam(params, lr=self.peak_learning_rate)


def ordered_losses(
    found: Estimate, batch: TaskBatch
) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"]]:
    """-sum_k pi_k log pi_hat_k, and (1 / K d) sum_k |mu_hat_k - mu_k|^2, k by ascending weight."""
    weights, means = batch.latent["weights"], batch.latent["means"]
    there = weights > 0
    log_weights = torch.log_softmax(found.log_weights, dim=-1)
    of_weights = -(weights * torch.where(there, log_weights, 0.0)).sum(-1)
    squares = (found.means - means).square().mean(-1)
    return of_weights, (squares * there).sum(-1) / there.sum(-1)


def recipe(**options: Any) -> TGMMRecipe:
    """The recipe with options of the command line, which are the fields of the class."""
    return TGMMRecipe(**options)
