"""TaskStream: right distributions, and draws that only (seed, step, task, call) can move."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from scipy import stats

from statformer.tasks.stream import TaskStream

TASKS = range(64)
DRAWS = {
    "uniform": lambda stream: stream.uniform(5, 3),
    "normal": lambda stream: stream.normal(7),
    "integers": lambda stream: stream.integers(-2, 9, 6),
    "gamma": lambda stream: stream.gamma(0.7, 4),
    "dirichlet": lambda stream: stream.dirichlet(0.5, 5),
    "permutation": lambda stream: stream.permutation(11),
}


def draw_all(stream: TaskStream) -> dict[str, torch.Tensor]:
    return {name: draw(stream) for name, draw in DRAWS.items()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("tasks", [range(20, 28), [3], [40, 2, 63], range(1, 64, 9)])
def test_a_task_draws_the_same_in_any_company(tasks, dtype):
    whole = draw_all(TaskStream(5, 12, TASKS, dtype=dtype))
    part = draw_all(TaskStream(5, 12, tasks, dtype=dtype))
    exact = {"uniform", "integers", "permutation"}
    for name, draws in part.items():
        expected = whole[name][list(tasks)]
        if name in exact:
            assert torch.equal(draws, expected), name
        else:
            torch.testing.assert_close(draws, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("seed", "step"), [(5, 13), (6, 12), (5, -12), (2**70, 12)])
def test_seed_and_step_change_every_draw(seed, step):
    first = TaskStream(5, 12, TASKS).uniform(8)
    assert not (first == TaskStream(seed, step, TASKS).uniform(8)).any()


def test_each_call_is_new_and_the_shared_stream_is_another_task():
    stream = TaskStream(0, 0, TASKS)
    first, second = stream.uniform(8), stream.uniform(8)
    shared = stream.shared()
    common = shared.uniform(8)
    assert common.shape == (1, 8)
    assert not (first == second).any()
    assert not (first == common).any()
    assert torch.equal(common, TaskStream(0, 0, range(30, 33)).shared().uniform(8))
    assert not (common == shared.uniform(8)).any()


@pytest.mark.parametrize("draw", ["uniform", "normal", "gamma"])
def test_float64_refines_float32(draw):
    make = {
        "uniform": lambda s: s.uniform(500),
        "normal": lambda s: s.normal(500),
        "gamma": lambda s: s.gamma(0.4, 500),
    }[draw]
    coarse, fine = make(TaskStream(1, 2, TASKS)), make(TaskStream(1, 2, TASKS, dtype=torch.float64))
    assert coarse.dtype == torch.float32
    assert fine.dtype == torch.float64
    torch.testing.assert_close(coarse.double(), fine, rtol=1e-5, atol=1e-5)
    assert (coarse.double() != fine).any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_uniform_stays_strictly_inside_and_is_uniform(dtype):
    uniforms = TaskStream(3, 1, range(200), dtype=dtype).uniform(10_000)
    assert uniforms.min() > 0
    assert uniforms.max() < 1
    assert stats.kstest(uniforms.double().flatten()[:200_000].numpy(), "uniform").pvalue > 1e-3
    assert abs(uniforms.double().mean().item() - 0.5) < 1e-3
    # Extreme words: all bits zero or one.
    from statformer.tasks.stream import _fractions

    ends = _fractions(torch.tensor([0, -1]), dtype)
    assert ends[0] > 0
    assert ends[1] < 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_normal_is_normal(dtype):
    normals = TaskStream(3, 2, range(50), dtype=dtype).normal(4001).double().flatten().numpy()
    assert stats.kstest(normals, "norm").pvalue > 1e-3
    assert stats.kstest(normals[::2], "norm").pvalue > 1e-3
    assert abs(stats.kurtosis(normals)) < 0.05
    assert np.isfinite(normals).all()


@pytest.mark.parametrize("alpha", [0.1, 0.5, 1.0, 2.5, 40.0])
def test_gamma_is_gamma(alpha):
    gammas = TaskStream(3, 4, range(20), dtype=torch.float64).gamma(alpha, 5000)
    assert (gammas > 0).all()
    assert stats.kstest(gammas.flatten().numpy(), stats.gamma(alpha).cdf).pvalue > 1e-3


def test_gamma_takes_one_alpha_per_task():
    alpha = torch.linspace(0.2, 9.0, 40)
    gammas = TaskStream(3, 5, range(40)).gamma(alpha, 3, 4000)
    assert gammas.shape == (40, 3, 4000)
    torch.testing.assert_close(gammas.mean((1, 2)), alpha, rtol=0.1, atol=0.02)


def test_dirichlet_has_its_moments():
    weights = TaskStream(3, 6, range(40_000)).dirichlet(0.5, 4).double()
    torch.testing.assert_close(weights.sum(1), torch.ones(40_000).double(), rtol=1e-6, atol=0)
    assert (weights.mean(0) - 0.25).abs().max() < 0.005
    assert abs(weights.var(0).mean().item() - 0.25 * 0.75 / 3) < 0.002


def test_integers_cover_their_interval_evenly():
    integers = TaskStream(3, 7, range(100)).integers(-1, 6, 2000)
    counts = torch.bincount(integers.flatten() + 1)
    assert counts.numel() == 7
    assert stats.chisquare(counts.numpy()).pvalue > 1e-3
    high = torch.arange(1, 101)
    per_task = TaskStream(3, 8, range(100)).integers(0, high, 3000)
    assert torch.equal(per_task.amin(1), torch.zeros(100, dtype=torch.int64))
    assert torch.equal(per_task.amax(1), high - 1)


def test_permutation_is_one_and_every_order_is_as_likely():
    orders = TaskStream(3, 9, range(24_000)).permutation(4)
    assert torch.equal(orders.sort(1).values, torch.arange(4).expand(24_000, 4))
    codes = (orders * torch.tensor([64, 16, 4, 1])).sum(1)
    counts = torch.unique(codes, return_counts=True)[1]
    assert counts.numel() == 24
    assert stats.chisquare(counts.numpy()).pvalue > 1e-3


def test_neighbours_are_uncorrelated():
    """Neighbouring tasks, steps, seeds, calls and elements: |correlation| below 4.5 / sqrt(n)."""

    def correlation(first: torch.Tensor, second: torch.Tensor) -> float:
        return torch.corrcoef(torch.stack((first.flatten(), second.flatten())))[0, 1].item()

    def draws(seed: int, step: int) -> torch.Tensor:
        return TaskStream(seed, step, range(300), dtype=torch.float64).uniform(300) - 0.5

    here = draws(0, 0)
    stream = TaskStream(0, 0, range(300), dtype=torch.float64)
    stream.uniform(300)
    pairs = {
        "task": (here[1:], here[:-1]),
        "element": (here[:, 1:], here[:, :-1]),
        "pair of elements": (here[:, 2:], here[:, :-2]),
        "step": (here, draws(0, 1)),
        "seed": (here, draws(1, 0)),
        "seed and step exchanged": (draws(1, 2), draws(2, 1)),
        "call": (here, stream.uniform(300) - 0.5),
        "step and task": (here[1:], draws(0, 1)[:-1]),
    }
    for name, (first, second) in pairs.items():
        assert abs(correlation(first, second)) < 4.5 / first.numel() ** 0.5, name
        assert abs(correlation(first.abs(), second.abs())) < 4.5 / first.numel() ** 0.5, name


def test_first_draws_of_many_tasks_and_steps_are_uniform():
    """What a recipe's shared choices see: one number per (step, task)."""
    by_step = torch.stack([TaskStream(0, s, [0]).shared().uniform()[0] for s in range(3000)])
    by_task = TaskStream(0, 0, range(100_000)).uniform()
    assert stats.kstest(by_step.numpy(), "uniform").pvalue > 1e-3
    assert stats.kstest(by_task.numpy(), "uniform").pvalue > 1e-3


