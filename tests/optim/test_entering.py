"""Who takes part: missing gradients, parameters and groups that come later, frozen ones."""

from __future__ import annotations

import math

import pytest
import torch

from optim.forms import CASES, FAST, eta_of, normal
from optim.walk import Walk, gradient_of

CASE = pytest.mark.parametrize("case", ["AdaGrad++", "ema", "sum", "ema_max literal"])
SCOPE = pytest.mark.parametrize("scope", ["global", "group"])
FOREACH = pytest.mark.parametrize("foreach", [None, False, True])


def two_groups(**options):
    return [[normal((3, 4), 1), normal((), 2)], [normal((5,), 3), torch.zeros(2).double()]]


def walk(case, gradient=gradient_of, **options) -> Walk:
    algorithm, own = CASES[case]
    return Walk(algorithm, {"eta0": 0.05, **own, **options}, two_groups(), gradient=gradient)


@CASE
@SCOPE
def test_gradients_that_are_missing_now_and_then(case, scope):
    def gradient(x, index, step):
        return None if (step + index) % 3 == 0 or step in (0, 17) else gradient_of(x, index, step)

    both = walk(case, gradient, scope=scope, weight_decay=0.1)
    both.step(40)
    both.compare_state()
    assert {state.t for state in both.twin.state.values()} == {25, 26}


@CASE
@SCOPE
def test_a_parameter_that_comes_later_starts_where_it_is_then(case, scope):
    def gradient(x, index, step):
        return None if index == 2 and step < 9 else gradient_of(x, index, step)

    both = walk(case, gradient, scope=scope)
    both.step(5)
    with torch.no_grad():
        for _, groups in both.forms.values():
            groups[1][0].add_(1e4)  # loaded from elsewhere, before it takes part
    both.step(25)
    both.compare_state()
    assert max(group["eta"] for group in both.twin.param_groups) < 1e3


@CASE
@SCOPE
def test_a_group_that_is_added_later(case, scope):
    both = walk(case, scope=scope, growth_rate=1.5, freeze_after=14)
    both.step(8)
    both.add_group([normal((2, 3), 8), torch.zeros(4).double()], lr=0.2)
    both.step(8)
    both.add_group([normal((), 9)], weight_decay=0.1)
    both.step(20)
    both.compare_state()


@CASE
@SCOPE
def test_a_parameter_frozen_and_let_go_again(case, scope):
    both = walk(case, scope=scope)
    both.require_grad(0, 0, False)
    both.step(6)
    both.require_grad(0, 0, True)
    both.step(6)
    before = both.forms["foreach"][1][0][0].detach().clone()
    both.require_grad(0, 0, False)
    both.step(6)
    assert torch.equal(both.forms["foreach"][1][0][0], before)
    both.require_grad(0, 0, True)
    both.step(12)
    both.compare_state()


@FOREACH
def test_a_frozen_parameter_keeps_its_distance_in_the_scope(foreach):
    """What has moved stays moved: eta of the others still feels it."""
    a, b = (torch.zeros(2, dtype=torch.float64, requires_grad=True) for _ in range(2))
    optimizer = FAST["AdamPP"]([a, b], eta0=1e-3, foreach=foreach)
    a.grad, b.grad = torch.ones_like(a), torch.ones_like(b)
    optimizer.step()
    with torch.no_grad():
        a.fill_(7.0)
    a.grad = None
    optimizer.step()
    expected = math.sqrt((2 * 7.0**2 + 2 * 1e-3**2) / 4)
    assert eta_of(optimizer) == pytest.approx(expected, rel=1e-9)


@FOREACH
def test_nothing_happens_without_any_gradient(foreach):
    x = normal((3,), 1).requires_grad_()
    before = x.detach().clone()
    optimizer = FAST["AdamPP"]([x], foreach=foreach)
    for _ in range(3):
        optimizer.step()
    assert torch.equal(x, before)
    assert eta_of(optimizer) == 0.0
    assert not optimizer.state[x]
    x.grad = torch.ones_like(x)
    optimizer.step()
    assert eta_of(optimizer) > 0.0


@FOREACH
def test_only_empty_tensors(foreach):
    x = torch.zeros(0, 3, requires_grad=True)
    optimizer = FAST["AdamPP"]([x], foreach=foreach)
    for _ in range(3):
        x.grad = torch.ones_like(x)
        optimizer.step()
    assert eta_of(optimizer) == 0.0
    y = normal((2,), 1).float().requires_grad_()
    optimizer.add_param_group({"params": [y]})
    for _ in range(3):
        y.grad = torch.ones_like(y)
        optimizer.step()
    assert eta_of(optimizer) > 0.0
    assert torch.isfinite(y).all()


def test_nonfinite_gradients_do_not_pass_unseen():
    """An infinite gradient that nobody skipped shows in the parameter, as with torch's Adam."""
    x = normal((3,), 1).requires_grad_()
    optimizer = FAST["AdamPP"]([x], eta0=1e-3)
    x.grad = torch.tensor([1.0, math.inf, 1.0], dtype=torch.float64)
    optimizer.step()
    assert x.isnan().tolist() == [False, True, False]
