"""Training data of the judge: tables of the wide prior, proposals for them, and their true scores.

    python -m statformer.pretraining.judge_pool training/judge --tables 8000

Shards are written to RUN/pool, each from its own seeds, so that any number of processes can share
the work and a killed one loses the shard it was in. The estimator itself makes the proposals: what
the judge learns from is what it will see.

Axes: t tables, m labelings (ragged, of all tables one after the other), f features, s sampled rows.
"""

from __future__ import annotations

import argparse
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from safetensors.numpy import load_file, save_file
from scipy.cluster.hierarchy import cut_tree, linkage
from scipy.optimize import linear_sum_assignment

from statformer.estimators import fitting
from statformer.estimators.devices import Backend, backend
from statformer.estimators.mixture import AttentionMixture
from statformer.estimators.problems import Problem, adjusted_rand
from statformer.estimators.proposers import GIVEN, SWEEP, Plan, Proposal, propose
from statformer.proposals.evidence import N_RAW_FEATURES, described, view_of
from statformer.proposals.kinds import KINDS, RUN_FEATURES, STRANGER
from statformer.proposals.table_features import table_features
from statformer.tasks.stream import TaskStream
from statformer.tasks.wide import WIDE_RATES, WidePrior
from statformer.weights import load_weights

SEED = 2_000_003
N_SAMPLED = 32
SHARD_STEPS = 8
TABLES_PER_STEP = 6
_TREES: tuple[Literal["ward", "average", "complete", "single"], ...] = (
    "ward",
    "average",
    "complete",
    "single",
)
SWEPT, TRUE, OTHER, STRANGE = range(4)  # where a labeling comes from
PRIOR = WidePrior(n_points=(20, 1000), n_features=(1, 48), n_components=(1, 24), cell_budget=40_000)


def make_shard(
    prior: WidePrior, index: int, em: dict[str, np.ndarray], on: Backend
) -> dict[str, np.ndarray]:
    """Tables of `SHARD_STEPS` steps, described.

    tokens "m r" (raw features), ari "m", K "m" (asked for), source "m" (`SWEPT`, ...), top and
    hit "m s" (responsibility of sampled rows, and whether their label is right under the best
    matching), agreement (each table's "m m", flattened), n_labelings, n_components, shape, table
    "t g", pieces "t k" (masks of the prior).
    """
    parts: list[dict[str, np.ndarray]] = []
    for step in range(index * SHARD_STEPS, (index + 1) * SHARD_STEPS):
        batch = prior.sample(TaskStream(SEED, step, range(TABLES_PER_STEP)))
        tables = []
        for i in range(TABLES_PER_STEP):
            X, y = batch.X[i].double().numpy(), batch.y[i].numpy()
            codes = np.flatnonzero(batch.latent["is_categorical"][i].numpy())
            pieces = np.array([bool(batch.latent[k][i]) for k in WIDE_RATES])
            table = _prepared(X, y, codes, pieces, np.random.default_rng([SEED, step, i]))
            if table is not None:
                tables.append(table)
        parts += _described(tables, em, on)
    return {k: np.concatenate([part[k] for part in parts]) for k in parts[0]}


@dataclass(frozen=True)
class Drawn:
    """A table of the prior as the estimator reads it.

    place  "r"  where each of the caller's rows is among the distinct ones; truth "r" its class
    """

    problem: Problem
    place: Int[np.ndarray, " r"]
    truth: Int[np.ndarray, " r"]
    n_components: int
    shape: tuple[int, ...]
    pieces: Bool[np.ndarray, " k"]
    rng: np.random.Generator


