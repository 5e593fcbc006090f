"""The paper's network for Bayesian networks, trained on one structure or on random ones.

    statformer pretrain bayes_net --steps 60000
    statformer pretrain bayes_net --steps 60000 --option structure=random
    statformer pretrain bayes_net --steps 100000 --option size=paper --device cuda

Protocol II of Cao et al. (arXiv 2501.02547), whose settings are those of its public code: fresh
tables from U(0, 1) for every task, one target per batch, L1 to the frequencies in context; or
`protocol="prediction"`, cross-entropy of the drawn bits and tables from Beta(0.4, 0.4). AdamW with
weight decay 0.01, gradients cut at norm 1, warm-up over 2,000 steps and a cosine to 1e-6 (to 0 in
the prediction task).

| size    | layers, heads, width          | learning rate | context rows | batch            |
|---------|-------------------------------|---------------|--------------|------------------|
| "paper" | 4, 8, 256; 12, 8, 256 random  | 3e-4          | 200 or 500   | 64; 16 random    |
| "small" | 2, 4, 64; 3, 4, 64 random     | 2e-3; 1e-3    | 200          | 64               |

Contexts of "paper" have 500 rows in the prediction task and with random structures. Ours: the size
"small", no dropout (0.1 there), Sachs' structure without a second draw of episodes whose
configuration is unseen, a fresh structure per task and not per batch, edges from U(0.1, 1) for
random structures of 5 (U(0.1, 0.8) there; more variables have U(0.7, 1)), and an eighth of all
structures, with the named ones among them, that no step is trained on (`is_held_out`): 5 variables
have 1,024 structures, and a long run would see them all.

Axes: b tasks, n context rows, v variables, d categories.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import safetensors
import safetensors.torch
import torch
from jaxtyping import Bool
from torch import Generator, Tensor

from statformer.nn.bayes_net_transformer import BayesNetTransformer
from statformer.objectives.bayes_net import context_frequencies, cross_entropy, l1_loss
from statformer.pretraining.checkpoint import CheckpointError
from statformer.pretraining.recipe import Recipe
from statformer.tasks.bayes_net import STRUCTURES, BayesNetBatch, BayesNetPrior
from statformer.tasks.stream import TaskStream
from statformer.weights.store import shipped_files

SHIPPED = ("bayes_net_general", "bayes_net_random", "bayes_net_sachs")
PROTOCOLS = ("frequencies", "prediction")
_EVALUATION_SEED = 2_000_007
_N_EVALUATIONS = 1024
_N_WARM = 2000
_MAX_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Size:
    """Layers, heads, width and peak learning rate."""

    n_layers: int
    n_heads: int
    width: int
    peak_learning_rate: float


# (size, is the structure random) -> Size
SIZES: Mapping[tuple[str, bool], Size] = MappingProxyType(
    {
        ("paper", False): Size(4, 8, 256, 3e-4),
        ("paper", True): Size(12, 8, 256, 3e-4),
        ("small", False): Size(2, 4, 64, 2e-3),
        ("small", True): Size(3, 4, 64, 1e-3),
    }
)


@dataclass(frozen=True)
class TargetedBatch:
    """Tasks, and the variable that all of them ask for."""

    tasks: BayesNetBatch
    target: int

    @property
    def context(self) -> Tensor:
        """All rows but the last, "b n v"."""
        return self.tasks.X[:, :-1]

    @property
    def query(self) -> Tensor:
        """The last row, "b v"."""
        return self.tasks.X[:, -1]


@dataclass(frozen=True)
class BayesNetRecipe(Recipe):
    """Train `BayesNetTransformer` on `BayesNetPrior`.

    structure a name of `tasks.bayes_net.STRUCTURES`, or "random" with `n_variables`; n_context,
    n_layers, n_heads and batch_size replace those of the size where they are not 0.
    """

    structure: str = "general"
    size: str = "small"
    protocol: str = "frequencies"
    n_variables: int = 5
    n_context: int = 0
    n_layers: int = 0
    n_heads: int = 0
    batch_size: int = 0
    name: str = "bayes_net"
    eval_every: int = 5000
    log_every: int = 500

    def __post_init__(self) -> None:
        """Raises ValueError for an unknown size, protocol or structure."""
        if (self.size, False) not in SIZES:
            known = sorted({size for size, _ in SIZES})
            raise ValueError(f"size={self.size!r} is unknown; choose from {known}")
        if self.protocol not in PROTOCOLS:
            raise ValueError(f"protocol={self.protocol!r} is unknown; choose from {PROTOCOLS}")
        is_random = self.structure == "random"
        is_paper = self.size == "paper"
        chosen = SIZES[self.size, is_random]
        long = is_paper and (is_random or self.protocol == "prediction")
        defaults = {
            "n_context": 500 if long else 200,
            "n_layers": chosen.n_layers,
            "n_heads": chosen.n_heads,
            "batch_size": 16 if is_paper and is_random else 64,
        }
        for field, value in defaults.items():
            object.__setattr__(self, field, getattr(self, field) or value)
        self.prior()

    def prior(self, n_rows: int | None = None) -> BayesNetPrior:
        """The tasks; `n_rows` counts the query, too."""
        is_sachs = self.structure == "sachs"
        concentration = 0.4 if self.protocol == "prediction" else 1.0
        return BayesNetPrior(
            self.structure,
            self.n_context + 1 if n_rows is None else n_rows,
            n_categories=3 if is_sachs else 2,
            concentration=0.1 if is_sachs else concentration,
            n_variables=self.n_variables,
            edges=(0.1, 1.0) if self.n_variables <= 5 else (0.7, 1.0),
        )

    def build(self, seed: int) -> BayesNetTransformer:
        prior, chosen = self.prior(), SIZES[self.size, self.structure == "random"]
        return BayesNetTransformer(
            self.n_variables if prior.parents is None else len(prior.parents),
            prior.n_categories,
            rng=Generator().manual_seed(seed),
            n_layers=self.n_layers,
            width=chosen.width,
            n_heads=self.n_heads,
        )

    def sample(self, stream: TaskStream) -> TargetedBatch:
        with torch.no_grad():
            tasks = self.prior().sample(stream)
            target = int(stream.shared().integers(0, tasks.X.shape[2]).item())
            if self.structure == "random":
                tasks = _only(tasks, ~is_held_out(tasks.adjacency))
            return TargetedBatch(tasks, target)

    def loss(
        self, module: torch.nn.Module, batch: TargetedBatch, progress: float
    ) -> tuple[Tensor, dict[str, float]]:
        p = module(batch.context, batch.query, batch.target)
        if self.protocol == "prediction":
            return cross_entropy(p, batch.query[:, batch.target]).mean(), {}
        return l1_loss(p, _context_law(batch)).mean(), {}

    def evaluate(self, module: torch.nn.Module) -> dict[str, float]:
        """L1 to the frequencies in context, their mean over nodes and each, on 1,024 networks.

        The last number is the mean total variation to the truth.
        """
        device = next(module.parameters()).device
        tasks = self.prior().sample(TaskStream(_EVALUATION_SEED, 0, range(_N_EVALUATIONS), device))
        truth = tasks.truth()[:, -1]
        gaps, variations = [], []
        for target in range(tasks.X.shape[2]):
            batch = TargetedBatch(tasks, target)
            with torch.no_grad():
                p = module(batch.context, batch.query, target)
            gaps.append(l1_loss(p, _context_law(batch)).mean().item())
            variations.append(0.5 * (p - truth[:, target]).abs().sum(-1).mean().item())
        scores = {f"l1_{target}": gap for target, gap in enumerate(gaps)}
        n = len(gaps)
        return {"eval_loss": sum(gaps) / n, **scores, "tv": sum(variations) / n}

    def learning_rate(self, step: int, n_steps: int) -> float:
        peak = SIZES[self.size, self.structure == "random"].peak_learning_rate
        last = 0.0 if self.protocol == "prediction" else 1e-6
        warm = min(1.0, (step + 1) / min(_N_WARM, max(1, n_steps // 10)))
        return last + (peak - last) * warm * 0.5 * (1.0 + math.cos(math.pi * step / n_steps))

    def optimizer(self, params: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.AdamW(params, lr=1e-3, weight_decay=0.01)


def is_held_out(adjacency: Bool[Tensor, "b v v"]) -> Bool[Tensor, " b"]:
    """Which structures are kept from training with random ones.

    An eighth of all, by a hash of the edges, and those of the paper (`STRUCTURES`).
    """
    v = adjacency.shape[-1]
    row, column = torch.tril_indices(v, v, -1, device=adjacency.device)
    edges = adjacency[:, row, column].to(torch.int64)
    places = torch.arange(1, edges.shape[1] + 1, device=adjacency.device)
    held_out = (edges * places).sum(-1) % 8 == 0
    for parents in STRUCTURES.values():
        if len(parents) == v:
            named = torch.zeros_like(adjacency[:1])
            for child, of_child in enumerate(parents):
                named[0, child, list(of_child)] = True
            held_out = held_out | (adjacency == named).all(-1).all(-1)
    return held_out


def _only(tasks: BayesNetBatch, keep: Bool[Tensor, " b"]) -> BayesNetBatch:
    return BayesNetBatch(tasks.X[keep], tasks.adjacency[keep], tasks.tables[keep])


def _context_law(batch: TargetedBatch) -> Tensor:
    parents = batch.tasks.adjacency[:, batch.target]
    d = batch.tasks.tables.shape[-1]
    return context_frequencies(batch.context, batch.query, batch.target, parents, d)


def load_bayes_net_transformer(path: str | Path) -> BayesNetTransformer:
    """The network of a run: a folder with `final.safetensors` and `card.json`, or the former.

    A name of `SHIPPED` is the one that the package ships. The network is in evaluation mode and
    asks for no gradients.

    Raises FileNotFoundError where a file is missing, WeightsError where a shipped file is not the
    one in the manifest, CheckpointError where the weights are too large, damaged, or do not belong
    to the network that the card describes.
    """
    if path in SHIPPED:
        path, card_path = shipped_files(str(path))
    else:
        path = Path(path)
        path = path / "final.safetensors" if path.is_dir() else path
        card_path = path.with_name("card.json")
    if path.stat().st_size > _MAX_BYTES:
        raise CheckpointError(f"{path} has more than {_MAX_BYTES} bytes; is it another file?")
    card = json.loads(card_path.read_bytes())
    if card.get("recipe") != "bayes_net":
        raise CheckpointError(
            f"{card_path} describes recipe {card.get('recipe')!r}; pass a run of bayes_net"
        )
    try:
        module = BayesNetRecipe(**card["settings"]).build(0)
        module.load_state_dict(safetensors.torch.load(path.read_bytes()))
    except (KeyError, TypeError, ValueError, RuntimeError, safetensors.SafetensorError) as error:
        first = " ".join(str(error).split())[:300]
        raise CheckpointError(f"{path} is no network of its card: {first}") from error
    return module.eval().requires_grad_(False)


def recipe(**options: Any) -> BayesNetRecipe:
    """The recipe with options of the command line, which are the fields of the class."""
    return BayesNetRecipe(**options)
