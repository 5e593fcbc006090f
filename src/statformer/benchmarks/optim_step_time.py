"""(a) What a step costs: seconds beside AdamW's in the same round, and memory of the state.

In a round every method takes its turn, in an order that is drawn anew, on the same parameters and
gradients; ratios are taken within a round. Signs of the gradients alternate, so nothing grows.
Axes: r rounds.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy.stats import binom
from torch import Tensor, nn

from statformer.benchmarks.optim_methods import OURS, SCHEDULE_FREE, methods, ours, prodigy
from statformer.benchmarks.optim_run import Make, torch_threads
from statformer.benchmarks.optim_settings import Bench
from statformer.benchmarks.settings import Progress
from statformer.optim import AdaGradPP
from statformer.runs.memory import peak_above
from statformer.runs.timing import MOST_OTHER_LOAD, LoadWatch

FOREACH, FUSED = "AdamW, foreach", "AdamW, fused"
MAXIMUM, STRIDE = "AdamPP, ema_max", "AdamPP, x0_stride=11"
PRODIGY, SLICED = "Prodigy", "Prodigy, slice_p=11"
BASES = (FOREACH, PRODIGY)
N_WARM = 2
MOST_STEPS, LEAST_STEPS, LEAST_SECONDS = 20, 2, 0.05  # of a turn
LARGE = 10**7  # parameters from which turns are rarer, and peak memory is read
LARGE_ROUNDS = 5


def contestants(is_cuda: bool = False) -> dict[str, Make]:
    """Optimizers by name, each at its defaults but for what the name says."""
    rivals = methods()
    found: dict[str, Make] = {
        FOREACH: lambda params: torch.optim.AdamW(params, foreach=True),
        FUSED: lambda params: torch.optim.AdamW(params, fused=True),
        OURS: ours(),
        "AdamPP, foreach": ours(foreach=True),
        MAXIMUM: ours(second_moment="ema_max"),
        "AdamPP, sum": ours(second_moment="sum"),
        STRIDE: ours(x0_stride=11),
        "AdaGradPP": AdaGradPP,
    }
    if is_cuda:
        found["AdamPP, capturable"] = ours(capturable=True)
    others = ("D-Adaptation", SCHEDULE_FREE, "DoG")
    found |= {PRODIGY: rivals[PRODIGY].make, SLICED: prodigy(slice_p=11)}
    return found | {name: rivals[name].make for name in others}


def run(bench: Bench) -> None:
    """Time what the record does not hold yet; nothing else should be running."""
    for key, measure in _cells(bench):
        if key not in bench.record:
            bench.record.put(key, {"part": "a", **measure()})


def _cells(bench: Bench) -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
    sizes = bench.sizes
    for n in sizes.parameters:
        for n_tensors in sizes.tensors:
            for threads in sorted({1, os.cpu_count() or 1}):
                name = cell_name(n, n_tensors, threads)

                yield f"a: {name}", partial(_measure, bench, name, n, n_tensors, threads)


def _measure(bench: Bench, name: str, n: int, n_tensors: int, threads: int) -> dict[str, Any]:
    rounds = bench.sizes.rounds

    def done(i: int, total: int) -> None:
        bench.callback(Progress("a", name, i, total))

    with torch_threads(threads):
        found = compare(n, n_tensors, _rounds(n, rounds), "cpu", done)
    return {"threads": threads, **found}


def cell_name(n: int, n_tensors: int, threads: int) -> str:
    """'100000 parameters in 100 tensors, 1 thread'."""
    some = "1 thread" if threads == 1 else f"{threads} threads"
    return f"{n} parameters in {n_tensors} tensor{'s' if n_tensors > 1 else ''}, {some}"


def _rounds(n: int, rounds: int) -> int:
    return min(rounds, LARGE_ROUNDS) if n >= LARGE else rounds


def compare(
    n: int,
    n_tensors: int,
    rounds: int,
    device: str,
    callback: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Seconds of a step, ratios to the bases with intervals, and bytes of state, by method."""
    makes = contestants(device != "cpu")
    params = parameters(n, n_tensors, device)
    seconds: dict[str, list[float]] = {name: [] for name in makes}
    memory: dict[str, Any] = {}
    rng = np.random.default_rng(0)
    watch = LoadWatch()
    for i in range(rounds):
        for name in rng.permutation(list(makes)).tolist():
            turn = take_turn(makes[name], params, with_peak=i == 0 and n >= LARGE)
            seconds[name].append(turn.seconds)
            if i == 0:
                memory[name] = {
                    "buffers": round(turn.state_bytes / (4 * n), 4),
                    "peak of a step": None if turn.peak is None else round(turn.peak / (4 * n), 3),
                }
        if callback is not None:
            callback(i + 1, rounds)
    load = watch.read()
    return {
        "parameters": n,
        "tensors": n_tensors,
        "device": device,
        "rounds": rounds,
        "seconds": {name: float(f"{median(s):.4g}") for name, s in seconds.items()},
        "ratio": {
            base: {name: median_interval(ratios(s, seconds[base])) for name, s in seconds.items()}
            for base in BASES
        },
        "memory": memory,
        "other_load": round(load, 3),
        "is_valid": load <= MOST_OTHER_LOAD,
    }


