"""(a) Seconds of a training run of the patch network: in inner products, and by plain descent.

Plain descent takes as many steps as ours took and never looks at its loss; it is told three ways:
each run by itself in d features (the loop that a script has), and all runs side by side in span
coordinates (the strongest that there was). Seconds are processor time at one thread, per run.

Axes: b runs (strengths of the signal), n points, d features, m filters.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from statformer.benchmarks.features_settings import Bench
from statformer.benchmarks.features_trained_head import (
    HEADS,
    OVERFITTED,
    SIGMA0,
    Head,
    M,
    snr_grid,
    step_sizes,
    train,
)
from statformer.benchmarks.settings import Progress
from statformer.nn.span import Span
from statformer.nn.vision import TrainedHeadClassifier
from statformer.objectives.logistic import logistic_loss, trained_head_gradient
from statformer.optim.descent import descend
from statformer.optim.patch_descent import PatchProducts
from statformer.runs.intervals import ratio_interval
from statformer.runs.timing import MOST_OTHER_LOAD, LoadWatch
from statformer.tasks.signal_noise import PatchBatch, SignalNoisePrior
from statformer.tasks.stream import TaskStream

OURS = "inner products, float32"
ONE, ONE_64 = "one by one in d features, float32", "one by one in d features, float64"
SIDE = "side by side in span coordinates, float32"
EXACT = "inner products, float64"
RIVALS = (ONE, ONE_64, SIDE)


def run(bench: Bench) -> None:
    """Every head at every sample size."""
    for head in ("large", "small"):
        for n in bench.sizes.points:
            key = f"a: v0 = {HEADS[head].v0:g}, n = {n}"
            if key not in bench.record:
                bench.record.put(key, {"part": "a", **_cell(bench, key, HEADS[head], n)})


def _cell(bench: Bench, key: str, head: Head, n: int) -> dict[str, Any]:
    sizes = bench.sizes
    seconds: dict[str, list[float]] = {}
    gaps: list[float] = []
    watch = LoadWatch()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for i in range(sizes.rounds):
            turn = one_round(head, n, sizes.n_features, sizes.strengths, sizes.plain, seed=i)
            for name, spent in turn.seconds.items():
                seconds.setdefault(name, []).append(spent)
            gaps.append(turn.gap)
            bench.callback(Progress("a", key.partition(": ")[2], i + 1, sizes.rounds))
    finally:
        torch.set_num_threads(threads)
    load = watch.read()
    ours = [torch.tensor(seconds[OURS]).numpy()]
    return {
        "n": n,
        "v0": head.v0,
        "strengths": sizes.strengths,
        "rounds": sizes.rounds,
        "seconds of a run": {name: sum(spent) / len(spent) for name, spent in seconds.items()},
        "speed-up": {
            name: ratio_interval([torch.tensor(seconds[name]).numpy()], ours).as_dict()
            for name in RIVALS
        },
        "largest gap of the loss in float64": max(gaps),
        "other_load": round(load, 3),
        "is_valid": load <= MOST_OTHER_LOAD,
    }


@dataclass(frozen=True)
class Round:
    """Processor seconds per run by method, and how far losses in float64 are apart."""

    seconds: dict[str, float]
    gap: float


def one_round(head: Head, n: int, d: int, n_strengths: int, n_plain: int, seed: int) -> Round:
    """Train on one fresh sample in every way; the rivals of d features at `n_plain` strengths."""
    stream = TaskStream(seed, n, range(1), dtype=torch.float64)
    batch = SignalNoisePrior(n, d, signal_norm=1.0, sigma=1.0).sample(stream)
    W = SIGMA0 * stream.normal(M, d)
    norms = torch.as_tensor(snr_grid(n_strengths, d) * math.sqrt(d))
    products = PatchProducts.of(
        batch.signal[0, 1], batch.noise[0, :, 0], W[0], batch.y[0], batch.clean_y[0]
    )
    ours, seconds = _clocked(lambda: train(products, head, norms, d, until=OVERFITTED))
    found = {OURS: seconds / n_strengths}
    exact, seconds = _clocked(
        lambda: train(products, head, norms, d, until=OVERFITTED, dtype=torch.float64)
    )
    found[EXACT] = seconds / n_strengths
    sizes = step_sizes(head, n, d, norms)
    chosen = torch.linspace(0, n_strengths - 1, n_plain + 2).round().long()[1:-1]
    gap = 0.0
    for name, dtype, steps in (
        (ONE, torch.float32, ours.n_steps),
        (ONE_64, torch.float64, exact.n_steps),
    ):
        spent = 0.0
        for run in chosen.tolist():
            plain = _Plain(head, _patches(batch, norms[run, None]), batch.y, W, dtype)
            loss, seconds = _clocked(partial(plain, sizes[run, None], int(steps[run])))
            spent += seconds
            if dtype == torch.float64:
                gap = max(gap, float((loss[0] - exact.loss[run]).abs()))
        found[name] = spent / len(chosen)
    found[SIDE] = _side_by_side(head, batch, norms, W, sizes, int(ours.n_steps.max()))
    return Round(found, gap)


class _Plain:
    """Descent on the patches themselves; called with step sizes and a number of steps."""

    def __init__(
        self, head: Head, X: Float[Tensor, "b n p d"], y: Tensor, W: Tensor, dtype: torch.dtype
    ) -> None:
        self.X, self.y, self.speed = X.to(dtype), y.expand(len(X), -1).to(dtype), head.speed
        first = W.expand(len(X), -1, -1).to(dtype).clone()
        self.network = TrainedHeadClassifier.from_scale(first, head.v0)

    def __call__(self, sizes: Float[Tensor, " b"], n_steps: int) -> Float[Tensor, " b"]:
        sizes = sizes.to(self.X.dtype)
        descend(
            self.network,
            lambda: trained_head_gradient(self.network, self.X, self.y),
            {"W": sizes, "v": self.speed * sizes},
            n_steps,
        )
        return logistic_loss(self.network(self.X), self.y).detach()


def _patches(batch: PatchBatch, norms: Float[Tensor, " b"]) -> Float[Tensor, "b n 2 d"]:
    """The sample at several strengths of its signal."""
    X = batch.X.repeat(len(norms), 1, 1, 1)
    X[:, :, 0] *= norms[:, None, None]
    return X


def _side_by_side(
    head: Head,
    batch: PatchBatch,
    norms: Float[Tensor, " b"],
    W: Tensor,
    sizes: Float[Tensor, " b"],
    n_steps: int,
) -> float:
    """Seconds per run. A tenth of the steps is taken, as all cost the same."""
    span = Span.of(batch.signal[:, 1:], batch.noise[:, :, 0], W)
    X = span.inside(_patches(batch, norms[:1])).repeat(len(norms), 1, 1, 1)
    X[:, :, 0] *= (norms / norms[0])[:, None, None]
    plain = _Plain(head, X, batch.y, span.inside(W), torch.float32)
    taken = max(2, n_steps // 10)
    _, seconds = _clocked(lambda: plain(sizes, taken))
    return seconds * n_steps / taken / len(norms)


def _clocked(work: Callable[[], Any]) -> tuple[Any, float]:
    """What `work` answers, and its processor seconds."""
    begin = time.process_time()
    answer = work()
    return answer, time.process_time() - begin
