"""What holds for every gradient: the properties of the algorithms, on twins and fast forms."""

from __future__ import annotations

import copy
import itertools
import math
from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from optim.forms import CASES, FAST, TWIN, eta_of, normal

FORMS = {
    "twin": (TWIN, {}),
    "default": (FAST, {}),
    "one by one": (FAST, {"foreach": False}),
    "foreach": (FAST, {"foreach": True}),
    "capturable": (FAST, {"foreach": True, "capturable": True}),
}
ELEMENTS = st.floats(-100.0, 100.0, allow_subnormal=False).map(
    lambda value: 0.0 if abs(value) < 1e-6 else value  # squares that do not underflow
)
WALKS = hnp.arrays(np.float64, st.tuples(st.integers(1, 12), st.just(5)), elements=ELEMENTS)
STARTS = hnp.arrays(np.float64, 5, elements=ELEMENTS)

any_form = st.sampled_from(sorted(FORMS))
every_form = pytest.mark.parametrize("form", FORMS)
every_case = pytest.mark.parametrize("case", CASES)
examples = settings(max_examples=15, deadline=None)


def optimizer_of(form: str, case: str, params: Any, **options: Any) -> Any:
    makers, path = FORMS[form]
    algorithm, own = CASES[case]
    return makers[algorithm](params, **{"eta0": 1e-3, **own, **options}, **path)


def path_of(
    form: str, case: str, start: np.ndarray, gradients: np.ndarray, **options: Any
) -> tuple[list[float], list[Tensor]]:
    """eta used at every step, and x before the first and after every step."""
    x = torch.tensor(start, requires_grad=True)
    optimizer = optimizer_of(form, case, [x], **options)
    etas, xs = [], [x.detach().clone()]
    for g in gradients:
        x.grad = torch.tensor(g)
        optimizer.step()
        etas.append(eta_of(optimizer))
        xs.append(x.detach().clone())
    return etas, xs


@every_case
@examples
@given(form=any_form, start=STARTS, gradients=WALKS)
def test_eta_starts_at_eta0_and_is_the_largest_distance_so_far(form, case, start, gradients):
    etas, xs = path_of(form, case, start, gradients, lr=2.0)
    assert etas[0] == pytest.approx(1e-3, rel=1e-15 if form == "twin" else 1e-7)
    assert etas == sorted(etas)
    largest = 0.0
    for eta, x in zip(etas, xs[:-1], strict=True):
        largest = max(largest, ((x - xs[0]).square().mean().sqrt()).item())
        assert eta == pytest.approx(max(etas[0], largest), rel=1e-9)


@every_case
@examples
@given(form=any_form, start=STARTS, gradients=WALKS, k=st.sampled_from([1e-4, 0.3, 7.0, 1e4]))
def test_the_scale_of_gradients_does_not_matter(form, case, start, gradients, k):
    _, xs = path_of(form, case, start, gradients, delta=0.0)
    _, scaled = path_of(form, case, start, k * gradients, delta=0.0)
    torch.testing.assert_close(torch.stack(scaled), torch.stack(xs), rtol=1e-10, atol=1e-12)


@every_case
def test_with_delta_the_scale_matters(case):
    start, gradients = np.ones(5), np.full((4, 5), 1.0)
    _, xs = path_of("foreach", case, start, gradients, delta=1.0)
    _, scaled = path_of("foreach", case, start, 10.0 * gradients, delta=1.0)
    assert (scaled[-1] - xs[-1]).abs().max() > 1e-5


@every_case
@examples
@given(form=any_form, start=STARTS, n_steps=st.integers(1, 6), delta=st.sampled_from([0.0, 1e-8]))
def test_zero_gradients_leave_x_and_eta_alone(form, case, start, n_steps, delta):
    etas, xs = path_of(form, case, start, np.zeros((n_steps, 5)), delta=delta)
    assert all(torch.equal(x, xs[0]) for x in xs)
    assert len(set(etas)) == 1


