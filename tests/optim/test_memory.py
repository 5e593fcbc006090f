"""Full-size buffers per parameter, counted: 2 of AdaGrad++, 3 of Adam++, 4 with the maximum."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from optim.forms import FAST, normal
from optim.walk import PATHS

N = 1100
COUNTS = [
    ("AdaGradPP", {}, 2.0),
    ("AdamPP", {}, 3.0),
    ("AdamPP", {"second_moment": "sum"}, 3.0),
    ("AdamPP", {"second_moment": "ema_max"}, 4.0),
    ("AdamPP", {"x0_stride": 11}, 2.0 + 1.0 / 11.0),
    ("AdaGradPP", {"x0_stride": 11}, 1.0 + 1.0 / 11.0),
    ("AdamPP", {"betas": (0.0, 0.999)}, 2.0),
    ("AdamPP", {"betas": (0.0, 0.999), "second_moment": "ema_max"}, 3.0),
]


def bytes_of(tensors: list[Tensor]) -> int:
    """Of the storages behind them, each once: a small view may hold a large one alive."""
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage() for t in tensors}
    return sum(storage.nbytes() for storage in storages.values())


def kept_by(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    states = [v for state in optimizer.state.values() for v in state.values()]
    settings = [v for group in optimizer.param_groups for k, v in group.items() if k != "params"]
    return [v for v in states + settings if isinstance(v, Tensor)]


def buffers(algorithm: str, options: dict, start: Tensor, path: str) -> float:
    """Bytes that the optimizer keeps, in units of the parameter in float32."""
    x = start.clone().requires_grad_()
    optimizer = FAST[algorithm]([x], **options, **PATHS[path])
    for _ in range(3):
        x.grad = torch.ones_like(x)
        optimizer.step()
    kept = kept_by(optimizer)
    scalars = [t for t in kept if t.ndim == 0]
    assert len(scalars) <= 4
    return (bytes_of(kept) - bytes_of(scalars)) / (4 * N)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("algorithm", "options", "expected"), COUNTS)
def test_buffers_of_a_form(algorithm, options, expected, path):
    start = normal((N // 10, 10), 1, torch.float32)
    assert buffers(algorithm, options, start, path) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(("algorithm", "options", "expected"), COUNTS)
def test_a_tensor_that_starts_at_zero_needs_no_start_point(algorithm, options, expected, path):
    without = expected - 1.0 / options.get("x0_stride", 1)
    assert buffers(algorithm, options, torch.zeros(N), path) == pytest.approx(without, abs=1e-9)


@pytest.mark.parametrize("path", PATHS)
def test_half_precision_keeps_the_same_float32_buffers(path):
    start = normal((N,), 1, torch.bfloat16)
    assert buffers("AdamPP", {}, start, path) == pytest.approx(3.0, abs=1e-9)
