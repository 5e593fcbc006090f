"""Bad arguments are refused in words: which argument, which value, what to pass instead."""

from __future__ import annotations

import inspect
import math

import pytest
import torch

from optim.forms import FAST, normal
from optim.walk import PATHS

BOTH = {
    "lr": [-1.0, math.nan, "fast"],
    "eta0": [0.0, -1e-6, math.nan, math.inf],
    "delta": [-1e-8, math.nan, math.inf],
    "weight_decay": [-0.1, math.nan],
    "scope": ["tensor", None],
    "growth_rate": [0.5, -1.0, math.nan],
    "freeze_after": [-1, 2.5],
    "x0_stride": [0, -1, 1.5],
}
ADAM_ONLY = {
    "betas": [(1.0, 0.9), (0.9, 1.0), (-0.1, 0.9), (0.9,), 0.9],
    "beta1_decay": [0.0, 1.5, -0.1],
    "second_moment": ["max", "amsgrad", None],
}
BAD = [
    *((algorithm, name, v) for algorithm in FAST for name, vs in BOTH.items() for v in vs),
    *(("AdamPP", name, v) for name, vs in ADAM_ONLY.items() for v in vs),
]


def assert_says(message: str, name: str, value: object) -> None:
    assert message.startswith(f"{name}={value!r}"), message
    assert ": pass " in message
    assert len(message.partition(": pass ")[2]) > 5


@pytest.mark.parametrize(("algorithm", "name", "value"), BAD)
def test_a_bad_argument_is_refused(algorithm, name, value):
    with pytest.raises(ValueError, match=name) as refused:
        FAST[algorithm]([torch.zeros(2, requires_grad=True)], **{name: value})
    assert_says(str(refused.value), name, value)


@pytest.mark.parametrize(("algorithm", "name", "value"), BAD)
def test_a_bad_argument_of_a_group_is_refused(algorithm, name, value):
    optimizer = FAST[algorithm]([torch.zeros(2, requires_grad=True)])
    with pytest.raises(ValueError, match=name) as refused:
        optimizer.add_param_group({"params": [torch.zeros(2, requires_grad=True)], name: value})
    assert_says(str(refused.value), name, value)
    assert len(optimizer.param_groups) == 1


def test_two_scopes_in_one_optimizer_are_refused():
    groups = [{"params": [torch.zeros(2, requires_grad=True)]} for _ in range(2)]
    groups[1]["scope"] = "group"
    with pytest.raises(ValueError, match="scope"):
        FAST["AdamPP"](groups)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("algorithm", FAST)
def test_a_sparse_gradient_is_refused(algorithm, path):
    other, x = normal((3,), 1).requires_grad_(), normal((5, 2), 2).requires_grad_()
    optimizer = FAST[algorithm]([other, x], **PATHS[path])
    other.grad = torch.ones_like(other)
    x.grad = torch.ones(5, 2, dtype=torch.float64).to_sparse()
    before = other.detach().clone()
    with pytest.raises(RuntimeError, match=r"\(5, 2\).*torch\.optim\.SparseAdam"):
        optimizer.step()
    assert torch.equal(other, before)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("algorithm", FAST)
def test_a_gradient_that_turns_sparse_is_refused(algorithm, path):
    x = normal((5, 2), 2).requires_grad_()
    optimizer = FAST[algorithm]([x], **PATHS[path])
    x.grad = torch.ones_like(x)
    optimizer.step()
    x.grad = torch.ones(5, 2, dtype=torch.float64).to_sparse()
    with pytest.raises(RuntimeError, match=r"\(5, 2\).*torch\.optim\.SparseAdam"):
        optimizer.step()


@pytest.mark.parametrize("algorithm", FAST)
def test_complex_numbers_are_pairs(algorithm):
    z = normal((3, 2), 1, torch.complex128).requires_grad_()
    pairs = torch.view_as_real(z.detach()).clone().requires_grad_()
    optimizers = [FAST[algorithm]([p], eta0=0.05, weight_decay=0.1) for p in (z, pairs)]
    for step in range(20):
        z.grad = normal((3, 2), 10 + step, torch.complex128)
        pairs.grad = torch.view_as_real(z.grad).clone()
        for optimizer in optimizers:
            optimizer.step()
    torch.testing.assert_close(torch.view_as_real(z.detach()), pairs.detach())
    etas = [optimizer.param_groups[0]["eta"].item() for optimizer in optimizers]
    assert etas[0] == pytest.approx(etas[1], rel=1e-12)
    assert etas[0] > 0.05


COMMON = {
    "lr": 1.0,
    "eta0": None,
    "delta": 1e-8,
    "weight_decay": 0.0,
    "scope": "global",
    "growth_rate": math.inf,
    "freeze_after": None,
    "x0_stride": 1,
    "foreach": None,
    "capturable": False,
    "maximize": False,
}
OF_ADAM = {
    "betas": (0.9, 0.999),
    "beta1_decay": 1.0,
    "second_moment": "ema",
    "bias_correction": True,
}


@pytest.mark.parametrize(
    ("algorithm", "expected"), [("AdaGradPP", COMMON), ("AdamPP", COMMON | OF_ADAM)]
)
def test_the_arguments_and_their_defaults(algorithm, expected):
    found = inspect.signature(FAST[algorithm]).parameters
    assert {k: p.default for k, p in found.items() if k != "params"} == expected
    positional = [k for k, p in found.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
    betas = ["betas"] if algorithm == "AdamPP" else []
    assert positional == ["params", "lr", *betas, "eta0", "delta"]
