"""In a training loop: schedules, closures, a gradient scaler, no switch between train and eval."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch.optim import Optimizer, lr_scheduler

from optim.forms import CASES, FAST, eta_of, normal
from optim.walk import PATHS

ALGORITHM = pytest.mark.parametrize("algorithm", FAST)
PATH = pytest.mark.parametrize("path", PATHS)
N_STEPS = 30
SCHEDULES: dict[str, Callable[[Optimizer], lr_scheduler.LRScheduler]] = {
    "warm-up from 0": lambda o: lr_scheduler.LambdaLR(o, lambda step: min(1.0, step / 10)),
    "cosine": lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=N_STEPS),
    "one cycle": lambda o: lr_scheduler.OneCycleLR(
        o, max_lr=1.0, total_steps=N_STEPS + 1, cycle_momentum=False
    ),
    "restarts": lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, T_0=7),
    "steps": lambda o: lr_scheduler.MultiStepLR(o, milestones=[5, 20], gamma=0.1),
    "chained": lambda o: lr_scheduler.SequentialLR(
        o,
        [
            lr_scheduler.LinearLR(o, start_factor=0.01, total_iters=5),
            lr_scheduler.CosineAnnealingLR(o, T_max=25),
        ],
        milestones=[5],
    ),
}


@PATH
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_schedule_multiplies_the_update_only(schedule, path):
    """Step by step, x moves by lr eta g / (delta + s), and eta is the largest distance so far."""
    x = normal((4,), 1).requires_grad_()
    optimizer = FAST["AdamPP"]([x], eta0=0.02, second_moment="sum", **PATHS[path])
    scheduler = SCHEDULES[schedule](optimizer)
    x0, largest, m, product, G = x.detach().clone(), 0.02, 0.0, 1.0, 0.0
    for step in range(N_STEPS):
        before = x.detach().clone()
        x.grad = normal((4,), 100 + step) + 1.0
        largest = max(largest, (before - x0).square().mean().sqrt().item())
        beta1 = optimizer.param_groups[0]["betas"][0]
        m = beta1 * m + (1.0 - beta1) * x.grad
        product *= beta1
        G = G + x.grad**2
        lr = float(optimizer.param_groups[0]["lr"])
        optimizer.step()
        assert eta_of(optimizer) == pytest.approx(largest, rel=1e-9)
        expected = before - lr * largest * (m / (1.0 - product)) / (1e-8 + G.sqrt())
        torch.testing.assert_close(x.detach(), expected, rtol=1e-9, atol=1e-12)
        scheduler.step()


def test_a_schedule_may_cycle_the_momentum():
    x = normal((4,), 1).requires_grad_()
    optimizer = FAST["AdamPP"]([x], eta0=0.02)
    scheduler = lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=N_STEPS + 1)
    seen = set()
    for step in range(N_STEPS):
        x.grad = normal((4,), step)
        optimizer.step()
        scheduler.step()
        seen.add(optimizer.param_groups[0]["betas"])
    assert len(seen) > N_STEPS / 2
    assert torch.isfinite(x).all()


@ALGORITHM
@PATH
def test_a_rate_of_zero_holds_still_and_does_not_touch_eta(algorithm, path):
    x = normal((4,), 1).requires_grad_()
    optimizer = FAST[algorithm]([x], lr=0.0, eta0=0.02, weight_decay=0.1, **PATHS[path])
    before = x.detach().clone()
    for _ in range(5):
        x.grad = torch.ones_like(x)
        optimizer.step()
    assert torch.equal(x, before)
    assert eta_of(optimizer) == pytest.approx(0.02, rel=1e-7)
    optimizer.param_groups[0]["lr"] = 1.0
    optimizer.step()
    assert not torch.equal(x, before)


@ALGORITHM
@PATH
def test_a_rate_in_a_tensor(algorithm, path):
    ends = []
    for lr in (0.5, torch.tensor(0.5)):
        x = normal((4,), 1).requires_grad_()
        optimizer = FAST[algorithm]([x], lr=lr, eta0=0.02, **PATHS[path])
        scheduler = lr_scheduler.ExponentialLR(optimizer, gamma=0.9)
        for step in range(10):
            x.grad = normal((4,), step)
            optimizer.step()
            scheduler.step()
        ends.append(x.detach())
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-6, atol=1e-8)


@ALGORITHM
def test_a_closure_is_called_once_with_gradients_on(algorithm):
    x = normal((4,), 1).requires_grad_()
    optimizer = FAST[algorithm]([x], eta0=1e-3)
    calls = []

    def closure():
        optimizer.zero_grad()
        loss = (x**2).sum()
        loss.backward()
        calls.append(torch.is_grad_enabled())
        return loss

    before = x.detach().clone()
    assert optimizer.step(closure).item() == pytest.approx((before**2).sum().item())
    assert calls == [True]
    assert not torch.equal(x, before)
    assert optimizer.step() is None


@ALGORITHM
@PATH
def test_a_scaler_skips_an_infinite_gradient(algorithm, path):
    x = normal((4,), 1, torch.float32).requires_grad_()
    optimizer = FAST[algorithm]([x], eta0=0.02, **PATHS[path])
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)

    def step(factor: float) -> None:
        optimizer.zero_grad()
        scaler.scale(factor * (x - 1.0).square().sum()).backward()
        scaler.step(optimizer)
        scaler.update()

    for _ in range(3):
        step(1.0)
    steps, eta, before = int(optimizer.state[x]["step"]), eta_of(optimizer), x.detach().clone()
    moments = {k: v.clone() for k, v in optimizer.state[x].items()}
    step(math.inf)
    assert torch.equal(x, before)
    assert (int(optimizer.state[x]["step"]), eta_of(optimizer)) == (steps, eta)
    assert all(torch.equal(optimizer.state[x][k], v) for k, v in moments.items())
    step(1.0)
    assert int(optimizer.state[x]["step"]) == steps + 1


@ALGORITHM
def test_the_scale_of_a_scaler_does_not_matter(algorithm):
    ends = []
    for scale in (1.0, 2.0**12):
        x = normal((4,), 1, torch.float32).requires_grad_()
        optimizer = FAST[algorithm]([x], eta0=0.02)
        scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        for _ in range(10):
            optimizer.zero_grad()
            scaler.scale((x - 1.0).square().sum()).backward()
            scaler.step(optimizer)
            scaler.update()
        ends.append(x.detach())
    assert torch.equal(*ends)


@ALGORITHM
def test_there_is_no_switch_between_train_and_eval(algorithm):
    """Evaluation needs nothing: the parameters are the ones to use."""
    x = normal((2,), 1).requires_grad_()
    optimizer = FAST[algorithm]([x])
    assert not hasattr(optimizer, "train")
    assert not hasattr(optimizer, "eval")
    assert isinstance(optimizer, Optimizer)


@ALGORITHM
@PATH
def test_eta_is_a_tensor_without_dimensions_in_the_group(algorithm, path):
    for dtype, kept in ((torch.float32, torch.float32), (torch.bfloat16, torch.float32)):
        x = normal((4,), 1).to(dtype).requires_grad_()
        optimizer = FAST[algorithm]([x], **PATHS[path])
        eta = optimizer.param_groups[0]["eta"]
        assert (eta.ndim, eta.dtype, float(eta)) == (0, kept, 0.0)
        x.grad = torch.ones_like(x)
        optimizer.step()
        eta = optimizer.param_groups[0]["eta"]
        assert (eta.ndim, eta.dtype) == (0, kept)
        assert float(eta) > 0.0


@ALGORITHM
@PATH
def test_gradients_are_left_as_they_are(algorithm, path):
    tensors = [normal((4,), 1), normal((2, 3), 2, torch.complex128)]
    params = [p.requires_grad_() for p in tensors]
    optimizer = FAST[algorithm](params, eta0=0.02, weight_decay=0.1, maximize=True, **PATHS[path])
    for p in params:
        p.grad = torch.ones_like(p)
    for _ in range(3):
        optimizer.step()
    assert all(torch.equal(p.grad, torch.ones_like(p)) for p in params)


@PATH
@pytest.mark.parametrize("case", CASES)
def test_every_form_descends(case, path):
    """A logistic regression from zero: the loss falls below a third at default settings."""
    X = normal((60, 5), 1, torch.float32)
    y = (X @ torch.tensor([2.0, -1.0, 0.5, 0.0, 1.0]) > 0).float()
    w = torch.zeros(5, requires_grad=True)
    algorithm, options = CASES[case]
    optimizer = FAST[algorithm]([w], eta0=1e-4, **options, **PATHS[path])
    for _ in range(150):
        optimizer.zero_grad()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(X @ w, y)
        loss.backward()
        optimizer.step()
    assert loss.item() < math.log(2.0) / 3.0
