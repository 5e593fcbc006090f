"""The judge: expected ARI of every labeling, P(K), and how far responsibilities are to be trusted.

    python -m statformer.pretraining.judge_pool training/judge --tables 7200
    statformer pretrain judge --steps 5000 --out training/judge
    statformer pretrain judge --steps 2500 --out training/judge_without_skew --option without=skew

The pool is made once (`judge_pool`); the judge passes over it many times, each time with other
company: labelings at the true K, all K of a sweep, a sweep and more at one K, strangers among them,
and some of the kinds left out. The last `n_validation` tables are never trained on. Leaving a piece
of the prior out leaves out the tables that have it.

Loss: cross-entropy of the expected ARI against the true one (a proper score: the answer is a mean),
the ARI that a soft choice by the judge gives away, -log P(K) of the true K under `prior_of_k`, and
the log score of "this row is right" after responsibilities were spread. AdamW, cosine. Ours.

Axes: b tables, m labelings, f features of a token, g features of a table, s sampled rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file
from torch import Tensor, nn

from statformer.nn.judge import N_BINS, Evidence, Judge, Judgement, judge_shapes
from statformer.pretraining.judge_pool import OTHER, STRANGE, SWEPT, TRUE, pool_files, read_shard
from statformer.pretraining.recipe import Recipe
from statformer.proposals.depth import depth_reference
from statformer.proposals.evidence import N_JUDGE_TABLE, N_TOKEN_FEATURES, sharpened
from statformer.proposals.kinds import KINDS
from statformer.tasks.stream import TaskStream
from statformer.tasks.wide import WIDE_RATES, pieces

MAX_COMPONENTS = 30
_MAX_LABELINGS = 80  # of one table in training
_FIXED = ("token_mean", "token_scale", "token_edges", "table_edges", "pick")
_FIRST_KIND = N_TOKEN_FEATURES - len(KINDS) - 1


class JudgeModule(nn.Module):
    """`Judge` with its weights as parameters; the standardisation of features is fixed."""

    def __init__(self, fixed: dict[str, Tensor], n_hidden: int, generator: torch.Generator) -> None:
        super().__init__()
        for name in _FIXED:
            self.register_buffer(name, fixed[name])
        self.weights = nn.ParameterDict()
        for name, shape in judge_shapes(N_TOKEN_FEATURES, N_JUDGE_TABLE, n_hidden).items():
            if name in _FIXED:
                continue
            value = torch.zeros(shape)
            if name.startswith("W"):
                value = torch.randn(shape, generator=generator) / math.sqrt(shape[-2])
            if name in (
                "W_token",
                "W_table",
            ):  # bins of one feature move together, few of them change at once
                value = value * 0.5
            if name in ("W_out", "W_down"):
                value = value * 0.5
            if name == "alpha":
                value = value + 2.0
            if name == "c_doubt":
                value = value - 2.0
            self.weights[name] = nn.Parameter(value)

    def tensors(self) -> dict[str, Tensor]:
        """All weights of the network by their names."""
        return {**{name: self.get_buffer(name) for name in _FIXED}, **dict(self.weights.items())}

    def forward(self, evidence: Evidence) -> Judgement:
        return Judge(self.tensors())(evidence, MAX_COMPONENTS)


def prior_of_k(max_components: int) -> Tensor:
    """P(K) before a table is seen: 0.2 for one cluster, the rest in proportion to 1 / K (ours)."""
    p = 1.0 / torch.arange(1, max_components + 1).double()
    p[0] = p[1:].sum() / 4.0 if max_components > 1 else 1.0
    return p / p.sum()


@dataclass(frozen=True)
class Judged:
    """Evidence, the truth, and what the loss may look at.

    ari "b m", top and hit "b m s", has_run "b m" (the labeling has responsibilities), n_components
    "b", is_given "b" (K was given), largest "b" (largest K that was tried)
    """

    evidence: Evidence
    ari: Tensor
    top: Tensor
    hit: Tensor
    has_run: Tensor
    n_components: Tensor
    is_given: Tensor
    largest: Tensor


@dataclass(frozen=True)
class JudgeRecipe(Recipe):
    """Train `Judge` on the pool under `folder`, without the tables of some pieces of the prior."""

    folder: str = "training/judge"
    layers: str = "training/mixture"
    without: Sequence[str] | str = ()
    n_hidden: int = 64
    n_validation: int = 720
    weight_decay: float = 1.0
    token_noise: float = 0.15
    name: str = "judge"
    batch_size: int = 48
    peak_learning_rate: float = 1.5e-3
    ema_decay: float | None = 0.998
    eval_every: int = 1000
    log_every: int = 100

    @cached_property
    def pool(self) -> dict[str, np.ndarray]:
        """All shards joined; ragged arrays with their offsets."""
        files = pool_files(self.folder)
        if not files:
            raise FileNotFoundError(
                f"folder={self.folder!r} has no pool; run python -m "
                f"statformer.pretraining.judge_pool {self.folder}"
            )
        shards = [read_shard(path) for path in files]
        joined = {k: np.concatenate([shard[k] for shard in shards]) for k in shards[0]}
        m = joined["n_labelings"]
        joined["tokens"] = sharpened(joined["tokens"].astype(np.float32))
        joined["first"] = np.cumsum(m) - m
        joined["first_pair"] = np.cumsum(m**2) - m**2
        return joined

    @property
    def n_tables(self) -> int:
        """Tables of the pool."""
        return len(self.pool["n_labelings"])

    @cached_property
    def training(self) -> np.ndarray:
        """Tables to train on, by index."""
        names = (self.without,) if isinstance(self.without, str) else tuple(self.without)
        rows = np.arange(max(self.n_tables - self.n_validation, self.n_tables // 2))
        if not names:
            return rows
        out = pieces(*names)
        columns = [i for i, k in enumerate(WIDE_RATES) if k in out]
        return rows[~self.pool["pieces"][rows][:, columns].any(axis=1)]

    @cached_property
    def validation(self) -> np.ndarray:
        """Tables that are never trained on."""
        return np.arange(max(self.n_tables - self.n_validation, self.n_tables // 2), self.n_tables)

    @cached_property
    def _fixed(self) -> dict[str, Tensor]:
        pool, rows = self.pool, self.training
        some = rows[:: max(1, len(rows) // 2000)]
        tokens = np.concatenate([self._tokens(int(t)) for t in some]).astype(np.float32)
        table = pool["table"][rows]
        table = np.concatenate([table, np.zeros((len(table), 1), dtype=table.dtype)], axis=1)
        scale, mean = tokens.std(axis=0), tokens.mean(axis=0)
        # who made a labeling, and whether K was given, stay 0 and 1
        mean[_FIRST_KIND:], scale[_FIRST_KIND:] = 0.0, 1.0
        table[::2, -1] = 1.0
        return {
            "token_mean": torch.from_numpy(mean),
            "token_scale": torch.from_numpy(np.where(scale > 1e-4, scale, 1.0)),
            "token_edges": torch.from_numpy(_edges(tokens)),
            "table_edges": torch.from_numpy(_edges(table)),
            "pick": torch.tensor([1.0, 0.0]),
        }

    def _tokens(self, t: int) -> np.ndarray:
        first = int(self.pool["first"][t])
        tokens: np.ndarray = self.pool["tokens"][first : first + int(self.pool["n_labelings"][t])]
        return tokens

    def build(self, seed: int) -> JudgeModule:
        return JudgeModule(self._fixed, self.n_hidden, torch.Generator().manual_seed(seed))

    def sample(self, stream: TaskStream) -> Judged:
        u = stream.uniform(4).double().numpy()
        u[:, 1] = stream.shared().uniform(1)[0].item()  # one kind of company a step: less padding
        drop = stream.uniform(len(KINDS)).double().numpy()
        weight = self._shares
        rows = self.training[np.searchsorted(weight, u[:, 0] * weight[-1]).clip(0, len(weight) - 1)]
        batch = self._batch(rows, u[:, 1], u[:, 2:4], drop)
        noise = stream.normal(*batch.evidence.tokens.shape[1:]) * self.token_noise
        noise[..., _FIRST_KIND:] = 0.0
        noisy = batch.evidence.tokens + noise * self._fixed["token_scale"]
        e = batch.evidence
        return replace(batch, evidence=replace(e, tokens=noisy))

    @cached_property
    def _shares(self) -> np.ndarray:
        """Cumulative frequency of each table, so that K follows `prior_of_k`, gently."""
        K = self.pool["n_components"][self.training]
        counts = np.bincount(K, minlength=MAX_COMPONENTS + 1)
        wanted = np.concatenate([[0.0], prior_of_k(MAX_COMPONENTS).numpy()])
        return np.cumsum(wanted[K] / counts[K])

    def _batch(self, rows: np.ndarray, mode: np.ndarray, u: np.ndarray, drop: np.ndarray) -> Judged:
        """mode in [0, 1) chooses the company, u "b 2" how much of it; drop "b kinds"."""
        chosen, given, largest = [], [], []
        for i, t in enumerate(rows):
            picked, is_given = self._company(int(t), mode[i], u[i], drop[i])
            chosen.append(picked)
            given.append(is_given)
            first = int(self.pool["first"][t])
            m = int(self.pool["n_labelings"][t])
            swept = self.pool["source"][first : first + m] == SWEPT
            largest.append(int(self.pool["K"][first : first + m][swept].max(initial=1)))
        return self._padded(rows, chosen, np.array(given), np.array(largest))

    def _company(
        self, t: int, mode: float, u: np.ndarray, drop: np.ndarray
    ) -> tuple[np.ndarray, bool]:
        """Which labelings of table t stand together, and whether K is told to be right."""
        pool = self.pool
        first, m = int(pool["first"][t]), int(pool["n_labelings"][t])
        source = pool["source"][first : first + m]
        kinds = self._tokens(t)[:, _FIRST_KIND:-1]
        kept = ~(kinds @ (drop < u[0] * 0.7)).astype(bool)
        swept, right = source == SWEPT, source == TRUE
        other, strange = source == OTHER, source == STRANGE
        is_given = mode < 0.4 and bool(right.any())
        if is_given:
            mask = right & kept
            mask = mask if mask.any() else right
        elif mode < 0.65:
            mask = swept & kept
            mask = mask if mask.any() else swept
        elif mode < 0.85:
            extra = other if other.any() and u[1] < 0.5 else right
            mask = (swept | extra) & kept
            mask = mask if (mask & swept).any() else swept | extra
        else:
            mask = (swept & kept) | strange
        # a long sweep gives up kinds, so that one table does not pad all others
        for kind in np.argsort(drop):
            if mask.sum() <= _MAX_LABELINGS:
                break
            mask = mask & ~((source == SWEPT) & (kinds[:, kind] > 0))
        return np.flatnonzero(mask), is_given

    def _padded(
        self, rows: np.ndarray, chosen: list[np.ndarray], given: np.ndarray, largest: np.ndarray
    ) -> Judged:
        pool = self.pool
        b, m = len(rows), max(len(c) for c in chosen)
        s = pool["top"].shape[1]
        tokens = np.zeros((b, m, N_TOKEN_FEATURES), dtype=np.float32)
        alike = np.zeros((b, m, m), dtype=np.float32)
        K, there = np.ones((b, m), dtype=np.int64), np.zeros((b, m), dtype=bool)
        ari = np.zeros((b, m), dtype=np.float32)
        top, hit = np.ones((b, m, s), dtype=np.float32), np.ones((b, m, s), dtype=np.float32)
        has_run = np.zeros((b, m), dtype=bool)
        for i, (t, c) in enumerate(zip(rows, chosen, strict=True)):
            first, size = int(pool["first"][t]), int(pool["n_labelings"][t])
            pair = int(pool["first_pair"][t])
            k, at = len(c), first + c
            tokens[i, :k] = pool["tokens"][at]
            square = pool["agreement"][pair : pair + size * size].reshape(size, size)
            alike[i, :k, :k] = square[np.ix_(c, c)]
            K[i, :k], there[i, :k], ari[i, :k] = pool["K"][at], True, pool["ari"][at]
            top[i, :k], hit[i, :k] = pool["top"][at], pool["hit"][at]
            has_run[i, :k] = pool["source"][at] != STRANGE
        table = np.concatenate([pool["table"][rows], given[:, None]], axis=1).astype(np.float32)
        as_tensor = torch.from_numpy
        return Judged(
            Evidence(*map(as_tensor, (tokens, table, alike, K.clip(1, MAX_COMPONENTS), there))),
            as_tensor(ari),
            as_tensor(top),
            as_tensor(hit),
            as_tensor(has_run),
            as_tensor(pool["n_components"][rows].astype(np.int64)),
            as_tensor(given.astype(bool)),
            as_tensor(largest),
        )

    def loss(
        self, module: nn.Module, batch: Judged, progress: float
    ) -> tuple[Tensor, dict[str, float]]:
        said: Judgement = module(batch.evidence)
        score, given_away, count, trust = losses(said, batch)
        total = score + given_away + 0.6 * count + 0.3 * trust
        parts = {"score": score, "given_away": given_away, "count": count, "trust": trust}
        return total, {k: float(v.detach()) for k, v in parts.items()}

    def evaluate(self, module: nn.Module) -> dict[str, float]:
        """On the validation tables: what is picked at the true K, P(K), and the losses."""
        found: dict[str, list[float]] = {}
        for first in range(0, len(self.validation), 48):
            rows = self.validation[first : first + 48]
            b = len(rows)
            keep = np.ones((b, len(KINDS)))
            half = np.full((b, 2), 0.9)
            with torch.no_grad():
                given = self._batch(rows, np.zeros(b), half, keep)
                swept = self._batch(rows, np.full(b, 0.5), half, keep)
                said, counted = module(given.evidence), module(swept.evidence)
            there = given.evidence.is_there
            pick = torch.where(there, said.logit, torch.full_like(said.logit, -99.0)).argmax(-1)
            picked = torch.gather(given.ari, 1, pick[:, None])[:, 0]
            best = torch.where(there, given.ari, torch.zeros_like(given.ari)).amax(-1)
            expected = torch.gather(said.expected_ari, 1, pick[:, None])[:, 0]
            several = given.n_components > 1
            _add(found, "eval_picked", picked[several])
            _add(found, "eval_best", best[several])
            _add(found, "eval_optimism", (expected - picked)[several])
            within = swept.n_components <= swept.largest
            log_p = counted.log_p[:, :-1]
            exact = (log_p.argmax(-1) + 1 == swept.n_components).double()
            _add(found, "eval_exact", exact[within])
            _add(found, "eval_false_split", 1.0 - exact[swept.n_components == 1])
            _add(found, "eval_count", -_log_of(counted, swept).clamp_min(-12.0))
            score, given_away, _, trust = losses(said, given)
            _add(found, "eval_loss", (score + given_away)[None].expand(b))
            _add(found, "eval_trust", trust[None].expand(b))
        return {k: float(np.mean(v)) for k, v in found.items()}

    def calibrated(self, module: nn.Module) -> Tensor:
        """(a, b) of sigma(a logit + b), fitted to the ARI of the picks on the validation tables.

        Picks at the true K and, beside a sweep, at the K of the extra proposals.
        """
        logits, reached = [], []
        for first in range(0, len(self.validation), 48):
            rows = self.validation[first : first + 48]
            b = len(rows)
            for mode in (0.0, 0.7):
                with torch.no_grad():
                    batch = self._batch(
                        rows, np.full(b, mode), np.full((b, 2), 0.45), np.ones((b, len(KINDS)))
                    )
                    said = module(batch.evidence)
                usable = batch.evidence.is_there & (batch.evidence.n_clusters > 1)
                low = torch.where(usable, said.logit, torch.full_like(said.logit, -99.0))
                best = low.argmax(-1, keepdim=True)
                some = usable.any(-1) & (batch.n_components > 1)
                logits.append(torch.gather(low, 1, best)[some, 0].double())
                reached.append(torch.gather(batch.ari, 1, best)[some, 0].double().clamp(0.0, 1.0))
        x, y = torch.cat(logits), torch.cat(reached)
        line = torch.tensor([1.0, 0.0], dtype=torch.float64)
        for _ in range(20):  # Newton steps of a logistic regression; y is a share
            p = torch.sigmoid(line[0] * x + line[1])
            design = torch.stack([x, torch.ones_like(x)])
            curvature = (design * (p * (1.0 - p))) @ design.mT + 1e-6 * torch.eye(2).double()
            line = line - torch.linalg.solve(curvature, design @ (p - y))
        return line.float()

    def learning_rate(self, step: int, n_steps: int) -> float:
        warm = min(1.0, (step + 1) / 100.0)
        return self.peak_learning_rate * warm * 0.5 * (1.0 + math.cos(math.pi * step / n_steps))

    def optimizer(self, params: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.AdamW(params, lr=self.peak_learning_rate, weight_decay=self.weight_decay)

    def export(self, module: nn.Module) -> dict[str, Tensor]:
        """The judge under "judge.<name>", the layers "em.<name>", the range "depth.<name>"."""
        if not isinstance(module, JudgeModule):
            raise TypeError(f"module is {type(module).__name__}; this recipe exports JudgeModule")
        layers = load_file(Path(self.layers) / "final.safetensors")
        em = {k: torch.from_numpy(v) for k, v in layers.items() if k.startswith("em.")}
        reference = depth_reference(self.pool["table"][self.training].astype(np.float64))
        depth = {k: torch.from_numpy(np.asarray(v)) for k, v in reference.items()}
        own = {f"judge.{k}": v.detach().float() for k, v in module.tensors().items()}
        own["judge.pick"] = self.calibrated(module)
        return {**em, **own, **depth}


def _edges(features: np.ndarray) -> np.ndarray:
    """Edges of the bins "f k" of each feature: its quantiles, apart by a little at least."""
    scale = features.std(axis=0).astype(np.float64)
    cuts = np.linspace(0.005, 0.995, N_BINS + 1)
    edges = np.quantile(features.astype(np.float64), cuts, axis=0).T
    least = np.maximum(1e-3 * np.where(scale > 1e-4, scale, 1.0), 1e-6)[:, None]
    found: np.ndarray = (edges + least * np.arange(N_BINS + 1)).astype(np.float32)
    return found


def losses(said: Judgement, batch: Judged) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Score of the expected ARI, ARI given away by a soft choice, -log P(K), trust in rows."""
    there = batch.evidence.is_there
    keep = there.to(batch.ari.dtype)
    target = batch.ari.clamp(0.0, 1.0)
    each = nn.functional.binary_cross_entropy_with_logits(said.logit, target, reduction="none")
    score = ((each * keep).sum(-1) / keep.sum(-1)).mean()
    low = torch.where(there, said.logit * 4.0, torch.full_like(said.logit, -1e9))
    chance = torch.softmax(low, -1)
    best = torch.where(there, target, torch.zeros_like(target)).amax(-1)
    given_away = (best - (chance * target).sum(-1)).mean()
    counted = ~batch.is_given
    log_p = _log_of(said, batch).clamp_min(-20.0)
    count = -(log_p * counted).sum() / counted.sum().clamp_min(1)
    K = batch.evidence.n_clusters.to(batch.top.dtype)[..., None]
    spread = said.doubt[..., None]
    p = ((1.0 - spread) * batch.top + spread / K).clamp(1e-4, 1.0 - 1e-4)
    rows = -(batch.hit * p.log() + (1.0 - batch.hit) * (1.0 - p).log()).mean(-1)
    ours = (there & batch.has_run & (batch.evidence.n_clusters > 1)).to(rows.dtype)
    trust = (rows * ours).sum() / ours.sum().clamp_min(1)
    return score, given_away, count, trust


def _log_of(said: Judgement, batch: Judged) -> Tensor:
    """log P of the true K, or of "beyond" where the sweep ended before it."""
    beyond = torch.full_like(batch.n_components, MAX_COMPONENTS)
    place = torch.where(batch.n_components <= batch.largest, batch.n_components - 1, beyond)
    return torch.gather(said.log_p, 1, place[:, None])[:, 0]


def _add(found: dict[str, list[float]], name: str, values: Tensor) -> None:
    found.setdefault(name, []).extend(values.double().tolist())


def recipe(**options: Any) -> JudgeRecipe:
    """The recipe with options of the command line (`without`, `folder`, ...)."""
    return JudgeRecipe(**options)
