"""Small networks trained from noise to cluster isotropic mixtures, and rivals from the same start.

What the experiments about arXiv 2502.06007 share. The paper's sizes, loss, schedule, family and
start were not found: all of them are ours. An instance has n points in d columns, k equidistant
centres at Delta / sigma drawn from 1.5 to 6, known sigma = 1, equal weights; the start is one draw
of greedy k-means++ unless said otherwise.

Axes: b tasks, n points, d features, c components.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from statformer.batch import Centres, Tables
from statformer.constructions.mixture_transformer import em_transformer
from statformer.nn.mixture import MixtureTransformer
from statformer.nn.seeding import lloyd
from statformer.nn.tokens import moments
from statformer.pretraining.loop import pretrain
from statformer.pretraining.recipes.mixture_transformer import (
    MixtureTransformerRecipe,
    SeededBatch,
    misclustering,
)
from statformer.tasks.gaussian_mixture import PaperMixturePrior
from statformer.tasks.stream import TaskStream

NOT_THE_AUTHORS = (
    "sizes, prior, loss, schedule and start of the paper were not found; all are ours, and small"
)
SEPARATIONS = (1.5, 6.0)  # of the training, in units of sigma
STARTS = ("seeds", "truth", "noise")
TEST_SEED = 2_000_029  # the same test tables in every cell
_N_EM_STEPS, _N_LLOYD_STEPS = 50, 100
_START_SPREAD = {"truth": 0.5, "noise": 2.0}


@dataclass(frozen=True)
class SmallRecipe(MixtureTransformerRecipe):
    """`MixtureTransformerRecipe` at a size that trains in seconds, with two more knobs.

    n_instances  0: every training instance is new; else the number of instances in all
    pool         which instances those are
    start        "seeds": k-means++; "truth": centres of the true clusters plus N(0, 1/4 I);
                 "noise": N(0, 4 I), which knows nothing of the table
    """

    n_instances: int = 0
    pool: int = 0
    start: str = "seeds"
    width: int = 16
    n_layers: int = 3
    n_heads: int = 2
    batch_size: int = 32
    peak_learning_rate: float = 5e-3
    eval_every: int = 10**9
    log_every: int = 10**9
    prior: PaperMixturePrior = field(
        default_factory=lambda: PaperMixturePrior(50, 2, 2, SEPARATIONS)
    )

    def sample(self, stream: TaskStream) -> SeededBatch:
        if self.n_instances:
            index = stream.integers(0, self.n_instances)
            stream = TaskStream(self.pool, 0, index.tolist(), stream.device, stream.dtype)
        batch = super().sample(stream)
        if self.start == "seeds":
            return batch
        means = stream.normal(*batch.start.means.shape[1:]) * _START_SPREAD[self.start]
        if self.start == "truth":
            hot = nn.functional.one_hot(batch.y, self.prior.n_components).to(means.dtype)
            there = batch.start.is_component
            means = means + moments(batch.tables, hot, there, 1.0).means
        return replace(batch, start=replace(batch.start, means=means))

    def evaluate(self, module: nn.Module) -> dict[str, float]:
        """Nothing: the experiments measure for themselves."""
        return {}


def small_recipe(**options: Any) -> SmallRecipe:
    """The recipe; n_points, n_features, n_components and separation go to its prior."""
    names = ("n_points", "n_features", "n_components", "separation")
    of_prior = {name: options.pop(name) for name in names if name in options}
    made = SmallRecipe(**options)
    return replace(made, prior=replace(made.prior, **of_prior))


def train(
    recipe: MixtureTransformerRecipe, n_steps: int, rng: np.random.Generator
) -> MixtureTransformer:
    """The trained network, by the package's one training loop; nothing is kept on disk."""
    with tempfile.TemporaryDirectory() as folder:
        seed = int(rng.integers(2**31))
        found = pretrain(recipe, out_dir=folder, n_steps=n_steps, seed=seed, checkpoint_every_s=1e9)
    return cast(MixtureTransformer, found.module.eval().requires_grad_(False))


def held_out(recipe: SmallRecipe, n_tables: int, block: int = 0) -> SeededBatch:
    """Tables of the recipe's prior that no training has seen; all networks get the same."""
    fresh = replace(recipe, n_instances=0)
    return fresh.sample(TaskStream(TEST_SEED, block, range(n_tables)))


@torch.no_grad()
def network_error(module: nn.Module, batch: SeededBatch) -> Float[np.ndarray, " b"]:
    """Misclustered share of each table, by the last layer."""
    last = module(batch.tables, batch.start).responsibilities[-1]
    return misclustering(last, batch.y).double().numpy()


def rival_errors(batch: SeededBatch) -> Mapping[str, Float[np.ndarray, " b"]]:
    """The same of EM with known sigma (50 steps), Lloyd, both from the batch's start, and Bayes."""
    k = batch.start.means.shape[1]
    hard = lloyd(batch.tables, batch.start.means, batch.start.is_component, _N_LLOYD_STEPS)
    best = nn.functional.one_hot(batch.best_labels, k)
    soft = em_after(batch, _N_EM_STEPS)[-1]
    found = {"EM": soft, "Lloyd": hard, "oracle": best.double()}
    return {name: misclustering(r, batch.y).double().numpy() for name, r in found.items()}


@torch.no_grad()
def em_after(batch: SeededBatch, n_steps: int) -> list[Float[Tensor, "b n c"]]:
    """Responsibilities of EM with known sigma = 1 after 1, ..., n_steps steps from the start."""
    network = em_network(batch, n_steps)
    return network(*double(batch)).responsibilities


def em_network(batch: SeededBatch, n_steps: int) -> MixtureTransformer:
    """The constructed network of the batch's size, float64."""
    _, k, d = batch.start.means.shape
    return em_transformer(d, k, 1.0, n_steps)


def double(batch: SeededBatch) -> tuple[Tables, Centres]:
    """Tables and start in float64."""
    start = batch.start
    tables = Tables(batch.tables.X.double(), batch.tables.weight.double())
    means, weights = start.means.double(), start.weights.double()
    return tables, Centres(weights, means, start.covariances.double(), start.is_component)
