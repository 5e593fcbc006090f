"""A compiled step: one graph, no break, no second compilation, and the numbers of the eager one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend
from torch._dynamo.utils import counters

from optim.forms import CASES, FAST, copies, normal

# What torch's own compiler imports is deprecated by torch itself.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning"),
]


@pytest.fixture(autouse=True)
def fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()
    counters.clear()


class Pair:
    """The same optimizer twice: `compiled`, and eager beside it."""

    def __init__(self, case: str, backend: str, dtype: torch.dtype, **options: Any) -> None:
        tensors = [normal((3, 4), 1, dtype), normal((), 2, dtype), torch.zeros(5, dtype=dtype)]
        algorithm, own = CASES[case]
        options = {
            "lr": 5.0,
            "eta0": 1e-2,
            "weight_decay": 0.1,
            "capturable": True,
            **own,
            **options,
        }
        self.params, self.optimizers = [], []
        for _ in range(2):
            params = copies(tensors)
            groups = [{"params": params[:2]}, {"params": params[2:], "lr": 0.5}]
            self.params.append(params)
            self.optimizers.append(FAST[algorithm](groups, **options))
        self.counter = CompileCounterWithBackend(backend)
        self.compiled = torch.compile(self.optimizers[0].step, backend=self.counter, fullgraph=True)
        self.n_steps = 0

    def step(self) -> None:
        for params in self.params:
            for index, p in enumerate(params):
                drift = normal(p.shape, 10 + index, p.dtype)
                g = drift + normal(p.shape, 100 + 10 * self.n_steps + index, p.dtype)
                if p.grad is None:
                    p.grad = g
                else:  # the addresses of gradients stay, as in a training loop
                    p.grad.copy_(g)
        self.compiled()
        self.optimizers[1].step()
        self.n_steps += 1

    def assert_equal(self, rtol: float) -> None:
        for p, q in zip(*self.params, strict=True):
            torch.testing.assert_close(p.detach(), q.detach(), rtol=rtol, atol=rtol)
        etas = [[float(g["eta"]) for g in o.param_groups] for o in self.optimizers]
        assert etas[0] == pytest.approx(etas[1], rel=rtol)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("foreach", [True, False])
def test_a_step_is_one_graph_and_is_compiled_once(case, foreach):
    pair = Pair(case, "aot_eager", torch.float32, foreach=foreach)
    for _ in range(3):  # the first step makes the state, the second may specialise
        pair.step()
        pair.assert_equal(1e-5)
    n_graphs, n_operations = pair.counter.frame_count, pair.counter.op_count
    assert 1 <= n_graphs <= 2
    assert n_operations > 10
    for _ in range(5):
        pair.step()
        pair.assert_equal(1e-5)
    assert pair.counter.frame_count == n_graphs
    assert not counters["graph_break"]
    assert float(pair.optimizers[0].param_groups[0]["eta"]) > 1e-2


@pytest.mark.parametrize(
    "options",
    [
        {"scope": "group"},
        {"growth_rate": 1.1},
        {"freeze_after": 3},
        {"x0_stride": 2},
        {"maximize": True},
        {"delta": 0.0},
        {"eta0": None},
    ],
    ids=str,
)
def test_a_setting_compiles(options):
    pair = Pair("ema", "aot_eager", torch.float32, **options)
    for _ in range(3):
        pair.step()
    n_graphs = pair.counter.frame_count
    for _ in range(5):
        pair.step()
        pair.assert_equal(1e-5)
    assert pair.counter.frame_count == n_graphs <= 2
    assert not counters["graph_break"]


@pytest.mark.parametrize("case", ["AdaGrad++", "ema", "ema_max"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_generated_code_agrees(case, dtype):
    pair = Pair(case, "inductor", dtype)
    for _ in range(6):
        pair.step()
        pair.assert_equal(1e-5 if dtype == torch.float32 else 2e-2)
    assert 1 <= pair.counter.frame_count <= 2


def test_a_rate_in_a_tensor_needs_no_second_compilation():
    pair = Pair("ema", "aot_eager", torch.float32, lr=torch.tensor(1.0))
    for optimizer in pair.optimizers:
        optimizer.param_groups[1]["lr"] = torch.tensor(0.5)
    n_graphs = []
    for step in range(8):
        for optimizer in pair.optimizers:
            for group in optimizer.param_groups:
                group["lr"].fill_(1.0 / (1.0 + step))
        pair.step()
        pair.assert_equal(1e-5)
        n_graphs.append(pair.counter.frame_count)
    assert n_graphs[2] == n_graphs[-1]


def test_the_counters_see_a_second_compilation_and_a_break():
    """The check can fail: a new rate as a number is a new graph, and a print breaks one."""
    pair = Pair("ema", "aot_eager", torch.float32)
    for _ in range(3):
        pair.step()
    n_graphs = pair.counter.frame_count
    for group in pair.optimizers[0].param_groups:
        group["lr"] = 0.123
    pair.step()
    assert pair.counter.frame_count > n_graphs

    def broken(x: torch.Tensor) -> torch.Tensor:
        torch._dynamo.graph_break()
        return x + 1.0

    torch.compile(broken, backend="eager")(torch.zeros(2))
    assert counters["graph_break"]