def _prepared(
    X: Float[np.ndarray, "n d"],
    y: Int[np.ndarray, " n"],
    codes: Int[np.ndarray, " q"],
    pieces: Bool[np.ndarray, " k"],
    rng: np.random.Generator,
) -> Drawn | None:
    """None where fewer distinct rows are left than clusters, or fewer than four."""
    model = AttentionMixture(categorical_features=codes, random_state=rng, max_context=1000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        prepared = fitting.prepare(model, X, None)
    rows = prepared.rows
    truth = y[rows.indices]
    K = len(np.unique(truth[truth >= 0]))
    if len(rows.X) < max(4, K + 3) or K == 0:
        return None
    return Drawn(prepared.problem, rows.place, truth, K, X.shape, pieces, rng)


def _described(
    tables: Sequence[Drawn], em: dict[str, np.ndarray], on: Backend
) -> list[dict[str, np.ndarray]]:
    """Proposals at every K up to a top, at the true K, and for half of the tables at another."""
    swept: list[list[Proposal]] = [[] for _ in tables]
    tops = [min(_top(t.n_components, t.rng), len(t.problem.X)) for t in tables]
    for top in sorted(set(tops)):
        members = [i for i, other in enumerate(tops) if other == top]
        counts = np.tile(np.arange(1, top + 1), (len(members), 1))
        for i, found in zip(members, _run(tables, members, counts, SWEEP, em, on), strict=True):
            swept[i] = found
    everyone = list(range(len(tables)))
    true = np.array([[t.n_components] for t in tables])
    right = _run(tables, everyone, true, GIVEN, em, on)
    wrong = np.array([[_other(t)] for t in tables])
    chosen = [i for i in everyone if tables[i].rng.random() < 0.5 and wrong[i] != true[i]]
    other: list[list[Proposal]] = [[] for _ in tables]
    for i, found in zip(chosen, _run(tables, chosen, wrong[chosen], GIVEN, em, on), strict=True):
        other[i] = found
    return [_of_table(t, swept[i], right[i], other[i]) for i, t in enumerate(tables)]


def _other(table: Drawn) -> int:
    """A number of clusters near the truth."""
    step = int(table.rng.choice([-2, -1, 1, 2, 3]))
    return min(max(table.n_components + step, 2), len(table.problem.X))


def _of_table(
    table: Drawn, swept: list[Proposal], right: list[Proposal], other: list[Proposal]
) -> dict[str, np.ndarray]:
    problem, truth, place, rng = table.problem, table.truth, table.place, table.rng
    strange = _strangers(problem, truth, place, table.n_components, rng)
    proposals = [*swept, *right, *other]
    sources = [SWEPT] * len(swept) + [TRUE] * len(right) + [OTHER] * len(other)
    sources += [STRANGE] * len(strange)
    labels = np.stack([*(p.labels for p in proposals), *strange]).astype(np.int64)
    kinds = np.array([*(KINDS.index(p.kind) for p in proposals), *[STRANGER] * len(strange)])
    features = np.zeros((len(labels), len(RUN_FEATURES)))
    features[: len(proposals)] = [p.features for p in proposals]
    asked = np.array([*(p.n_components for p in proposals), *(len(np.unique(s)) for s in strange)])
    view, drawn = view_of(problem.X, problem.weight, rng)
    about = table_features(problem.X, problem.weight)
    told = described(view, labels[:, drawn], kinds, features, asked, about)
    counts = truth >= 0
    ones = np.ones(int(counts.sum()))
    ari = np.array([adjusted_rand(truth[counts], row[place][counts], ones) for row in labels])
    sampled = rng.choice(np.flatnonzero(counts), N_SAMPLED)
    tops = np.ones((len(labels), N_SAMPLED))
    tops[: len(proposals)] = [p.top[place[sampled]] for p in proposals]
    hits = np.stack([_hits(truth, row[place], sampled) for row in labels])
    return {
        "tokens": told.tokens[:, -N_RAW_FEATURES:].astype(np.float16),
        "ari": ari.astype(np.float32),
        "K": asked.astype(np.int16),
        "source": np.array(sources, dtype=np.int8),
        "top": tops.astype(np.float16),
        "hit": hits.astype(np.uint8),
        "agreement": told.agreement.astype(np.float16).ravel(),
        "n_labelings": np.array([len(labels)]),
        "table": told.table[None].astype(np.float32),
        "n_components": np.array([table.n_components]),
        "shape": np.array([table.shape]),
        "pieces": table.pieces[None].astype(np.uint8),
    }


def _top(K: int, rng: np.random.Generator) -> int:
    """How far the sweep goes: mostly as far as needed, sometimes further, sometimes not enough."""
    u = rng.random()
    if K <= 8:
        return 10 if u < 0.92 else 20
    if K <= 10:
        return 10 if u < 0.5 else 20
    if K <= 16:
        return 10 if u < 0.35 else 20
    if K <= 20:
        return 10 if u < 0.2 else 20 if u < 0.7 else 30
    return 20 if u < 0.4 else 30


def _run(
    tables: Sequence[Drawn],
    members: Sequence[int],
    counts: Int[np.ndarray, "b q"],
    plan: Plan,
    em: dict[str, np.ndarray],
    on: Backend,
) -> list[list[Proposal]]:
    if not members:
        return []
    problems = [tables[i].problem for i in members]
    return propose(problems, counts, plan, em, on, is_single=True)


def _strangers(
    problem: Problem,
    truth: Int[np.ndarray, " n"],
    place: Int[np.ndarray, " n"],
    K: int,
    rng: np.random.Generator,
) -> list[Int[np.ndarray, " r"]]:
    """Labelings from elsewhere: the truth and its corruptions, trees, thresholds, chance."""
    n = len(problem.X)
    base = np.zeros(n, dtype=np.int64)
    base[place] = np.maximum(truth, 0)
    own = np.unique(base, return_inverse=True)[1]
    flipped = np.where(rng.random(n) < rng.uniform(0.02, 0.6), rng.integers(0, K + 1, n), own)
    joined = own.copy()
    if K > 1:
        joined[joined == rng.integers(K)] = rng.integers(K)
    column = problem.X[:, rng.integers(problem.X.shape[1])]
    cut = np.digitize(column, np.quantile(column, np.sort(rng.random(rng.integers(1, 4)))))
    halved = own + (own == rng.integers(K)) * (column > np.median(column)) * K
    chance = rng.integers(0, rng.integers(2, 8), n)
    found = [own, flipped, joined, halved, cut, chance]
    chosen = [found[i] for i in rng.choice(len(found), 2, replace=False)]
    rows = problem.X if n <= 600 else None
    if rows is not None:
        for method in [_TREES[i] for i in rng.choice(len(_TREES), 2, replace=False)]:
            asked = int(np.clip(K + rng.integers(-1, 3), 1, n))
            chosen.append(cut_tree(linkage(rows, method), n_clusters=[asked])[:, 0])
    return [np.unique(row, return_inverse=True)[1] for row in chosen]


def _hits(
    truth: Int[np.ndarray, " n"], labels: Int[np.ndarray, " n"], sampled: Int[np.ndarray, " s"]
) -> Int[np.ndarray, " s"]:
    """Which sampled rows are right under the best one-to-one matching of clusters and classes."""
    counts = truth >= 0
    table = np.zeros((int(labels.max()) + 1, int(truth.max()) + 1))
    np.add.at(table, (labels[counts], truth[counts]), 1)
    rows, columns = linear_sum_assignment(-table)
    of = np.full(len(table), -1)
    of[rows] = columns
    return (of[labels[sampled]] == truth[sampled]).astype(np.int64)


def pool_files(folder: str | Path) -> list[Path]:
    """The shards of a run, in order."""
    return sorted((Path(folder) / "pool").glob("shard-*.safetensors"))


def read_shard(path: Path) -> dict[str, np.ndarray]:
    """Arrays of a shard."""
    return load_file(path)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the shards that are not there yet."""
    parser = argparse.ArgumentParser(description="Make the judge's training data")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tables", type=int, default=8000)
    parser.add_argument("--weights", default="pretrained")
    parser.add_argument("--process", type=int, default=0)
    parser.add_argument("--n-processes", type=int, default=1)
    parser.add_argument("--without", nargs="*", default=[])
    parser.add_argument("--first", type=int, default=0, help="number of the first shard")
    given = parser.parse_args(arguments)
    prior = PRIOR.without(*given.without)
    weights, _ = load_weights(given.weights)
    em = {k.removeprefix("em."): v for k, v in weights.items() if k.startswith("em.")}
    folder = given.folder / "pool"
    folder.mkdir(parents=True, exist_ok=True)
    n_shards = -(-given.tables // (SHARD_STEPS * TABLES_PER_STEP))
    for index in range(given.first + given.process, given.first + n_shards, given.n_processes):
        path = folder / f"shard-{index:05d}.safetensors"
        if path.exists():
            continue
        arrays = make_shard(prior, index, em, backend(None))
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, temporary)
        temporary.replace(path)
        print(path.name, len(arrays["n_labelings"]), flush=True)


if __name__ == "__main__":
    main()
