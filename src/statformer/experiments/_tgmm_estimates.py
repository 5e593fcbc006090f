"""TGMM and its rivals on instances of TGMM's prior: parameters, errors, accuracy, likelihood.

What the experiments about arXiv 2505.11918 share. The faults of the stored code are avoided: the
log-likelihood is a log-sum-exp over components, summed over points; all parameters are permuted by
one matching; test instances have no padding; and the network does not see the order of the points.

The networks are kept in `training/tgmm/dD` (4,000 steps of the recipe `tgmm`, one seed), smaller
and trained for less than the authors'.

Axes: b instances, n points, d features, c components.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import safetensors.torch
import torch
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from scipy.special import logsumexp

from statformer.batch import Centres, Tables
from statformer.benchmarks.network import fit
from statformer.constructions.mixture_transformer import em_transformer
from statformer.experiments.base import Cell, Row
from statformer.nn.seeding import kmeans_plus_plus, n_trials
from statformer.nn.tgmm import TGMM
from statformer.pretraining.loop import pretrain
from statformer.pretraining.recipes.tgmm import TGMMRecipe
from statformer.reference.em import squared_distances
from statformer.reference.method_of_moments import method_of_moments
from statformer.tasks.gaussian_mixture import TGMMPrior
from statformer.tasks.stream import TaskStream

NOT_THE_AUTHORS = (
    "4 layers of width 64, 4,000 steps of 64 instances (theirs: 12, 128, 10,001 to 100,001 of 64 "
    "per K), N up to 64, one training seed; the values behind their figures were not found"
)
N_TRAINED, MAX_COMPONENTS = 64, 4
KEPT = Path(__file__).resolve().parents[3] / "training" / "tgmm"
STRONG_EM = "EM, 10 k-means++ starts"
METHODS = ("TGMM", "EM", STRONG_EM, "spectral", "ours", "nothing")
_EM_STEPS, _N_STARTS = 100, 10


class _Unwatched(TGMMRecipe):
    """The recipe without its evaluation: the experiments measure for themselves."""

    def evaluate(self, module: torch.nn.Module) -> dict[str, float]:
        return {}


class Instances(NamedTuple):
    """Points, the component of each, and the true mixture (unit covariance)."""

    X: Float[np.ndarray, "b n d"]
    y: Int[np.ndarray, "b n"]
    weights: Float[np.ndarray, "b c"]
    means: Float[np.ndarray, "b c d"]


class Estimates(NamedTuple):
    """An estimated mixture per instance."""

    weights: Float[np.ndarray, "b c"]
    means: Float[np.ndarray, "b c d"]


def draw(
    b: int, n: int, d: int, K: int, rng: np.random.Generator, spread: float = 0.0
) -> Instances:
    """b instances of exactly n points; the means are moved by N(0, spread^2) after the draw.

    The prior keeps n / 2 to n points of an instance, so 2 n are drawn and the first n taken.
    """
    stream = TaskStream(int(rng.integers(2**31)), 0, range(b))
    batch = TGMMPrior(2 * n, d, (K, K)).sample(stream)
    X, y = batch.X[:, :n].double().numpy(), batch.y[:, :n].numpy()
    moved = spread * rng.normal(size=(b, K, d))
    at = np.take_along_axis(moved, y[:, :, None], axis=1)
    means = batch.latent["means"].double().numpy() + moved
    return Instances(X + at, y, batch.latent["weights"].double().numpy(), means)


def network_of(cell: Cell, rng: np.random.Generator) -> TGMM:
    """The kept network of the cell's d, or one trained now where the cell's n_steps is not 0."""
    if not cell["n_steps"]:
        return kept_network(cell["d"])
    with tempfile.TemporaryDirectory() as folder:
        found = pretrain(
            _Unwatched(n_features=cell["d"]),
            out_dir=folder,
            n_steps=cell["n_steps"],
            seed=int(rng.integers(2**31)),
            checkpoint_every_s=1e9,
        )
    return cast(TGMM, found.module.eval().requires_grad_(False))


@lru_cache(maxsize=4)
def kept_network(d: int) -> TGMM:
    """The trained network of d columns. Raises FileNotFoundError where the run is not there."""
    path = KEPT / f"d{d}" / "final.safetensors"
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing; make it by `statformer pretrain tgmm --steps 4000 "
            f"--out training/tgmm/d{d} --option n_features={d}`"
        )
    module = TGMMRecipe(n_features=d).build(0)
    module.load_state_dict(safetensors.torch.load(path.read_bytes()))
    return module.eval().requires_grad_(False)


@torch.no_grad()
def by_network(module: TGMM, found: Instances) -> Estimates:
    """What the network reads off; its answer does not depend on the order of the points."""
    K = found.weights.shape[1]
    X = torch.from_numpy(found.X).float()
    estimate = module(X, torch.full((len(X),), K))
    weights, means = estimate.weights[:, :K], estimate.means[:, :K]
    return Estimates(weights.double().numpy(), means.double().numpy())


def by_rivals(found: Instances, rng: np.random.Generator) -> Mapping[str, Estimates]:
    """EM as the authors start it and with a better start, moments (K <= d), and our network."""
    b, _, d = found.X.shape
    K = found.weights.shape[1]
    estimates = {
        "EM": by_em(found.X, rng.normal(size=(b, 1, K, d))),
        STRONG_EM: by_em(found.X, seeds(found.X, K, rng)),
        "ours": by_ours(found.X, K, int(rng.integers(2**31))),
    }
    if d >= K:
        pairs = [method_of_moments(X, K, rng) for X in found.X]
        estimates["spectral"] = Estimates(
            np.stack([pair[0] for pair in pairs]), np.stack([pair[1] for pair in pairs])
        )
    return estimates


def seeds(
    X: Float[np.ndarray, "b n d"], K: int, rng: np.random.Generator
) -> Float[np.ndarray, "b s c d"]:
    """Ten draws of greedy k-means++ per instance."""
    b, n, d = X.shape
    tables = Tables(X, np.ones((b, n)))
    draws = rng.random((b * _N_STARTS, K, n_trials(K)))
    means = kmeans_plus_plus(tables, np.full(b * _N_STARTS, K), draws)
    starts: Float[np.ndarray, "b s c d"] = means.reshape(b, _N_STARTS, K, d)
    return starts


def by_em(X: Float[np.ndarray, "b n d"], starts: Float[np.ndarray, "b s c d"]) -> Estimates:
    """100 steps of EM with unit covariance from each start; the likeliest end is kept.

    It runs as the constructed Transformer, which is EM to rounding (`em_constructed`).
    """
    b, s, c, d = starts.shape
    every = torch.from_numpy(np.repeat(X, s, axis=0))
    tables = Tables(every, torch.ones(b * s, X.shape[1]).double())
    begin = Centres(
        torch.full((b * s, c), 1.0 / c).double(),
        torch.from_numpy(starts.reshape(b * s, c, d)),
        torch.eye(d).double().expand(b * s, c, d, d),
        torch.ones(b * s, c, dtype=torch.bool),
    )
    with torch.no_grad():
        end = em_transformer(d, c, 1.0, _EM_STEPS)(tables, begin).centres[-1]
    weights = end.weights.numpy().reshape(b, s, c)
    means = end.means.numpy().reshape(b, s, c, d)
    scores = np.array(
        [[log_likelihood(X[i], weights[i, j], means[i, j]) for j in range(s)] for i in range(b)]
    )
    best = (np.arange(b), scores.argmax(axis=1))
    return Estimates(weights[best], means[best])


def by_ours(X: Float[np.ndarray, "b n d"], K: int, seed: int) -> Estimates:
    """`AttentionMixture` as it ships, with K given; it does not know that covariances are I.

    A component that it left empty, or a table it failed on, has the table's mean and weight 0.
    """
    weights = np.zeros((len(X), K))
    means = np.repeat(X.mean(axis=1)[:, None], K, axis=1)
    for i, model in enumerate(fit(list(X), K, "pretrained", seed, effort="fast")):
        if model is None:
            weights[i] = 1.0 / K
            continue
        c = len(model.weights_)
        weights[i, :c], means[i, :c] = model.weights_, model.means_
    return Estimates(weights, means)


def by_nothing(found: Instances) -> Estimates:
    """Every mean at the mean of the points, equal weights: what no method may exceed."""
    b, K = found.weights.shape
    means = np.repeat(found.X.mean(axis=1)[:, None], K, axis=1)
    return Estimates(np.full((b, K), 1.0 / K), means)


def rows_of(
    cell: Cell, rng: np.random.Generator, *, deaf: bool = False, oracle: bool = False
) -> list[Row]:
    """A row per method on fresh instances.

    With `deaf` TGMM reads the instance before each; with `oracle` it answers with the truth.
    """
    network = network_of(cell, rng)
    found = draw(cell["n_instances"], N_TRAINED, cell["d"], cell["K"], rng)
    read = found._replace(X=np.roll(found.X, 1, axis=0)) if deaf else found
    mine = Estimates(found.weights, found.means) if oracle else by_network(network, read)
    estimates = {"TGMM": mine, "nothing": by_nothing(found)}
    estimates |= by_rivals(found, rng)
    return [{"method": name, **scores(found, one)} for name, one in estimates.items()]


def scores(found: Instances, estimate: Estimates) -> Mapping[str, float]:
    """Means over the instances of "l2", "accuracy" and "log-likelihood" (nats); "median l2".

    l2 = (1 / K) sum_k [|mu_hat_s(k) - mu_k|^2 / d + (pi_hat_s(k) - pi_k)^2], s the best matching of
    the means; the accuracy is that of arg max_k pi_hat_k N(x; mu_hat_k, I) after it.
    """
    l2, accuracy, likelihood = [], [], []
    for X, y, pi, mu, pi_hat, mu_hat in zip(*found, *estimate, strict=True):
        _, s = linear_sum_assignment(squared_distances(mu, mu_hat))
        pi_s, mu_s = pi_hat[s], mu_hat[s]
        l2.append(np.mean(((mu_s - mu) ** 2).mean(axis=1) + (pi_s - pi) ** 2))
        labels = _log_joint(X, pi_s, mu_s).argmax(axis=1)
        accuracy.append(np.mean(labels == y))
        likelihood.append(log_likelihood(X, pi_s, mu_s))
    means = (float(np.mean(values)) for values in (l2, accuracy, likelihood))
    named = dict(zip(("l2", "accuracy", "log-likelihood"), means, strict=True))
    return {**named, "median l2": float(np.median(l2))}


def log_likelihood(
    X: Float[np.ndarray, "n d"], weights: Float[np.ndarray, " c"], means: Float[np.ndarray, "c d"]
) -> float:
    """sum_i log sum_k pi_k N(x_i; mu_k, I)."""
    return float(logsumexp(_log_joint(X, weights, means), axis=1).sum())


def _log_joint(
    X: Float[np.ndarray, "n d"], weights: Float[np.ndarray, " c"], means: Float[np.ndarray, "c d"]
) -> Float[np.ndarray, "n c"]:
    d = X.shape[1]
    log_pi = np.log(np.maximum(weights, 1e-300))
    joint: Float[np.ndarray, "n c"] = (
        log_pi - 0.5 * squared_distances(X, means) - 0.5 * d * np.log(2.0 * np.pi)
    )
    return joint
