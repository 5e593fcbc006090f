"""One run of the optimizer bench: schedules, evaluation, divergence."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from statformer.benchmarks.optim_digits import digits_network, digits_regression
from statformer.benchmarks.optim_methods import SCHEDULE_FREE, methods
from statformer.benchmarks.optim_run import CONSTANT, COSINE, factor, torch_threads, train
from statformer.benchmarks.optim_tasks import Losses

TASK = digits_regression(12)


class Scalar:
    """Minimise (p - 1)^2 / 2 from p = 0; the test loss is p itself."""

    name, n_steps = "scalar", 4

    def __init__(self, max_gradient_norm: float | None = None) -> None:
        self.max_gradient_norm = max_gradient_norm

    def build(self, seed: int) -> nn.Module:
        module = nn.Module()
        module.p = nn.Parameter(torch.zeros(()))
        return module

    def batches(self, seed: int) -> Iterator[None]:
        return itertools.repeat(None)

    def loss(self, module: Any, batch: None) -> Tensor:
        return (module.p - 1.0).square() / 2

    def evaluate(self, module: Any, seed: int) -> Losses:
        return Losses(self.loss(module, None).item(), module.p.item())


def sgd(rate: float) -> Any:
    return lambda params: torch.optim.SGD(params, lr=rate)


def test_a_warm_up_and_half_a_cosine() -> None:
    rates = [factor(COSINE, step, 100) for step in range(100)]
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert rates[5] == 1.0
    assert all(b < a for a, b in itertools.pairwise(rates[5:]))
    assert rates[52] == pytest.approx(0.5 * (1 + math.cos(math.pi * 47 / 95)))
    assert 0 < rates[-1] < 1e-3
    assert {factor(CONSTANT, step, 100) for step in range(100)} == {1.0}


def test_the_schedule_multiplies_the_rate() -> None:
    curve = train(Scalar(), sgd(0.5), COSINE, 0, n_points=4)
    p, expected = 0.0, [0.0]
    for step in range(4):
        p -= 0.5 * factor(COSINE, step, 4) * (p - 1.0)
        expected.append(p)
    assert [loss.test for loss in curve.losses] == pytest.approx(expected)
    assert curve.steps == (0, 1, 2, 3, 4)
    assert curve.initial.train == 0.5
    assert curve.final == curve.losses[-1]


def test_gradients_are_clipped_where_the_task_says_so() -> None:
    curve = train(Scalar(max_gradient_norm=0.1), sgd(1.0), CONSTANT, 0, n_points=4)
    assert [loss.test for loss in curve.losses] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4], abs=1e-4)


def test_a_divergence_ends_the_curve_in_nan() -> None:
    curve = train(Scalar(), sgd(1e25), CONSTANT, 0, n_points=4)
    assert curve.initial.train == 0.5
    assert math.isnan(curve.final.train)
    assert len(curve.losses) == len(curve.steps) == 5


def test_a_loss_that_cannot_be_computed_is_a_divergence() -> None:
    class Singular(Scalar):
        def loss(self, module: Any, batch: None) -> Tensor:
            if module.p > 0.5:
                raise torch.linalg.LinAlgError("not positive-definite")
            return super().loss(module, batch)

    curve = train(Singular(), sgd(0.4), CONSTANT, 0, n_points=4)
    assert [math.isnan(loss.train) for loss in curve.losses] == [False, False, True, True, True]


def test_schedule_free_is_evaluated_at_its_average() -> None:
    """Its test point is not its training point, and training goes on as if nobody had looked."""
    seen: list[tuple[str, float]] = []

    class Two(torch.optim.SGD):
        def __init__(self, params: Iterable[nn.Parameter]) -> None:
            super().__init__(params, lr=0.1)

        def eval(self) -> None:
            seen.append(("eval", self.param_groups[0]["params"][0].item()))

        def train(self) -> None:
            seen.append(("train", self.param_groups[0]["params"][0].item()))

    train(Scalar(), Two, CONSTANT, 0, n_points=2)
    assert [word for word, _ in seen] == ["eval", "train"] * 3
    method = methods()[SCHEDULE_FREE]
    assert method.schedules == (CONSTANT,)
    often = train(TASK, method.make, CONSTANT, 0, n_points=6)
    seldom = train(TASK, method.make, CONSTANT, 0, n_points=1)
    assert often.final.train == pytest.approx(seldom.final.train, rel=1e-4)


def test_dog_is_averaged_for_its_test_loss_alone() -> None:
    method = methods()["DoG"]
    assert method.averaged
    task = digits_network(20)
    plain = train(task, method.make, CONSTANT, 0, n_points=2)
    averaged = train(task, method.make, CONSTANT, 0, n_points=2, averaged=True)
    assert [a.train for a in averaged.losses] == [p.train for p in plain.losses]
    assert averaged.initial == plain.initial
    assert averaged.final.test != plain.final.test


@pytest.mark.parametrize("name", methods())
def test_every_method_lowers_a_convex_loss(name: str) -> None:
    method = methods()[name]
    curve = train(digits_regression(150), method.make, method.schedules[-1], 0, n_points=1)
    assert curve.final.train < curve.initial.train
    assert (curve.eta is not None) == name.startswith(("AdamPP", "AdaGradPP"))
    assert curve.seconds > 0


def test_threads_are_put_back() -> None:
    before = torch.get_num_threads()
    with torch_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
