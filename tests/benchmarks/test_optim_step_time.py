"""What a step costs: memory is counted exactly, ratios by rounds, and verdicts follow both."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from statformer.benchmarks import optim_step_time
from statformer.benchmarks.optim_methods import OURS
from statformer.benchmarks.optim_step_time import (
    FOREACH,
    FUSED,
    MAXIMUM,
    PRODIGY,
    SLICED,
    STRIDE,
    compare,
    contestants,
    median_interval,
    parameters,
    ratios,
    state_bytes,
    take_turn,
)
from statformer.benchmarks.optim_targets import targets
from statformer.benchmarks.verdicts import INVALID, MISSING, REACHED, SHORT

N = 11_000
BUFFERS = {
    FOREACH: 2.0,
    FUSED: 2.0,
    OURS: 3.0,
    "AdamPP, foreach": 3.0,
    "AdamPP, sum": 3.0,
    MAXIMUM: 4.0,
    STRIDE: 2.0 + 1 / 11,
    "AdaGradPP": 2.0,
    PRODIGY: 4.0,
    SLICED: 2.0 + 2 / 11,
    "D-Adaptation": 3.0,
    "Schedule-Free AdamW": 2.0,
    "DoG": 1.0,
}


@pytest.mark.parametrize("name", contestants())
def test_buffers_are_counted(name: str) -> None:
    """Buffers as the rivals' papers and sources have them, but for a few counters."""
    params = parameters(N, 2)
    turn = take_turn(contestants()[name], params)
    assert turn.state_bytes / (4 * N) == pytest.approx(BUFFERS[name], abs=0.002)
    assert turn.seconds > 0


def test_shared_storage_counts_once_and_parameters_do_not() -> None:
    params = parameters(10, 1)
    optimizer = torch.optim.SGD(params, lr=0.1)
    assert state_bytes(optimizer) == 0
    buffer = torch.zeros(100)
    optimizer.state[params[0]] = {"a": buffer, "b": [buffer[:10]], "c": params[0].detach()}
    assert state_bytes(optimizer) == 400


def test_parameters_are_split_evenly_and_have_gradients() -> None:
    params = parameters(1003, 10)
    assert [p.numel() for p in params] == [101] * 3 + [100] * 7
    assert all(p.grad is not None and p.grad.std() > 0.5 for p in params)


def test_a_turn_leaves_the_size_of_gradients_as_it_was() -> None:
    params = parameters(100, 2)
    before = [p.grad.abs() for p in params if p.grad is not None]
    take_turn(contestants()[FOREACH], params)
    for p, size in zip(params, before, strict=True):
        assert p.grad is not None
        torch.testing.assert_close(p.grad.abs(), size)


def test_the_interval_of_a_median() -> None:
    found = median_interval(np.array([9.0, 1, 2, 3, 4, 5, 6, 7, 8]))
    assert (found["value"], found["low"], found["high"], found["n"]) == (5, 2, 8, 9)
    found = median_interval(np.array([3.0, 1, 2, 5, 4]))
    assert (found["low"], found["high"]) == (1, 5)
    rng = np.random.default_rng(0)
    draws = rng.normal(size=(4000, 9))
    holds = [m["low"] <= 0 <= m["high"] for m in map(median_interval, draws)]
    assert 0.95 < np.mean(holds) < 0.97  # 96.1 % by the binomial


def test_ratios_are_taken_within_a_round() -> None:
    np.testing.assert_allclose(ratios([2.0, 30.0], [1.0, 10.0]), [2.0, 3.0])


def test_a_comparison_of_small_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    some = {name: contestants()[name] for name in (FOREACH, PRODIGY, OURS)}
    monkeypatch.setattr(optim_step_time, "contestants", lambda *_: some)
    seen: list[tuple[int, int]] = []
    cell = compare(1000, 3, 2, "cpu", lambda i, total: seen.append((i, total)))
    assert seen == [(1, 2), (2, 2)]
    assert cell["ratio"][FOREACH][FOREACH]["value"] == 1.0
    assert set(cell["seconds"]) == set(cell["memory"]) == set(some)
    product = cell["ratio"][PRODIGY][FOREACH]["value"] * cell["ratio"][FOREACH][PRODIGY]["value"]
    assert 0.2 < product < 5.0
    assert cell["rounds"] == 2


def timed(over_adamw: float, over_prodigy: float, is_valid: bool = True) -> dict[str, Any]:
    def around(value: float) -> dict[str, Any]:
        return {"value": value, "low": value, "high": value, "n": 9}

    return {
        "part": "a",
        "parameters": 10**6,
        "tensors": 100,
        "ratio": {FOREACH: {OURS: around(over_adamw)}, PRODIGY: {OURS: around(over_prodigy)}},
        "memory": {name: {"buffers": found} for name, found in BUFFERS.items()},
        "is_valid": is_valid,
    }


def headlines(cells: dict[str, Any]) -> list[str]:
    return [target.status for target in targets(cells, "a") if target.is_headline]


def test_verdicts_of_times_and_buffers() -> None:
    good = timed(1.2, 0.4)
    assert headlines({"a: x": good}) == [REACHED] * 5
    assert headlines({"a: x": good, "a: y": timed(1.3, 0.4)}) == [SHORT] + [REACHED] * 4
    assert headlines({"a: x": good, "a: y": timed(1.2, 0.6)})[1] == SHORT
    assert headlines({"a: x": timed(1.2, 0.4, is_valid=False)})[:2] == [INVALID] * 2
    assert headlines({}) == [MISSING] * 5
    heavy = timed(1.2, 0.4)
    heavy["memory"][STRIDE] = {"buffers": 3.0}
    assert headlines({"a: x": heavy})[-1] == SHORT


def test_peak_memory_is_what_a_step_needs() -> None:
    class Wasteful(torch.optim.SGD):
        def step(self, closure: Any = None) -> None:
            torch.ones(25_000_000)  # 100 MB

    optimizer = Wasteful(parameters(10, 1), lr=0.1)
    found = optim_step_time.peak_bytes(optimizer, torch.device("cpu"))
    assert found is None or math.isclose(found, 1e8, rel_tol=0.2)
