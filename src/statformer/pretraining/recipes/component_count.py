"""P(K | X) for a trained clusterer: its layers stay as they are, `ComponentCount` learns.

    statformer pretrain component_count --steps 4000 --option clusterer=training/mixture

Running every table at every K is what costs, so a pool of tables is run once (kept under the
clusterer's folder, made anew from its seed where it is missing) and the small network passes over
it many times, with P(K) of `prior_of_k`; its first `n_validation` tables are never trained on.

Loss: -log P(K | X) of the true K. AdamW, cosine to zero; noise on the tokens and weight decay,
because the pool is finite. Ours.

Axes: b tables, k numbers of components, f token features, m hidden units.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from torch import Tensor, nn

from statformer.batch import Tables
from statformer.nn.component_count import N_TOKEN_FEATURES, ComponentCount, count_shapes
from statformer.nn.em_network import EMNetwork, as_numpy
from statformer.nn.sweep import Sweep, sweep
from statformer.objectives.component_count import count_errors, log_score
from statformer.pretraining.recipe import Recipe
from statformer.pretraining.recipes.mixture import standardised_tables
from statformer.tasks.gaussian_mixture import GaussianMixturePrior
from statformer.tasks.stream import TaskStream

_POOL_SEED = 3_000_017
_N_STARTS = 2
_SWEEP_NUMBERS = 2**20  # max_components^2 x rows x columns of the tables of one sweep


class CountModule(nn.Module):
    """`ComponentCount` with its weights as parameters; the standardisation of tokens is fixed."""

    def __init__(self, mean: Tensor, scale: Tensor, n_hidden: int, generator: torch.Generator):
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)
        self.weights = nn.ParameterDict()
        for name, shape in count_shapes(n_hidden).items():
            if name in ("mean", "scale"):
                continue
            value = torch.zeros(shape, dtype=mean.dtype)
            if name.startswith("W"):
                value = torch.randn(shape, generator=generator, dtype=mean.dtype)
                value = value / math.sqrt(shape[0])
            self.weights[name] = nn.Parameter(value)

    def tensors(self) -> dict[str, Tensor]:
        """All weights of the network by their names."""
        fixed = {"mean": self.get_buffer("mean"), "scale": self.get_buffer("scale")}
        return {**fixed, **dict(self.weights.items())}

    def forward(self, tokens: Tensor, is_possible: Tensor) -> Tensor:
        log_p: Tensor = ComponentCount(self.tensors())(tokens, is_possible)
        return log_p


def prior_of_k(max_components: int) -> Tensor:
    """P(K) before a table is seen: 0.2 for one cluster, the rest in proportion to 1 / K (ours)."""
    p = 1.0 / torch.arange(1, max_components + 1).double()
    p[0] = p[1:].sum() / 4.0 if max_components > 1 else 1.0
    return p / p.sum()


@dataclass(frozen=True)
class Pool:
    """Tokens "b k f", masks "b k" and true K "b" of many tables."""

    tokens: Tensor
    is_possible: Tensor
    n_components: Tensor


@dataclass(frozen=True)
class ComponentCountRecipe(Recipe):
    """Train `ComponentCount` on the answers of the clusterer in `clusterer` (a folder)."""

    clusterer: str = "training/mixture"
    n_tables: int = 20_400
    n_validation: int = 1200
    max_components: int = 20
    n_hidden: int = 48
    weight_decay: float = 0.3
    token_noise: float = 0.3  # standard deviations; the pool is finite
    name: str = "component_count"
    batch_size: int = 256
    peak_learning_rate: float = 2e-3
    ema_decay: float | None = 0.998
    eval_every: int = 500
    log_every: int = 100
    tables_per_step: int = 24
    prior: GaussianMixturePrior = field(
        default_factory=lambda: GaussianMixturePrior(
            n_components=(1, 20), n_features=(1, 24), cell_budget=60_000
        )
    )

    @cached_property
    def pool(self) -> Pool:
        """The pool of this clusterer, from its file or made now."""
        weights = load_file(Path(self.clusterer) / "final.safetensors")
        path = Path(self.clusterer) / f"pool-{self._key(weights)}.safetensors"
        if not path.exists():
            network = EMNetwork(
                as_numpy({k.removeprefix("em."): v for k, v in weights.items() if k[:3] == "em."})
            )
            _write(path, self._make(network))
        arrays = load_file(path)
        return Pool(
            torch.from_numpy(arrays["tokens"]).double(),
            torch.from_numpy(arrays["is_possible"]).bool(),
            torch.from_numpy(arrays["n_components"]).long(),
        )

    def _key(self, weights: dict[str, np.ndarray]) -> str:
        text = json.dumps([self.n_tables, self.max_components, self.tables_per_step], default=str)
        digest = hashlib.sha256((text + json.dumps(asdict(self.prior))).encode())
        for name in sorted(weights):
            digest.update(name.encode() + weights[name].tobytes())
        return digest.hexdigest()[:16]

    def _make(self, network: EMNetwork) -> dict[str, np.ndarray]:
        parts: dict[str, list[np.ndarray]] = {"tokens": [], "is_possible": [], "n_components": []}
        per = self.tables_per_step
        for step in range(-(-self.n_tables // per)):
            swept, n_components = self._swept(network, step)
            parts["tokens"].append(swept.tokens.astype(np.float32))
            parts["is_possible"].append(swept.is_possible.astype(np.uint8))
            parts["n_components"].append(n_components)
        return {k: np.concatenate(v)[: self.n_tables] for k, v in parts.items()}

    def _swept(self, network: EMNetwork, step: int) -> tuple[Sweep, np.ndarray]:
        """One step of the pool, a few tables at a time: a sweep that fits the cache is quickest."""
        whole = self.prior.sample(TaskStream(_POOL_SEED, step, range(self.tables_per_step)))
        per = max(1, _SWEEP_NUMBERS // (self.max_components**2 * whole.X[0].numel()))
        found = [
            self._swept_part(network, step, range(first, min(first + per, self.tables_per_step)))
            for first in range(0, self.tables_per_step, per)
        ]
        joined = (np.concatenate(part) for part in zip(*found, strict=True))
        return Sweep(*joined), whole.n_components.numpy().astype(np.int64)

    def _swept_part(self, network: EMNetwork, step: int, tasks: range) -> tuple[np.ndarray, ...]:
        """In float32 as the estimator does, in float64 where that fails."""
        for dtype in (np.float32, np.float64):
            stream = TaskStream(_POOL_SEED, step, tasks)
            drawn = standardised_tables(self.prior.sample(stream))
            tables = Tables(drawn.X.numpy().astype(dtype), drawn.weight.numpy().astype(dtype))
            cast = EMNetwork({k: v.astype(dtype) for k, v in network.weights.items()})

            def draw(runs: int, c: int, t: int, stream: TaskStream = stream) -> np.ndarray:
                return stream.uniform(runs, c, t).double().numpy()

            try:
                with np.errstate(all="ignore"):
                    swept = sweep(cast, tables, self.max_components, draw, _N_STARTS)
            except np.linalg.LinAlgError:
                continue
            if np.isfinite(swept.tokens).all():
                return swept.density, swept.tokens, swept.is_possible
        raise FloatingPointError(f"tables {tasks} of step {step} have no finite answer in float64")

    @cached_property
    def _scale(self) -> Tensor:
        """Standard deviation of each token feature over the pool; 1 where it is constant."""
        scale = self.pool.tokens[self.n_validation :].reshape(-1, N_TOKEN_FEATURES).std(0)
        return torch.where(scale > 1e-6, scale, torch.ones_like(scale))

    def build(self, seed: int) -> CountModule:
        mean = self.pool.tokens[self.n_validation :].reshape(-1, N_TOKEN_FEATURES).mean(0)
        generator = torch.Generator().manual_seed(seed)
        return CountModule(mean, self._scale, self.n_hidden, generator)

    def _shares(self, K: Tensor) -> Tensor:
        """How often each table is drawn, so that K follows `prior_of_k`; sums to 1."""
        counts = torch.bincount(K, minlength=self.max_components + 1).double()
        share = prior_of_k(self.max_components)[K - 1] / counts[K]
        return share / share.sum()

    @cached_property
    def _edges(self) -> Tensor:
        return self._shares(self.pool.n_components[self.n_validation :]).cumsum(0)

    def sample(self, stream: TaskStream) -> Pool:
        u = stream.uniform().double() * self._edges[-1]
        rows = self.n_validation + torch.searchsorted(self._edges, u, right=True)
        rows = rows.clamp_max(self.n_tables - 1)
        tokens = self.pool.tokens[rows]
        noise = stream.normal(*tokens.shape[1:]).double() * self.token_noise * self._scale
        return Pool(tokens + noise, self.pool.is_possible[rows], self.pool.n_components[rows])

    def loss(
        self, module: nn.Module, batch: Pool, progress: float
    ) -> tuple[Tensor, dict[str, float]]:
        log_p = module(batch.tokens, batch.is_possible)
        return log_score(log_p, batch.n_components).mean(), {}

    def evaluate(self, module: nn.Module) -> dict[str, float]:
        """Log score, exact rate and error on the tables kept for validation, under the prior."""
        with torch.no_grad():
            held = slice(0, self.n_validation)
            K = self.pool.n_components[held]
            log_p = module(self.pool.tokens[held], self.pool.is_possible[held])
            exact, error = count_errors(log_p, K)
            single = log_p[K == 1].argmax(-1)
            share = self._shares(K)
        return {
            "eval_loss": (share * log_score(log_p, K)).sum().item(),
            "eval_exact": (share * exact).sum().item(),
            "eval_error": (share * error).sum().item(),
            "eval_false_split": (single != 0).double().mean().item(),
        }

    def learning_rate(self, step: int, n_steps: int) -> float:
        warm = min(1.0, (step + 1) / 50.0)
        return self.peak_learning_rate * warm * 0.5 * (1.0 + math.cos(math.pi * step / n_steps))

    def optimizer(self, params: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.AdamW(params, lr=self.peak_learning_rate, weight_decay=self.weight_decay)

    def export(self, module: nn.Module) -> dict[str, Tensor]:
        """The head's weights under "count.<name>" beside the clusterer's "em.<name>"."""
        if not isinstance(module, CountModule):
            raise TypeError(f"module is {type(module).__name__}; this recipe exports CountModule")
        em = {
            k: torch.from_numpy(v)
            for k, v in load_file(Path(self.clusterer) / "final.safetensors").items()
            if k.startswith("em.")
        }
        return {**em, **{f"count.{k}": v.detach() for k, v in module.tensors().items()}}


def _write(path: Path, arrays: dict[str, np.ndarray]) -> None:
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, temporary)
    temporary.replace(path)


def recipe(**options: Any) -> ComponentCountRecipe:
    """The recipe with options of the command line (`clusterer`, `n_tables`, ...)."""
    return ComponentCountRecipe(**options)