def parameters(n: int, n_tensors: int, device: str = "cpu") -> list[nn.Parameter]:
    """n numbers in tensors of (nearly) equal size, with gradients; all standard normal."""
    rng = torch.Generator(device).manual_seed(0)
    sizes = [n // n_tensors + (i < n % n_tensors) for i in range(n_tensors)]
    made = []
    for size in sizes:
        parameter = nn.Parameter(torch.randn(size, generator=rng, device=device))
        parameter.grad = torch.randn(size, generator=rng, device=device)
        made.append(parameter)
    return made


@dataclass(frozen=True)
class Turn:
    """Median seconds of a step, bytes that stay between steps, and bytes a step needs above."""

    seconds: float
    state_bytes: int
    peak: int | None


def take_turn(make: Make, params: list[nn.Parameter], with_peak: bool = False) -> Turn:
    """Build the optimizer, step twice to warm up, time some steps; its state goes with it."""
    optimizer = make(params)
    for _ in range(N_WARM):
        optimizer.step()
    gradients = [p.grad for p in params if p.grad is not None]
    times: list[float] = []
    while len(times) < LEAST_STEPS or (sum(times) < LEAST_SECONDS and len(times) < MOST_STEPS):
        torch._foreach_neg_(gradients)
        _wait(params[0].device)
        begin = time.perf_counter()
        optimizer.step()
        _wait(params[0].device)
        times.append(time.perf_counter() - begin)
    peak = peak_bytes(optimizer, params[0].device) if with_peak else None
    return Turn(median(times), state_bytes(optimizer), peak)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def state_bytes(optimizer: torch.optim.Optimizer) -> int:
    """Bytes of all tensors that the optimizer keeps beside parameters and gradients.

    Looks into the state and into the groups (DoG keeps its starting point there).
    """
    own = {p.untyped_storage().data_ptr() for g in optimizer.param_groups for p in g["params"]}
    kept = {
        tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes()
        for tensor in _tensors([optimizer.state, optimizer.param_groups])
    }
    return sum(size for where, size in kept.items() if where not in own)


def _tensors(value: Any) -> Iterable[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _tensors(part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _tensors(part)


def peak_bytes(optimizer: torch.optim.Optimizer, device: torch.device) -> int | None:
    """Memory that a step needs above what is there before it; None where nobody tells."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        optimizer.step()
        return int(torch.cuda.max_memory_allocated(device)) - int(before)
    return peak_above(optimizer.step)


def ratios(seconds: list[float], base: list[float]) -> Float[np.ndarray, " r"]:
    """Round by round."""
    return np.array(seconds) / np.array(base)


def median_interval(values: Float[np.ndarray, " r"]) -> dict[str, Any]:
    """Median and the narrowest pair of order statistics that holds it with 95 % (or the ends).

    The k-th least and the k-th largest of r hold the median with probability
    1 - 2 P(Binomial(r, 1/2) < k), whatever the distribution; 5 rounds give 93.75 %.
    """
    ordered, n = np.sort(values), len(values)
    k = max(1, math.floor(binom.ppf(0.025, n, 0.5)))
    low, high = ordered[k - 1], ordered[n - k]
    found = {"value": float(np.median(values)), "low": float(low), "high": float(high)}
    return {name: float(f"{number:.4g}") for name, number in found.items()} | {"n": n}
