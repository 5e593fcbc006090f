"""The paper's network for eigenvalues or eigenvectors, trained on Gaussian instances.

    statformer pretrain eigen_transformer --minutes 10 --option target=vectors
    statformer pretrain eigen_transformer --steps 16000 --option n_features=5 --option n_points=20

He et al. 2025 (arXiv 2501.01312), with the sizes of the public code that matches them: D = 2,
N = 5, k = 1, 12 layers, width 64, 4 heads, Adam at 1e-3, batches of 64, 16,000 steps, a new L per
instance. Ours: warm-up and a cosine to zero in the place of a constant rate, gradients cut at
norm 1, and a cosine loss that forgives signs.

Axes: b tasks, n points, d features, k components.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Generator, Tensor

from statformer.nn.eigen_transformer import EigenTransformer
from statformer.objectives.eigenpairs import (
    abs_cosine,
    eigenvalue_loss,
    eigenvector_loss,
    relative_squared_error,
)
from statformer.pretraining.checkpoint import CheckpointError
from statformer.pretraining.recipe import Recipe
from statformer.tasks.eigenpairs import EigenBatch
from statformer.tasks.spiked_covariance import PaperGaussianPrior
from statformer.tasks.stream import TaskStream

_EVALUATION_SEED = 2_000_005
_N_EVALUATIONS = 2048
_MAX_BYTES = 64 * 2**20


@dataclass(frozen=True)
class StartedBatch:
    """Instances with their eigenpairs, and the random starts of the auxiliary rows "b k d"."""

    tasks: EigenBatch
    starts: Tensor


@dataclass(frozen=True)
class EigenTransformerRecipe(Recipe):
    """Train `EigenTransformer` on `PaperGaussianPrior`."""

    target: str = "values"
    n_points: int = 5
    n_features: int = 2
    n_components: int = 1
    n_layers: int = 12
    width: int = 64
    n_heads: int = 4
    attention: str = "relu"
    auxiliary: bool = False
    layer_norm: bool = True
    name: str = "eigen_transformer"
    batch_size: int = 64
    peak_learning_rate: float = 1e-3
    eval_every: int = 1000
    log_every: int = 100

    def build(self, seed: int) -> EigenTransformer:
        return EigenTransformer(
            self.n_points,
            self.n_features,
            self.n_components,
            rng=Generator().manual_seed(seed),
            target=self.target,
            n_layers=self.n_layers,
            width=self.width,
            n_heads=self.n_heads,
            attention=self.attention,
            auxiliary=self.auxiliary,
            layer_norm=self.layer_norm,
        )

    def sample(self, stream: TaskStream) -> StartedBatch:
        with torch.no_grad():
            tasks = PaperGaussianPrior(self.n_points, self.n_features).sample(stream)
            return StartedBatch(tasks, stream.normal(self.n_components, self.n_features))

    def loss(
        self, module: torch.nn.Module, batch: StartedBatch, progress: float
    ) -> tuple[Tensor, dict[str, float]]:
        answer = module(batch.tasks.X, batch.starts)
        if self.target == "values":
            truth = batch.tasks.eigenvalues[:, : self.n_components]
            return eigenvalue_loss(answer, truth).mean(), {}
        truth = batch.tasks.eigenvectors[:, : self.n_components]
        return eigenvector_loss(answer, truth).mean(), {}

    def evaluate(self, module: torch.nn.Module) -> dict[str, float]:
        """The loss, and per component the relative squared error or |cos|, on 2048 instances."""
        device = next(module.parameters()).device
        batch = self.sample(TaskStream(_EVALUATION_SEED, 0, range(_N_EVALUATIONS), device))
        k = self.n_components
        with torch.no_grad():
            answer = module(batch.tasks.X, batch.starts)
        if self.target == "values":
            truth = batch.tasks.eigenvalues[:, :k]
            per_component, name = relative_squared_error(answer, truth), "relative_squared_error"
            loss = eigenvalue_loss(answer, truth)
        else:
            truth = batch.tasks.eigenvectors[:, :k]
            per_component, name = abs_cosine(answer, truth), "abs_cosine"
            loss = eigenvector_loss(answer, truth)
        scores = {f"{name}_{j + 1}": per_component[:, j].mean().item() for j in range(k)}
        return {"eval_loss": loss.mean().item(), **scores}

    def learning_rate(self, step: int, n_steps: int) -> float:
        warm = min(1.0, (step + 1) / 100.0)
        return self.peak_learning_rate * warm * 0.5 * (1.0 + math.cos(math.pi * step / n_steps))

    def optimizer(self, params: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.Adam(params, lr=self.peak_learning_rate)


def load_eigen_transformer(path: str | Path) -> EigenTransformer:
    """The network of a run: a folder with `final.safetensors` and `card.json`, or the former.

    It is in evaluation mode and asks for no gradients.

    Raises FileNotFoundError where a file is missing, CheckpointError where the weights are too
    large, damaged, or do not belong to the network that the card describes.
    """
    path = Path(path)
    path = path / "final.safetensors" if path.is_dir() else path
    if path.stat().st_size > _MAX_BYTES:
        raise CheckpointError(f"{path} has more than {_MAX_BYTES} bytes; is it another file?")
    card_path = path.with_name("card.json")
    card = json.loads(card_path.read_bytes())
    if card.get("recipe") != "eigen_transformer":
        raise CheckpointError(
            f"{card_path} describes recipe {card.get('recipe')!r}; pass a run of eigen_transformer"
        )
    try:
        module = EigenTransformerRecipe(**card["settings"]).build(0)
        module.load_state_dict(safetensors.torch.load(path.read_bytes()))
    except (KeyError, TypeError, ValueError, RuntimeError, safetensors.SafetensorError) as error:
        first = " ".join(str(error).split())[:300]
        raise CheckpointError(f"{path} is no network of its card: {first}") from error
    return module.eval().requires_grad_(False)


def recipe(**options: Any) -> EigenTransformerRecipe:
    """The recipe with options of the command line, which are the fields of the class."""
    return EigenTransformerRecipe(**options)