def scale_of(form: str, case: str, optimizer: Any, x: Tensor) -> Tensor:
    """s_t, from what the optimizer keeps."""
    state = optimizer.state[x]
    if form == "twin":
        return state.s
    if "sum" in state:
        return state["sum"].double().sqrt().reshape(x.shape)
    group, t = optimizer.param_groups[0], float(state["step"])
    v = state.get("max_exp_avg_sq", state["exp_avg_sq"]).double().reshape(x.shape)
    correction = 1.0 - group["betas"][1] ** t if group["bias_correction"] else 1.0
    return torch.sqrt(t * v / correction)


def scales(form: str, case: str, gradients: np.ndarray) -> list[Tensor]:
    x = torch.ones(gradients.shape[1], dtype=torch.float64, requires_grad=True)
    optimizer = optimizer_of(form, case, [x])
    seen = []
    for g in gradients:
        x.grad = torch.tensor(g)
        optimizer.step()
        seen.append(scale_of(form, case, optimizer, x).clone())
    return seen


@pytest.mark.parametrize("case", ["AdaGrad++", "sum", "sum literal", "ema_max", "ema_max literal"])
@examples
@given(form=any_form, gradients=WALKS)
def test_the_scale_of_a_coordinate_never_falls(form, case, gradients):
    seen = scales(form, case, gradients)
    for before, after in itertools.pairwise(seen):
        assert (after >= before * (1.0 - 1e-12)).all()


