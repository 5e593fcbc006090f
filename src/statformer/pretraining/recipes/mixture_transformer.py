"""The papers' object: a softmax Transformer trained from noise to cluster isotropic mixtures.

    statformer pretrain mixture_transformer --minutes 20
    statformer pretrain mixture_transformer --steps 2000 --option n_components=2

The family is isotropic with known sigma, separation in units of sigma, as in He et al. 2025 (arXiv
2502.06007). Their sizes, loss and schedule were not found, so everything below is our choice.
Start: greedy k-means++ seeds as centre tokens. Loss: cross-entropy under the best matching of
labels, mean over layers with weights that grow towards the last. Adam, warm-up, cosine to zero.

Axes: b tasks, n points, c components.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from statformer.batch import Centres, Tables, Trace
from statformer.constructions.mixture_transformer import em_transformer
from statformer.nn.mixture import MixtureTransformer
from statformer.nn.seeding import kmeans_plus_plus, n_trials
from statformer.objectives.clustering import match, trace_loss
from statformer.pretraining.recipe import Recipe
from statformer.tasks.gaussian_mixture import PaperMixturePrior, posterior
from statformer.tasks.stream import TaskStream

_EVALUATION_SEED = 2_000_003
_N_EVALUATIONS, _N_EM_STEPS = 256, 50


@dataclass(frozen=True)
class SeededBatch:
    """Centred tables in units of sigma, labels, k-means++ seeds, and the Bayes-optimal labels."""

    tables: Tables
    y: Tensor  # b n
    start: Centres
    best_labels: Tensor  # b n


@dataclass(frozen=True)
class MixtureTransformerRecipe(Recipe):
    """Train `MixtureTransformer.from_noise` on `PaperMixturePrior`."""

    width: int = 64
    n_layers: int = 4
    n_heads: int = 4
    layer_norm: bool = True
    point_layers: bool = False
    name: str = "mixture_transformer"
    batch_size: int = 64
    peak_learning_rate: float = 1e-3
    eval_every: int = 500
    log_every: int = 50
    prior: PaperMixturePrior = field(default_factory=PaperMixturePrior)

    def build(self, seed: int) -> MixtureTransformer:
        return MixtureTransformer.from_noise(
            self.prior.n_features,
            rng=Generator().manual_seed(seed),
            width=self.width,
            n_layers=self.n_layers,
            n_heads=self.n_heads,
            layer_norm=self.layer_norm,
            point_layers=self.point_layers,
        )

    def sample(self, stream: TaskStream) -> SeededBatch:
        with torch.no_grad():
            batch = self.prior.sample(stream)
            weight = batch.is_point.to(batch.X.dtype)
            mean = (weight[..., None] * batch.X).sum(1, keepdim=True) / weight.sum(1)[:, None, None]
            X = weight[..., None] * (batch.X - mean) / self.prior.sigma
            tables = Tables(X, weight)
            c = self.prior.n_components
            seeds = kmeans_plus_plus(tables, batch.n_components, stream.uniform(c, n_trials(c)))
            return SeededBatch(tables, batch.y, _uniform(seeds), posterior(batch).argmax(-1))

    def loss(
        self, module: torch.nn.Module, batch: SeededBatch, progress: float
    ) -> tuple[Tensor, dict[str, float]]:
        """Layer l of L has a share in proportion to l: early layers learn, the last one decides."""
        trace = module(batch.tables, batch.start)
        return self._trace_loss(trace, batch.y).mean(), {}

    def _trace_loss(self, trace: Trace, y: Int[Tensor, "b n"]) -> Float[Tensor, " b"]:
        depth = len(trace.responsibilities)
        total = depth * (depth + 1) / 2.0
        return trace_loss(trace, y, [(layer, (layer + 1) / total) for layer in range(depth)])

    def evaluate(self, module: torch.nn.Module) -> dict[str, float]:
        """Misclustering beside known-sigma EM from the same seeds, and beside Bayes, 256 tasks."""
        device = next(module.parameters()).device
        batch = self.sample(TaskStream(_EVALUATION_SEED, 0, range(_N_EVALUATIONS), device))
        c, d = self.prior.n_components, self.prior.n_features
        em = em_transformer(d, c, 1.0, _N_EM_STEPS).to(device)
        with torch.no_grad():
            trace = module(batch.tables, batch.start)
            of_em = em(*_double(batch.tables, batch.start))
        last, last_em = trace.responsibilities[-1], of_em.responsibilities[-1]
        return {
            "eval_loss": self._trace_loss(trace, batch.y).mean().item(),
            "eval_error": misclustering(last, batch.y).mean().item(),
            "eval_error_em": misclustering(last_em, batch.y).mean().item(),
            "eval_error_bayes": (batch.best_labels != batch.y).double().mean().item(),
        }

    def learning_rate(self, step: int, n_steps: int) -> float:
        warm = min(1.0, (step + 1) / 50.0)
        return self.peak_learning_rate * warm * 0.5 * (1.0 + math.cos(math.pi * step / n_steps))

    def optimizer(self, params: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.Adam(params, lr=self.peak_learning_rate, betas=(0.9, 0.98))


def misclustering(
    responsibilities: Float[Tensor, "b n c"], y: Int[Tensor, "b n"]
) -> Float[Tensor, " b"]:
    """Share of points whose largest responsibility is not their label, under the best matching."""
    labels = responsibilities.argmax(-1)
    one_hot = torch.nn.functional.one_hot(labels, responsibilities.shape[-1])
    columns = match(one_hot.to(responsibilities.dtype), y)
    counts = y >= 0
    wrong = (torch.gather(columns, 1, y.clamp_min(0)) != labels) & counts
    return wrong.sum(-1) / counts.sum(-1).clamp_min(1)


def _uniform(means: Float[Tensor, "b c d"]) -> Centres:
    b, c, d = means.shape
    return Centres(
        means.new_full((b, c), 1.0 / c),
        means,
        torch.eye(d, dtype=means.dtype, device=means.device).expand(b, c, d, d),
        torch.ones(b, c, dtype=torch.bool, device=means.device),
    )


def _double(tables: Tables, start: Centres) -> tuple[Tables, Centres]:
    return Tables(tables.X.double(), tables.weight.double()), _uniform(start.means.double())


def recipe(**options: Any) -> MixtureTransformerRecipe:
    """The recipe with options of the command line; those of the prior go to the prior.

    `n_points`, `n_features`, `n_components`, `separation` ([low, high]) and `sigma` belong to
    `PaperMixturePrior`, the rest to `MixtureTransformerRecipe`.
    """
    names = ("n_points", "n_features", "n_components", "separation", "sigma")
    of_prior = {name: options.pop(name) for name in names if name in options}
    if "separation" in of_prior:
        of_prior["separation"] = tuple(of_prior["separation"])
    return MixtureTransformerRecipe(prior=PaperMixturePrior(**of_prior), **options)
