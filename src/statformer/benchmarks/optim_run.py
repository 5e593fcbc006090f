"""One training run: a task, an optimizer, a schedule and a seed; losses on the way."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from statformer.benchmarks.optim_tasks import Losses, Task

CONSTANT, COSINE = "constant", "cosine"
SCHEDULES = (CONSTANT, COSINE)
WARM_UP = 0.05  # of all steps, of the cosine schedule

Make = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]


@dataclass(frozen=True)
class Curve:
    """Losses before step `steps[i]`; the last is after training. NaN from a divergence on.

    eta      the step size that AdaGrad++ or Adam++ ended with, None for others
    seconds  of the whole run, evaluations included
    """

    steps: tuple[int, ...]
    losses: tuple[Losses, ...]
    eta: float | None = None
    seconds: float = 0.0

    @property
    def initial(self) -> Losses:
        """Before training."""
        return self.losses[0]

    @property
    def final(self) -> Losses:
        """After training."""
        return self.losses[-1]


def factor(schedule: str, step: int, n_steps: int) -> float:
    """What the rate is multiplied by: 1, or a linear warm-up and half a cosine to 0."""
    if schedule == CONSTANT:
        return 1.0
    n_warm = max(1, round(WARM_UP * n_steps))
    if step < n_warm:
        return (step + 1) / n_warm
    return 0.5 * (1.0 + math.cos(math.pi * (step - n_warm) / (n_steps - n_warm)))


def train(
    task: Task, make: Make, schedule: str, seed: int, n_points: int = 10, averaged: bool = False
) -> Curve:
    """Train and evaluate at the start, at the end and at `n_points` - 1 places between.

    averaged   test losses are those of DoG's polynomial-decay average of the iterates
    A run whose training loss is not finite, or whose weights have grown so large that a matrix
    cannot be factored any more, ends there: what is left of its curve is NaN.
    """
    begin = time.perf_counter()
    module = task.build(seed)
    optimizer = make(module.parameters())
    averager = _averager(module) if averaged else None
    rates = [group["lr"] for group in optimizer.param_groups]
    due = sorted({round(i * task.n_steps / n_points) for i in range(n_points + 1)})
    losses: list[Losses] = []
    batches = task.batches(seed)
    with suppress(torch.linalg.LinAlgError):  # type: ignore[attr-defined]  # torch exports it so
        for step in range(task.n_steps + 1):
            if step in due:
                losses.append(_evaluate(task, module, optimizer, averager, seed))
                if not math.isfinite(losses[-1].train):
                    break
            if step == task.n_steps:
                break
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * factor(schedule, step, task.n_steps)
            optimizer.zero_grad()
            loss = task.loss(module, next(batches))
            if not math.isfinite(loss.item()):
                break
            loss.backward()  # type: ignore[no-untyped-call]
            if task.max_gradient_norm is not None:
                nn.utils.clip_grad_norm_(module.parameters(), task.max_gradient_norm)
            optimizer.step()
            if averager is not None:
                averager.step()
    nothing = Losses(math.nan, math.nan)
    losses += [nothing] * (len(due) - len(losses))
    eta = optimizer.param_groups[0].get("eta")
    found = eta.item() if isinstance(eta, torch.Tensor) else None
    return Curve(tuple(due), tuple(losses), found, time.perf_counter() - begin)


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """torch at this many threads meanwhile."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _averager(module: nn.Module) -> Any:
    from dog import PolynomialDecayAverager

    return PolynomialDecayAverager(module)


def _evaluate(
    task: Task, module: nn.Module, optimizer: torch.optim.Optimizer, averager: Any, seed: int
) -> Losses:
    with _evaluating(optimizer):
        found = task.evaluate(module, seed)
    if averager is None or averager.t == 1:  # no step yet
        return found
    return Losses(found.train, task.evaluate(averager.averaged_model, seed).test)


@contextmanager
def _evaluating(optimizer: Any) -> Iterator[None]:
    """Schedule-Free keeps two points: the one to evaluate is not the one to train."""
    if not hasattr(optimizer, "eval"):
        yield
        return
    optimizer.eval()
    try:
        yield
    finally:
        optimizer.train()