@every_form
@pytest.mark.parametrize("case", ["ema", "ema literal"])
def test_the_scale_of_a_coordinate_may_fall_without_the_maximum(form, case):
    gradients = np.zeros((200, 1))
    gradients[0] = 1.0
    options = CASES[case][1] | {"betas": (0.9, 0.5)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(CASES, case, ("AdamPP", options))
        seen = scales(form, case, gradients)
    assert seen[-1] < 0.1 * seen[0]


@every_case
@examples
@given(
    form=any_form,
    start=STARTS,
    gradients=WALKS,
    order=st.permutations(range(5)),
    cut=st.integers(0, 5),
)
def test_order_and_cuts_of_coordinates_do_not_matter(form, case, start, gradients, order, cut):
    etas, xs = path_of(form, case, start, gradients)
    parts = (slice(0, cut), slice(cut, 5))
    params = [torch.tensor(start[order][part], requires_grad=True) for part in parts]
    groups = [{"params": [p]} for p in params]
    optimizer = optimizer_of(form, case, groups)
    for step, g in enumerate(gradients):
        for p, part in zip(params, parts, strict=True):
            p.grad = torch.tensor(g[order][part])
        optimizer.step()
        joined = torch.cat([p.detach() for p in params])
        torch.testing.assert_close(joined, xs[step + 1][order], rtol=1e-11, atol=1e-13)
        assert eta_of(optimizer, 0) == pytest.approx(etas[step], rel=1e-11)
        assert eta_of(optimizer, 0) == eta_of(optimizer, 1)


@every_form
def test_with_a_scope_per_group_a_cut_matters(form):
    params = [normal((3,), seed).requires_grad_() for seed in (1, 2)]
    optimizer = optimizer_of(form, "ema", [{"params": [p]} for p in params], scope="group")
    for step in range(20):
        for k, p in enumerate(params):
            p.grad = torch.ones_like(p) if k else normal((3,), step)
        optimizer.step()
    assert abs(eta_of(optimizer, 0) / eta_of(optimizer, 1) - 1.0) > 0.01


@every_case
@examples
@given(
    form=st.sampled_from(["default", "one by one", "foreach", "capturable"]),
    start=STARTS,
    gradients=WALKS,
    data=st.data(),
)
def test_a_saved_run_goes_on_to_the_same_bits(form, case, start, gradients, data):
    stop = data.draw(st.integers(0, len(gradients)))
    etas, xs = path_of(form, case, start, gradients)
    x = torch.tensor(start, requires_grad=True)
    optimizer = optimizer_of(form, case, [x])
    for g in gradients[:stop]:
        x.grad = torch.tensor(g)
        optimizer.step()
    kept = copy.deepcopy(optimizer.state_dict())
    again = x.detach().clone().requires_grad_()
    optimizer = optimizer_of(form, case, [again])
    optimizer.load_state_dict(kept)
    for step, g in enumerate(gradients[stop:], start=stop):
        again.grad = torch.tensor(g)
        optimizer.step()
        assert torch.equal(again.detach(), xs[step + 1])
        assert eta_of(optimizer) == etas[step]


@every_case
@examples
@given(form=any_form, start=STARTS, gradients=WALKS)
def test_maximize_is_minimize_of_the_negative(form, case, start, gradients):
    _, down = path_of(form, case, start, -gradients)
    _, up = path_of(form, case, start, gradients, maximize=True)
    assert torch.equal(torch.stack(up), torch.stack(down))


@every_case
@examples
@given(form=any_form, start=STARTS, gradients=WALKS, rate=st.sampled_from([1.02, 1.25, 2.0]))
def test_growth_is_limited(form, case, start, gradients, rate):
    etas, _ = path_of(form, case, start, gradients, growth_rate=rate, lr=20.0)
    for before, after in itertools.pairwise(etas):
        assert before <= after <= rate * before * (1.0 + 1e-6)


@every_case
@examples
@given(form=any_form, start=STARTS, gradients=WALKS, freeze_after=st.integers(0, 8))
def test_a_frozen_step_size_stays(form, case, start, gradients, freeze_after):
    free, _ = path_of(form, case, start, gradients, lr=3.0)
    etas, _ = path_of(form, case, start, gradients, lr=3.0, freeze_after=freeze_after)
    head = free[: max(freeze_after, 1)]
    assert etas == head + [head[-1]] * (len(etas) - len(head))


@every_form
@every_case
def test_zero_gradients_come_to_life(form, case):
    """delta = 0: a coordinate rests while its gradients are zero, and moves once they are not."""
    gradients = np.zeros((6, 5))
    gradients[:, 0] = 1.0
    gradients[3:, 1] = 1.0
    _, xs = path_of(form, case, np.ones(5), gradients, delta=0.0)
    assert all(math.isfinite(value) for x in xs for value in x.tolist())
    assert xs[3][0] < 1.0
    assert xs[3][1] == 1.0
    assert xs[6][1] < 1.0
    assert torch.equal(xs[6][2:], torch.ones(3, dtype=torch.float64))


@every_form
def test_without_eta0_the_start_is_in_proportion(form):
    """Ours: eta0 = kappa (1 + ||x0||) / sqrt(d), of the scope at its first step."""
    first, second = normal((3, 4), 1), normal((5,), 2)

    def start(*groups: list[Tensor], **options: Any) -> list[float]:
        leaves = [[p.clone().requires_grad_() for p in group] for group in groups]
        optimizer = optimizer_of(
            form, "ema", [{"params": group} for group in leaves], eta0=None, **options
        )
        assert [eta_of(optimizer, i) for i in range(len(groups))] == [0.0] * len(groups)
        for p in (p for group in leaves for p in group):
            p.grad = torch.ones_like(p)
        optimizer.step()
        return [eta_of(optimizer, i) for i in range(len(groups))]

    def rule(*tensors: Tensor) -> float:
        x0 = torch.cat([p.flatten() for p in tensors])
        return (1.0 + x0.norm().item()) / math.sqrt(x0.numel())

    (kappa,) = start([torch.zeros(1, dtype=torch.float64)])
    assert 1e-9 < kappa < 1e-1
    assert start([first], [second])[0] == pytest.approx(kappa * rule(first, second), rel=1e-6)
    assert start([first], [second])[1] == pytest.approx(kappa * rule(first, second), rel=1e-6)
    apart = start([first], [second], scope="group")
    assert apart == pytest.approx([kappa * rule(first), kappa * rule(second)], rel=1e-6)
