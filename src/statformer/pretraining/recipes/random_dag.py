"""The network that reads the parents of a variable from rows of any random DAG (ours).

    statformer pretrain random_dag --minutes 60

Each task is one target with all its predecessors; candidates are all sets of them, now and then
only the small ones, or half of all (of nine predecessors the
sets of at most four). The start is Bayesian model averaging with five concentrations
(`constructions.parent_sets`). Loss: divergence of the true conditional at fresh rows from the
answer, and a fifth as much surprise at the true parents, each over that of the start on the same
batch, so that contexts of 5 and of 4,000 rows count alike. Adam, cosine to zero after a short
warm-up.

Axes: b tasks, n rows, q queries, s candidate sets, d categories.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from statformer.constructions.parent_sets import parent_set_weights
from statformer.nn.parent_set_candidates import CandidateSets, all_subsets
from statformer.nn.parent_set_features import CONCENTRATIONS, Reading, read
from statformer.nn.parent_set_module import (
    ParentSetModule,
    count_tables,
    counts_at,
    near_averaging,
    total_of,
)
from statformer.nn.parent_sets import PREFIX
from statformer.objectives.parent_sets import divergence, surprise, variation
from statformer.pretraining.recipe import Recipe
from statformer.tasks.mixed_bayes_net import LastVariableBatch, MixedBayesNetPrior
from statformer.tasks.stream import TaskStream

_EVALUATION_SEED = 3_000_017
_SMALL_SETS = 0.2  # share of the batches whose candidates are at most so large, drawn at random
_HALF_OF_SETS = 0.2
_MAX_SETS, _MAX_CELLS = 260, 6000  # of the tables of all candidates of a task
_FLOOR, _LEAST_SURPRISE = 1e-3, 0.05  # added to what the losses are divided by, in nats
_SURPRISE = 0.2  # weight of the second loss


@dataclass(frozen=True)
class ParentSetBatch:
    """What a step needs.

    counts    "b q s d"  of every candidate at the queries
    truth     "b q d"
    true_set  "b"        number of the candidate that is the parents, -1 where none is
    """

    reading: Reading
    counts: Tensor
    is_subset: Tensor
    truth: Tensor
    true_set: Tensor


def prepared(batch: LastVariableBatch, candidates: tuple[tuple[int, ...], ...]) -> ParentSetBatch:
    """Counts and features of the candidates, in float32 from here on."""
    device = batch.rows.device
    m = len(batch.sizes) - 1
    sets = CandidateSets(candidates, batch.sizes, m, n_predecessors=m)
    codes = np.zeros((math.prod(batch.sizes[:-1]), m + 1), dtype=np.intp)
    codes[:, :m] = np.indices(batch.sizes[:-1]).reshape(m, -1).T
    index = torch.as_tensor(sets.index(codes), device=device)
    counts = count_tables(batch.rows, batch.last, index, sets)
    found = read(counts, sets, total_of(sets, device), torch.lgamma)
    reading = Reading(
        found.features.float(), found.evidence.float(), found.shift, found.log_prior.float()
    )
    is_subset = torch.as_tensor(sets.is_subset, device=device)
    asked = counts_at(counts, batch.queries, index).float()
    return ParentSetBatch(reading, asked, is_subset, batch.truth, _true_set(batch, candidates))


def _true_set(batch: LastVariableBatch, candidates: tuple[tuple[int, ...], ...]) -> Tensor:
    device, m = batch.parents.device, batch.parents.shape[1]
    number = torch.full((2**m,), -1, device=device)
    bits = [sum(2**u for u in one) for one in candidates]
    number[bits] = torch.arange(len(bits), device=device)
    return number[(batch.parents * 2 ** torch.arange(m, device=device)).sum(1)]


def largest_sets(sizes: tuple[int, ...]) -> int:
    """The most variables that a candidate may have, so that a step stays small."""
    m = len(sizes) - 1
    for k in range(m, 1, -1):
        sets = all_subsets(range(m), k)
        cells = sum(math.prod(sizes[u] for u in one) for one in sets) * sizes[-1]
        if len(sets) <= _MAX_SETS and cells <= _MAX_CELLS:
            return k
    return 1


def averaging(prior: dict[float, float] | None = None) -> ParentSetModule:
    """Bayesian model averaging as a module, float32."""
    weights = parent_set_weights(prior)
    return ParentSetModule(
        {
            k.removeprefix(PREFIX): torch.as_tensor(v, dtype=torch.float32)
            for k, v in weights.items()
        }
    )


@dataclass(frozen=True)
class RandomDagRecipe(Recipe):
    """Train a `ParentSetModule` on `MixedBayesNetPrior`."""

    n_hidden: int = 48
    name: str = "random_dag"
    batch_size: int = 64
    peak_learning_rate: float = 3e-3
    ema_decay: float | None = 0.998
    eval_every: int = 1000
    log_every: int = 50
    n_evaluations: int = 40
    prior: MixedBayesNetPrior = field(default_factory=MixedBayesNetPrior)

    def build(self, seed: int) -> ParentSetModule:
        return near_averaging(self.n_hidden, torch.Generator().manual_seed(seed))

    def sample(self, stream: TaskStream) -> ParentSetBatch:
        batch = self.prior.sample(stream)
        m = len(batch.sizes) - 1
        shared = stream.shared().branch()
        u, size = shared.uniform(2)[0].tolist()
        largest = largest_sets(batch.sizes)
        if u < _SMALL_SETS:
            largest = 1 + int(size * largest)
        sets = all_subsets(range(m), largest)
        if u > 1.0 - _HALF_OF_SETS:
            kept = shared.permutation(len(sets))[0, : max(2, len(sets) // 2)].tolist()
            sets = tuple(sets[i] for i in sorted(kept))
        with torch.no_grad():
            return prepared(batch, sets)

    def loss(
        self, module: torch.nn.Module, batch: ParentSetBatch, progress: float
    ) -> tuple[Tensor, dict[str, float]]:
        lost = self._lost(module, batch)
        with torch.no_grad():
            start = self._lost(self._start().to(batch.truth.device), batch)
        loss = lost[0] / (start[0] + _FLOOR) + _SURPRISE * lost[1] / (start[1] + _LEAST_SURPRISE)
        return loss / (1.0 + _SURPRISE), {
            "divergence": lost[0].item(),
            "of_start": start[0].item(),
            "surprise": lost[1].item(),
            "surprise_of_start": start[1].item(),
        }

    @staticmethod
    def _lost(module: torch.nn.Module, batch: ParentSetBatch) -> tuple[Tensor, Tensor]:
        p, logits = module(batch.reading, batch.counts, batch.is_subset)
        return divergence(p, batch.truth).mean(), surprise(logits, batch.true_set)

    @staticmethod
    def _start() -> ParentSetModule:
        return averaging(dict.fromkeys(CONCENTRATIONS, 1.0))

    def evaluate(self, module: torch.nn.Module) -> dict[str, float]:
        """Divergence, total variation and surprise on tasks of the prior, beside model averaging.

        "flat" is the theorem with Dirichlet(1) tables, "start" that with all five concentrations.
        """
        device = next(module.parameters()).device
        start, flat = self._start().to(device), averaging().to(device)
        networks = {"eval": module, "start": start, "flat": flat}
        found: dict[str, list[Tensor]] = {}
        for step in range(self.n_evaluations):
            stream = TaskStream(_EVALUATION_SEED, step, range(self.batch_size), device)
            batch = self.sample(stream)
            for name, network in networks.items():
                p, logits = network(batch.reading, batch.counts, batch.is_subset)
                for measure, value in (
                    ("divergence", divergence(p, batch.truth).mean()),
                    ("tv", variation(p, batch.truth).mean()),
                    ("surprise", surprise(logits, batch.true_set)),
                ):
                    found.setdefault(f"{name}_{measure}", []).append(value)
        return {name: torch.stack(values).mean().item() for name, values in found.items()}

    def learning_rate(self, step: int, n_steps: int) -> float:
        warm = min(1.0, (step + 1) / 50.0)
        return self.peak_learning_rate * warm * 0.5 * (1.0 + math.cos(math.pi * step / n_steps))

    def optimizer(self, params: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.Adam(params, lr=self.peak_learning_rate, betas=(0.9, 0.98))

    def export(self, module: torch.nn.Module) -> dict[str, Tensor]:
        """The weights under "sets.<name>"."""
        return dict(module.state_dict())


def recipe(**options: Any) -> RandomDagRecipe:
    """The recipe with options of the command line, which are the fields of the class."""
    return RandomDagRecipe(**options)
