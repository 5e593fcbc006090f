"""The shipped clusterer: EM layers that begin near EM and learn what EM gets wrong (ours).

    statformer pretrain mixture --minutes 60

Weights that never saw one family, for the benchmark: a base without all five, then short runs.

    statformer pretrain mixture --steps 2000 --out training/mixture_base \\
        --option 'without=["skew","discrete","very_heavy_tails","smooth_map","outliers"]'
    statformer pretrain mixture --steps 800 --out training/mixture_without_skew \\
        --option without=skew --option begin=training/mixture_base \\
        --option peak_learning_rate=1.5e-3

Loss: cross-entropy under the best matching of labels, last layer + 0.3 times the middle one.
Start: greedy k-means++ refined by Lloyd, K given. Adam, cosine to zero after a short warm-up;
`--option optimizer_name=adam++` needs no peak_learning_rate, and the log shows the eta it found.

Axes: b tasks, n points, d features, c components.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from statformer.batch import Tables, TaskBatch
from statformer.nn.em_module import EMModule, near_em
from statformer.nn.seeding import lloyd_starts, n_trials
from statformer.nn.standardize import compress, robust_scale
from statformer.objectives.clustering import adjusted_rand, trace_loss
from statformer.optim import AdamPP
from statformer.pretraining.recipe import Recipe
from statformer.tasks.gaussian_mixture import GaussianMixturePrior
from statformer.tasks.stream import TaskStream
from statformer.tasks.wide import WidePrior

_EVALUATION_SEED = 1_000_003
_WIDE = WidePrior(
    n_points=(20, 1000), n_features=(1, 64), n_components=(1, 20), cell_budget=100_000
)


@dataclass(frozen=True)
class PreparedBatch:
    """Standardised tables, their labels, and one Lloyd start each."""

    tables: Tables
    y: Tensor
    start: Tensor


def standardised_tables(batch: TaskBatch) -> Tables:
    """The tables of a batch, robustly scaled and compressed as the estimator does it.

    In float64: second moments about one origin cancel, and float32 loses small clusters.
    """
    X = batch.X.double()
    weight = batch.is_point.to(X.dtype)
    centre, scale = robust_scale(X, weight)
    Z = compress((X - centre[:, None, :]) / scale[:, None, :]) * weight[..., None]
    return Tables(Z, weight)


@dataclass(frozen=True)
class MixtureRecipe(Recipe):
    """Train `EMModule` on `GaussianMixturePrior`, with or without some of its ingredients.

    `wide` trains on `WidePrior` in its place, without missing and categorical cells.

    `begin` names a finished run (a folder) whose weights are the start, in the place of near-EM.
    """

    without: Sequence[str] | str = ()
    wide: bool = False
    begin: str | None = None
    optimizer_name: str = "adam"
    n_layers: int = 12
    n_hidden: int = 32
    name: str = "mixture"
    batch_size: int = 24
    peak_learning_rate: float = 3e-3
    ema_decay: float | None = 0.998
    eval_every: int = 500
    log_every: int = 50
    prior: GaussianMixturePrior = field(default_factory=GaussianMixturePrior)

    def __post_init__(self) -> None:
        if self.optimizer_name not in ("adam", "adam++"):
            raise ValueError(f"optimizer_name={self.optimizer_name!r}: pass 'adam' or 'adam++'")

    def _prior(self) -> GaussianMixturePrior | WidePrior:
        names = (self.without,) if isinstance(self.without, str) else tuple(self.without)
        if self.wide:
            return _WIDE.without("missing", "categorical", *names)
        return self.prior.without(*names)

    def build(self, seed: int) -> EMModule:
        if self.begin is not None:
            found = load_file(Path(self.begin) / "final.safetensors")
            return EMModule({k.removeprefix("em."): v for k, v in found.items() if k[:3] == "em."})
        return near_em(self.n_layers, self.n_hidden, torch.Generator().manual_seed(seed)).double()

    def sample(self, stream: TaskStream) -> PreparedBatch:
        with torch.no_grad():
            return self._draw(self._prior(), stream)

    @staticmethod
    def _draw(prior: GaussianMixturePrior | WidePrior, stream: TaskStream) -> PreparedBatch:
        batch = prior.sample(stream)
        c = batch.latent["weights"].shape[1]  # the step's largest K: the same on every rank
        tables = standardised_tables(batch)
        start = lloyd_starts(tables, batch.n_components, stream.uniform(c, n_trials(c)).double())
        return PreparedBatch(tables, batch.y, start)

    def loss(
        self, module: torch.nn.Module, batch: PreparedBatch, progress: float
    ) -> tuple[Tensor, dict[str, float]]:
        trace = module(batch.tables, batch.start)
        last = len(trace.responsibilities) - 1
        loss = trace_loss(trace, batch.y, ((last, 1.0), (last // 2, 0.3))).mean()
        return loss, {}

    def evaluate(self, module: torch.nn.Module) -> dict[str, float]:
        """Loss and ARI of one start on 12 x 24 tables of the full prior."""
        scores: dict[str, list[float]] = {"eval_loss": [], "eval_ari": []}
        with torch.no_grad():
            for step in range(12):
                batch = self._draw(self.prior, TaskStream(_EVALUATION_SEED, step, range(24)))
                trace = module(batch.tables, batch.start)
                last = len(trace.responsibilities) - 1
                scores["eval_loss"].append(trace_loss(trace, batch.y, ((last, 1.0),)).mean().item())
                labels = trace.responsibilities[-1].argmax(-1)
                scores["eval_ari"].append(adjusted_rand(labels, batch.y).mean().item())
        return {k: sum(v) / len(v) for k, v in scores.items()}

    def learning_rate(self, step: int, n_steps: int) -> float:
        warm = min(1.0, (step + 1) / 50.0)
        peak = 1.0 if self.optimizer_name == "adam++" else self.peak_learning_rate
        return peak * warm * 0.5 * (1.0 + math.cos(math.pi * step / n_steps))

    def optimizer(self, params: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
        if self.optimizer_name == "adam++":
            return AdamPP(params, betas=(0.9, 0.98))
        return torch.optim.Adam(params, lr=self.peak_learning_rate, betas=(0.9, 0.98))

    def settings(self) -> dict[str, Any]:
        """The fields; without newer ones that hold their default, so that older runs resume."""
        found = super().settings()
        newer = {"begin": None, "wide": False, "optimizer_name": "adam"}
        return {k: v for k, v in found.items() if k not in newer or v != newer[k]}

    def export(self, module: torch.nn.Module) -> dict[str, Tensor]:
        """The network's weights under "em.<name>"."""
        prefix = "layers."
        return {f"em.{k.removeprefix(prefix)}": v for k, v in module.state_dict().items()}


def recipe(**options: Any) -> MixtureRecipe:
    """The recipe with options of the command line (`without`, `n_layers`, `n_hidden`, ...)."""
    return MixtureRecipe(**options)
