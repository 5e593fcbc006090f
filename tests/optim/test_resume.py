"""Saved and restored: the path goes on to the same bits, whatever the parameters' precision."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from optim.forms import CASES, FAST, normal

PRECISIONS = [torch.bfloat16, torch.float16, torch.float32, torch.float64, torch.complex64]
CASE = pytest.mark.parametrize("case", ["AdaGrad++", "ema", "sum", "ema_max"])
DTYPE = pytest.mark.parametrize("dtype", PRECISIONS, ids=str)


def parameters(dtype: torch.dtype) -> list[Tensor]:
    tensors = [normal((4, 5), 1, dtype), normal((), 2, dtype), torch.zeros(3, dtype=dtype)]
    tensors += [normal((6, 2), 3, dtype).t(), normal((0,), 4, dtype)]
    return [tensor.requires_grad_() for tensor in tensors]


def optimizer_for(case: str, params: list[Tensor], **options: Any) -> torch.optim.Optimizer:
    algorithm, own = CASES[case]
    groups = [{"params": params[:2]}, {"params": params[2:], "lr": 0.5}]
    return FAST[algorithm](groups, **{"eta0": 0.05, "scope": "group", **own, **options})


def train(optimizer: torch.optim.Optimizer, params: list[Tensor], first: int, last: int) -> None:
    for step in range(first, last):
        for index, p in enumerate(params):
            drift = normal(p.shape, 50 + index, p.dtype)
            p.grad = drift + normal(p.shape, 1000 + 10 * step + index, p.dtype)
        optimizer.step()


def tensors_of(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """Everything that the optimizer keeps, in order."""
    kept = [g["eta"] for g in optimizer.param_groups]
    for group in optimizer.param_groups:
        for p in group["params"]:
            state = optimizer.state[p]
            kept += [state[name] for name in sorted(state)]
    return kept


def assert_same_bits(first: list[Tensor], second: list[Tensor]) -> None:
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        assert a.dtype == b.dtype
        assert torch.equal(a.detach(), b.detach())


def saved_to_a_file(state: dict[str, Any], path: Any) -> dict[str, Any]:
    torch.save(state, path / "optimizer.pt")
    return torch.load(path / "optimizer.pt", weights_only=True)


@DTYPE
@CASE
@pytest.mark.parametrize("options", [{}, {"x0_stride": 3}, {"foreach": False}], ids=str)
def test_a_run_resumed_from_a_file_ends_in_the_same_bits(case, dtype, options, tmp_path):
    whole, began, after = parameters(dtype), parameters(dtype), parameters(dtype)
    reference = optimizer_for(case, whole, **options)
    train(reference, whole, 0, 20)

    optimizer = optimizer_for(case, began, **options)
    train(optimizer, began, 0, 9)
    state = saved_to_a_file(optimizer.state_dict(), tmp_path)
    with torch.no_grad():
        for p, q in zip(after, began, strict=True):
            p.copy_(q)
    resumed = optimizer_for(case, after, **options)
    resumed.load_state_dict(state)
    assert_same_bits(tensors_of(resumed), tensors_of(optimizer))
    train(resumed, after, 9, 20)
    assert_same_bits(after, whole)
    assert_same_bits(tensors_of(resumed), tensors_of(reference))


@DTYPE
@CASE
def test_what_is_kept_is_not_rounded_to_the_parameters(case, dtype, tmp_path):
    params = parameters(dtype)
    optimizer = optimizer_for(case, params)
    train(optimizer, params, 0, 6)
    other = optimizer_for(case, parameters(dtype))
    other.load_state_dict(saved_to_a_file(optimizer.state_dict(), tmp_path))
    wide = {torch.float64: torch.float64, torch.complex128: torch.float64}
    kept = wide.get(dtype, torch.float32)
    for tensor in tensors_of(other):
        real = torch.view_as_real(tensor) if tensor.is_complex() else tensor
        assert real.dtype == kept or real.ndim == 0  # "step" is float32
    assert all(group["eta"].dtype == kept for group in other.param_groups)
    if dtype == torch.bfloat16:  # the values need the width: rounding would change them
        changed = [t for t in tensors_of(other) if not torch.equal(t, t.bfloat16().float())]
        assert len(changed) >= 5


@CASE
def test_a_copy_goes_on_like_the_original(case):
    params = parameters(torch.bfloat16)
    optimizer = optimizer_for(case, params)
    train(optimizer, params, 0, 5)
    pair = copy.deepcopy((optimizer, params))
    train(optimizer, params, 5, 12)
    train(*pair, 5, 12)
    assert_same_bits(pair[1], params)
    assert_same_bits(tensors_of(pair[0]), tensors_of(optimizer))


@CASE
def test_a_copy_owns_what_it_keeps(case):
    params = parameters(torch.float32)
    optimizer = optimizer_for(case, params)
    train(optimizer, params, 0, 5)
    copied, own = copy.deepcopy((optimizer, params))
    before = [tensor.clone() for tensor in tensors_of(optimizer)]
    train(copied, own, 5, 12)
    assert_same_bits(tensors_of(optimizer), before)


@CASE
def test_a_state_from_before_the_first_step(case, tmp_path):
    """Nothing has entered yet: eta is at its start, and the path is that of a fresh optimizer."""
    fresh, loaded = parameters(torch.float32), parameters(torch.float32)
    reference = optimizer_for(case, fresh, eta0=None)
    state = saved_to_a_file(
        optimizer_for(case, parameters(torch.float32), eta0=None).state_dict(), tmp_path
    )
    optimizer = optimizer_for(case, loaded, eta0=None)
    optimizer.load_state_dict(state)
    train(reference, fresh, 0, 8)
    train(optimizer, loaded, 0, 8)
    assert_same_bits(loaded, fresh)


def test_one_eta_for_all_groups_stays_one_after_loading(tmp_path):
    params = parameters(torch.float32)
    optimizer = optimizer_for("ema", params, scope="global")
    train(optimizer, params, 0, 6)
    restored = optimizer_for("ema", params, scope="global")
    restored.load_state_dict(saved_to_a_file(optimizer.state_dict(), tmp_path))
    train(restored, params, 6, 12)
    etas = [float(group["eta"]) for group in restored.param_groups]
    assert etas[0] == etas[1] > 0.05
    copied, own = copy.deepcopy((restored, params))
    train(copied, own, 12, 15)
    etas = [float(group["eta"]) for group in copied.param_groups]
    assert etas[0] == etas[1]


def test_frozen_steps_are_counted_through_a_restart(tmp_path):
    """freeze_after speaks of the optimizer's steps, also of those before the restart."""
    params = parameters(torch.float64)
    optimizer = optimizer_for("ema", params, freeze_after=10)
    train(optimizer, params, 0, 8)
    restored = optimizer_for("ema", params, freeze_after=10)
    restored.load_state_dict(saved_to_a_file(optimizer.state_dict(), tmp_path))
    train(restored, params, 8, 9)
    train(restored, params, 9, 10)
    at_ten = [float(group["eta"]) for group in restored.param_groups]
    train(restored, params, 10, 15)
    assert [float(group["eta"]) for group in restored.param_groups] == at_ten
