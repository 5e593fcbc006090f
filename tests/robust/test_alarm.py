"""The alarm hears catastrophic overfitting of one step, and nothing where five are trained on."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Generator, Tensor, nn

from statformer.robust import FastAdversarialTrainer, ImageBatches, OverfittingWarning
from statformer.robust.alarm import OverfittingAlarm, Signs

EPS_255 = 50.0


def faint_images(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Classes whose pictures differ by little more than the budget: a step can hide them."""
    rng = Generator().manual_seed(seed)
    y = torch.randint(4, (n,), generator=rng)
    pictures = torch.rand(4, 1, 4, 4, generator=Generator().manual_seed(5))
    pictures = nn.functional.interpolate(pictures, size=(8, 8), mode="bilinear")
    noise = torch.randn(n, 1, 8, 8, generator=rng)
    return (0.5 + 0.6 * (pictures[y] - 0.5) + 0.05 * noise).clamp(0, 1), y


def network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(8, 16, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(256, 64),
            nn.ReLU(),
            nn.Linear(64, 4),
        )


def trained(epochs: int, **settings: Any) -> FastAdversarialTrainer:
    run = FastAdversarialTrainer(
        network(),
        eps_255=EPS_255,
        learning_rate=0.003,
        regulariser=None,
        relaxation=None,
        schedule="constant",
        optimizer=torch.optim.Adam,
        **settings,
    )
    batches = ImageBatches(*faint_images(1000, 0), batch_size=50)
    return run.fit(batches, validation=faint_images(100, 1), epochs=epochs)


def test_it_stops_fgsm_from_zero_and_says_why() -> None:
    with pytest.warns(OverfittingWarning, match="catastrophic overfitting") as caught:
        run = trained(12, start="zero")
    assert len(run.history_) < 12
    message = str(caught[0].message)
    assert message == run.alarm_
    for said in ("eps_255=50", "step_255=50", "start='zero'", "what helps", "is stopped"):
        assert said in message
    last = run.history_.iloc[-1]
    assert last["alarm"]
    assert last["single_step"] - last["robust"] > 0.2
    assert not run.history_["alarm"].iloc[:-1].any()


def test_it_is_silent_on_pgd() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", OverfittingWarning)
        run = trained(8, start="uniform", n_steps=4, step_255=EPS_255 / 3)
    assert run.alarm_ is None
    assert len(run.history_) == 8
    assert not run.history_["alarm"].any()
    assert run.history_["robust"].max() > 0.3, "PGD learnt something: chance is 1/4"


def test_roll_back_goes_on_from_the_last_good_epoch_with_a_shorter_step() -> None:
    with pytest.warns(OverfittingWarning, match="goes back"):
        run = trained(5, start="zero", alarm="rollback")
    fired = run.history_["alarm"].to_numpy()
    steps = run.history_["step_255"].to_numpy()
    assert fired.any()
    for before, after, alarm in zip(steps[:-1], steps[1:], fired[:-1], strict=True):
        assert after == pytest.approx(0.75 * before if alarm else before)


def test_a_warning_or_nothing_where_asked_for() -> None:
    with pytest.warns(OverfittingWarning, match="The run goes on"):
        assert len(trained(3, start="zero", alarm="warn").history_) == 3
    with warnings.catch_warnings():
        warnings.simplefilter("error", OverfittingWarning)
        assert not trained(3, start="zero", alarm=None).history_["alarm"].any()


@pytest.mark.parametrize(
    ("epochs", "fires"),
    [
        ([(0.9, 0.03)], True),  # the signature of public logs, in the first epoch already
        ([(0.5, 0.4), (0.6, 0.15)], True),  # below half of its best, and far from the single step
        ([(0.5, 0.4), (0.25, 0.15)], False),  # the network forgot, it did not overfit
        ([(0.5, 0.4), (0.55, 0.25)], False),  # above half of its best
        ([(0.9, 0.5), (0.95, 0.45)], False),  # a gap that ordinary training has
    ],
)
def test_what_it_fires_at(epochs: list[tuple[float, float]], fires: bool) -> None:
    alarm = OverfittingAlarm()
    heard = [alarm.fires(Signs(*one)) for one in epochs]
    assert heard[-1] == fires
    assert not any(heard[:-1])
    again = OverfittingAlarm()
    again.load(alarm.state())
    assert again == alarm
