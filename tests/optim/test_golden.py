"""Twins and fast forms against the tables of reference values."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from optim.forms import FAST, TWIN, eta_of
from optim.golden_paths import CONSTANT_GRADIENT, QUADRATIC, quadratic_gradient

FORMS = {
    "twin": (TWIN, {}),
    "default": (FAST, {}),
    "one by one": (FAST, {"foreach": False}),
    "foreach": (FAST, {"foreach": True}),
    "capturable": (FAST, {"foreach": True, "capturable": True}),
}
LEVELS = (1e-5, 1e-4, 1e-3, 1e-2)


def etas_under_constant_gradient(make: Any, n_steps: int, **options: Any) -> list[float]:
    x = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    optimizer = make([x], eta0=1e-6, delta=0.0, **options)
    etas = []
    for _ in range(n_steps):
        x.grad = torch.ones_like(x)
        optimizer.step()
        etas.append(eta_of(optimizer))
    return etas


@pytest.mark.parametrize("golden", CONSTANT_GRADIENT, ids=lambda golden: golden.name)
@pytest.mark.parametrize("form", FORMS)
def test_eta_under_a_constant_gradient(form, golden):
    makers, path = FORMS[form]
    etas = etas_under_constant_gradient(
        makers[golden.algorithm], max(10, golden.reached[-1] + 1), **golden.options, **path
    )
    expected = torch.tensor(golden.etas, dtype=torch.float64) * 1e-6
    actual = torch.tensor(etas[: len(golden.etas)], dtype=torch.float64)
    torch.testing.assert_close(actual, expected, rtol=5e-6, atol=0.0)
    reached = tuple(
        next((t for t, eta in enumerate(etas) if eta >= level), None) for level in LEVELS
    )
    assert reached == golden.reached


@pytest.mark.parametrize("golden", QUADRATIC, ids=lambda golden: golden.name)
@pytest.mark.parametrize("form", FORMS)
def test_the_path_on_a_quadratic(form, golden):
    makers, path = FORMS[form]
    x = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    optimizer = makers[golden.algorithm]([x], eta0=1e-6, delta=1e-8, **golden.options, **path)
    xs = {}
    for step in range(1, 2001):
        x.grad = quadratic_gradient(x.detach())
        optimizer.step()
        xs[step] = x.detach().clone()
    for step, end in ((10, golden.x_10), (100, golden.x_100), (2000, (1.0, -2.0))):
        expected = torch.tensor(end, dtype=torch.float64)
        torch.testing.assert_close(xs[step], expected, rtol=5e-9, atol=0.0)
    assert eta_of(optimizer) == pytest.approx(golden.eta_2000, rel=5e-9)


@pytest.mark.parametrize("form", FORMS)
def test_without_correction_eta_explodes_at_the_default_beta2(form):
    """From 1e-6 to 0.7 in 12 steps: why bias correction is on by default."""
    makers, path = FORMS[form]
    make = makers["AdamPP"]
    assert 0.6 < etas_under_constant_gradient(make, 13, bias_correction=False, **path)[11] < 0.8
    assert etas_under_constant_gradient(make, 13, **path)[11] < 5e-5


def test_the_table_tells_the_forms_apart():
    """A wrong beta2, or a correction that is not there, leaves the table."""
    make = TWIN["AdamPP"]
    literal = etas_under_constant_gradient(make, 10, bias_correction=False)
    corrected = etas_under_constant_gradient(make, 10)
    other = etas_under_constant_gradient(make, 10, bias_correction=False, betas=(0.9, 0.998))
    assert abs(corrected[1] / literal[1] - 1.0) > 0.5
    assert abs(other[9] / literal[9] - 1.0) > 0.1
