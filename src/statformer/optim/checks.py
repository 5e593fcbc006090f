"""Arguments of the optimizers: each error names the argument, its value and the remedy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["check_gradient", "check_group", "check_scope"]

SCOPES = ("global", "group")
SECOND_MOMENTS = ("ema", "sum", "ema_max")
SHARED = ("eta0", "scope", "growth_rate", "freeze_after")


def check_group(group: Mapping[str, Any]) -> None:
    """Raise ValueError for the first option of a parameter group that is out of its range."""
    _check(group, "lr", lambda v: 0.0 <= float(v) < math.inf, "a finite number from 0 up")
    _check(group, "delta", lambda v: 0.0 <= v < math.inf, "a finite number from 0 up")
    _check(group, "eta0", lambda v: v is None or 0.0 < v < math.inf, "a positive number, or None")
    _check(group, "weight_decay", lambda v: 0.0 <= v < math.inf, "a finite number from 0 up")
    _check(group, "scope", lambda v: v in SCOPES, f"one of {', '.join(SCOPES)}")
    _check(group, "growth_rate", lambda v: v > 1.0, "a number above 1; inf sets no limit")
    _check(
        group,
        "freeze_after",
        lambda v: v is None or (_is_count(v) and v >= 0),
        "a number of steps from 0 up, or None",
    )
    _check(group, "x0_stride", lambda v: _is_count(v) and v >= 1, "an integer from 1 up")
    if "betas" in group:
        _check(
            group,
            "betas",
            lambda v: len(v) == 2 and all(0.0 <= beta < 1.0 for beta in v),
            "two numbers in [0, 1)",
        )
        _check(group, "beta1_decay", lambda v: 0.0 < v <= 1.0, "a number in (0, 1]")
        _check(
            group,
            "second_moment",
            lambda v: v in SECOND_MOMENTS,
            f"one of {', '.join(SECOND_MOMENTS)}",
        )


def _check(group: Mapping[str, Any], name: str, holds: Any, wanted: str) -> None:
    value = group[name]
    try:
        good = bool(holds(value))
    except (TypeError, ValueError):
        good = False
    if not good:
        raise ValueError(f"{name}={value!r}: pass {wanted}")


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def check_scope(groups: Sequence[Mapping[str, Any]]) -> None:
    """Raise ValueError where the last group contradicts the others about the eta they share."""
    first, last = groups[0], groups[-1]
    for name in SHARED:
        if last[name] != first[name] and "global" in {first["scope"], last["scope"]}:
            raise ValueError(
                f"{name}={last[name]!r} in parameter group {len(groups) - 1}, {first[name]!r} in "
                "group 0: all groups share one eta; pass one value, or scope='group'"
            )


def check_gradient(param: Tensor, grad: Tensor) -> None:
    """Raise RuntimeError for a sparse gradient."""
    if grad.layout is not torch.strided:
        raise RuntimeError(
            f"a parameter of shape {tuple(param.shape)} has a sparse gradient, which has no "
            "distance from its start; use torch.optim.SparseAdam for it, or a dense gradient"
        )