def test_odd_sizes_and_empty_shapes():
    stream = TaskStream(0, 0, range(3))
    assert stream.normal().shape == (3,)
    assert stream.normal(0).shape == (3, 0)
    assert stream.gamma(1.0, 2, 0).shape == (3, 2, 0)
    assert TaskStream(0, 0, range(0)).normal(4).shape == (0, 4)
    # A longer draw begins with the shorter one.
    long, short = TaskStream(0, 0, range(3)).normal(9), TaskStream(0, 0, range(3)).normal(5)
    assert torch.equal(long[:, :5], short)


def test_errors_name_the_argument_and_the_remedy():
    stream = TaskStream(0, 0, range(3))
    with pytest.raises(ValueError, match=r"low=4.*high > low"):
        stream.integers(4, 4, 2)
    with pytest.raises(ValueError, match=r"alpha has the value 0.0.*at least 0.1"):
        stream.gamma(0.01, 2)
    with pytest.raises(ValueError, match=r"does not fit 3 tasks"):
        stream.gamma(torch.ones(4), 2)
    with pytest.raises(ValueError, match=r"torch.float16; pass torch.float32"):
        TaskStream(0, 0, range(3), dtype=torch.float16)


def test_global_generator_is_left_alone():
    before = torch.random.get_rng_state()
    draw_all(TaskStream(0, 0, TASKS))
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_million_normals_are_quick():
    stream = TaskStream(0, 0, range(100))
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        stream.normal(10_000)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.25  # 0.012 s on the machine of record; room for a busy one
