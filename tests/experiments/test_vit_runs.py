"""The fast runs of the patch transformer are plain descent of the network, to 1e-8."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from statformer.experiments._vit_data import VitData, outcome
from statformer.experiments._vit_runs import VitRuns, VitSetting
from statformer.nn.vision import PatchViT
from statformer.objectives.logistic import logistic_loss, vit_gradient
from statformer.optim.descent import descend

SETTING = VitSetting(
    n_features=60,
    n_patches=3,
    width=4,
    start_qk=0.8,
    start_v=0.4,
    start_o=0.2,
    rate=0.24,
    max_steps=120,
)
SNRS = (0.2, 0.6, 1.5)
DATA = VitData.of(SETTING, 9, seed=3, dtype=torch.float64)
NAMES = ("W_Q", "W_K", "W_V", "w_O")


def patches(data: VitData, runs: VitRuns) -> Tensor:
    """The training points of every run in d features."""
    X = data.batch.X.expand(len(SNRS), -1, -1, -1).clone()
    X[:, :, 0] *= runs.norms[:, None, None]
    return X


def plainly(data: VitData, n_steps: int) -> PatchViT:
    """The same start and the same step sizes, through `descend`."""
    runs = data.runs(SNRS)
    network, X = runs.network(), patches(data, runs)
    y = data.batch.y.expand(len(SNRS), -1)
    n, d = len(runs.y), data.setting.n_features
    sizes = data.setting.rate * n / (d + n * runs.norms.square() / 16.0)
    descend(network, lambda: vit_gradient(network, X, y), dict.fromkeys(NAMES, sizes), n_steps)
    return network


def far(one: PatchViT, other: PatchViT) -> float:
    """The largest difference of a weight, relative to the largest weight of its matrix."""
    pairs = [(getattr(one, name).detach(), getattr(other, name).detach()) for name in NAMES]
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in pairs)


def test_the_fast_form_is_plain_descent_and_answers_alike() -> None:
    runs = DATA.runs(SNRS)
    start = runs.network()
    ended = runs.descend()
    network = plainly(DATA, SETTING.max_steps)
    assert not ended.any(), "as many steps as the plain descent"
    assert far(start, network) > 0.5, "it has trained"
    assert far(runs.network(), network) < 1e-8
    seen = runs.tokens()
    answers, pattern = network(patches(DATA, runs)), network.pattern(patches(DATA, runs))
    torch.testing.assert_close(seen.answers(seen.pattern()), answers.T.detach())
    torch.testing.assert_close(seen.pattern(), pattern.permute(1, 2, 3, 0).detach())
    assert float((pattern.detach() - 1 / 3).abs().max()) > 0.1, "attention has moved"

    fresh = DATA.fresh(7)
    X = fresh.X.expand(len(SNRS), -1, -1, -1).clone()
    X[:, :, 0] *= runs.norms[:, None, None]
    found = outcome(runs, fresh)
    y = fresh.y.expand(len(SNRS), -1)
    torch.testing.assert_close(found.test, logistic_loss(network(X), y).detach())
    torch.testing.assert_close(found.error, (network(X) * y < 0).double().mean(1))
    torch.testing.assert_close(found.attention, network.pattern(X)[..., 0].mean((1, 2)).detach())


def test_the_comparison_sees_a_small_fault() -> None:
    """A step size that is off by a millionth is told from rounding."""
    runs = DATA.runs(SNRS)
    runs.setting = replace(SETTING, rate=SETTING.rate * (1 + 1e-6))
    runs.descend()
    assert far(runs.network(), plainly(DATA, SETTING.max_steps)) > 1e-8


def test_runs_end_at_the_loss_that_is_asked_and_stay() -> None:
    data = replace(DATA, setting=replace(SETTING, stop=0.4, max_steps=3000))
    runs = data.runs(SNRS)
    losses: list[Tensor] = []
    ended = runs.descend(lambda _step, _tokens, _pattern, loss: losses.append(loss))
    track = torch.stack(losses)
    assert ended.all()
    assert (track[-1] <= 0.4).all()
    first = (track <= 0.4).double().argmax(0)
    assert len(set(first.tolist())) > 1, "they end at different steps"
    for j, step in enumerate(first.tolist()):
        assert (track[step:, j] == track[step, j]).all()
    assert (outcome(runs, data.fresh(5)).train == track[-1]).all()


def test_uniform_attention_stays_uniform() -> None:
    runs = DATA.runs(SNRS, start_qk=0.0)
    runs.descend()
    pattern = runs.tokens().pattern()
    torch.testing.assert_close(pattern, torch.full_like(pattern, 1 / 3), rtol=0, atol=1e-14)
    assert (runs.weights("W_V") - DATA.runs(SNRS).weights("W_V")).abs().max() > 0.01


def test_float32_ends_where_float64_does() -> None:
    found = []
    for dtype in (torch.float32, torch.float64):
        data = VitData.of(replace(SETTING, max_steps=2000, stop=0.05), 9, seed=3, dtype=dtype)
        runs = data.runs(SNRS)
        runs.descend()
        found.append(outcome(runs, data.fresh(50)).test.double())
    assert (found[0] - found[1]).abs().max() < 1e-2


def test_relabelled_points_have_other_labels_and_the_same_noise() -> None:
    data = VitData.of(SETTING, 200, seed=1)
    other = data.relabelled()
    agree = float((other.batch.y == data.batch.y).float().mean())
    assert 0.35 < agree < 0.65
    assert (other.batch.noise == data.batch.noise).all()
    assert (other.batch.clean_y == data.batch.clean_y).all()


def test_a_head_without_a_start_is_refused() -> None:
    with pytest.raises(ValueError, match="start_v or start_o is 0"):
        replace(DATA, setting=replace(SETTING, start_o=0.0)).runs(SNRS)
