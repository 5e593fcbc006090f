"""The trainer keeps its promises in every batch, resumes in the same bits, says what is wrong."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Generator, Tensor, nn
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler

from made_images import N_CLASSES, images, network
from statformer.pretraining.checkpoint import Checkpoint, CheckpointError, save_checkpoint
from statformer.robust import FastAdversarialTrainer, ImageBatches
from statformer.robust.starts import CarriedStart

TRAIN, HELD_OUT = images(300, seed=1), images(40, seed=2)
SECONDS = ["seconds"]


def trainer(model: nn.Module | None = None, **settings: Any) -> FastAdversarialTrainer:
    settings = {"eps_255": 10.0, "learning_rate": 0.05, **settings}
    return FastAdversarialTrainer(network() if model is None else model, **settings)


def same_bits(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


class Spy:
    """A carried start that notes what it hands out and what it is told to keep."""

    name, stays_in_ball, usual_step, needs_index = "spy", True, 1.0, False

    def __init__(self) -> None:
        self.inner = CarriedStart()
        self.given: list[Tensor] = []
        self.kept: list[Tensor] = []
        self.images: list[Tensor] = []

    def __call__(self, x: Tensor, eps: float, rng: Generator, index: Tensor | None) -> Tensor:
        self.images.append(x)
        self.given.append(self.inner(x, eps, rng, index).clone())
        return self.given[-1]

    def keep(self, delta: Tensor, index: Tensor | None) -> None:
        self.kept.append(delta.clone())
        self.inner.keep(delta, index)

    def state(self) -> dict[str, Tensor]:
        return self.inner.state()

    def load(self, state: dict[str, Tensor]) -> None:
        self.inner.load(state)


def test_every_batch_stays_in_the_ball_and_starts_where_the_last_ended() -> None:
    spy = Spy()
    trainer(start=spy).fit(TRAIN, validation=HELD_OUT, epochs=2)
    assert [len(x) for x in spy.images] == [128, 128, 44] * 2
    for x, delta in zip(spy.images, spy.kept, strict=True):
        assert delta.abs().max() <= 10 / 255 + 1e-6
        assert (x + delta).min() >= -1e-6
        assert (x + delta).max() <= 1 + 1e-6
    # Bit by bit, within an epoch, after the smaller last batch, and across epochs.
    assert torch.equal(spy.given[1], spy.kept[0])
    assert torch.equal(spy.given[2], spy.kept[1][:44])
    assert torch.equal(spy.given[3], torch.cat([spy.kept[2], spy.kept[1][44:]]))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"regulariser": "agr", "averaging": 0.9, "alarm": "rollback"},
        {"guidance": "literal"},
        {"start": "carried-per-image", "relaxation": "sls"},
        {"start": "noise", "regulariser": None, "relaxation": None, "schedule": "drops"},
    ],
    ids=["default", "agr", "literal", "per image", "n-fgsm"],
)
def test_a_resumed_run_ends_in_the_same_bits(settings: dict[str, Any], tmp_path: Path) -> None:
    whole = trainer(**settings).fit(TRAIN, validation=HELD_OUT, epochs=3)

    class Killed(Exception):
        """Stands for a machine that goes away."""

    def kill(progress: Any) -> None:
        if progress.event == "evaluation" and progress.step > progress.n_steps // 3:
            raise Killed

    interrupted = trainer(checkpoints=tmp_path, callback=kill, **settings)
    with pytest.raises(Killed):
        interrupted.fit(TRAIN, validation=HELD_OUT, epochs=3)
    other = network(seed=9)  # whose weights do not matter
    resumed = trainer(other, checkpoints=tmp_path, **settings)
    resumed.fit(TRAIN, validation=HELD_OUT, epochs=3, resume=True)
    assert same_bits(resumed.final_state_, whole.final_state_)
    assert same_bits(resumed.model.state_dict(), whole.model.state_dict())
    pd.testing.assert_frame_equal(
        resumed.history_.drop(columns=SECONDS), whole.history_.drop(columns=SECONDS)
    )
    pd.testing.assert_frame_equal(resumed.classes_, whole.classes_)
    assert not same_bits(other.state_dict(), network(seed=9).state_dict())
    assert not list(tmp_path.glob("*.pt"))


def test_a_seed_decides_a_run_and_global_state_does_not() -> None:
    loader = DataLoader(TensorDataset(*TRAIN), batch_size=100, shuffle=True)
    states = []
    for seed, disturb in ((0, 1), (0, 2), (1, 1)):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(disturb)
            run = trainer(
                nn.Sequential(network(), nn.Dropout(0.1)),
                start="uniform",
                generator=Generator().manual_seed(seed),
            )
            states.append(run.fit(loader, epochs=1).final_state_)
    assert same_bits(states[0], states[1])
    assert not same_bits(states[0], states[2])


def test_a_tenth_is_held_out_and_not_trained_on() -> None:
    x, y = images(400, seed=3, shares=(0.6, 0.2, 0.15, 0.05))
    spy = Spy()
    run = trainer(start=spy).fit((x, y), epochs=1)
    assert sum(len(batch) for batch in spy.images) == 360
    per_class = run.classes_.set_index("label")["n_held_out"]
    assert per_class.sum() == 40
    shares = torch.bincount(y) / 10
    assert ((torch.tensor(per_class.to_list()) - shares).abs() <= 1).all()
    trained = {tuple(image.flatten().tolist()) for batch in spy.images for image in batch}
    assert len(trained) == 360  # no image twice
    loader = DataLoader(TensorDataset(x, y), batch_size=90)
    by_loader = trainer().fit(loader, epochs=1)
    assert by_loader.classes_["n_held_out"].sum() == 40


def test_the_tables_have_a_line_per_epoch_and_class() -> None:
    run = trainer().fit(TRAIN, validation=HELD_OUT, epochs=2)
    assert run.history_["epoch"].tolist() == [0, 1]
    assert run.classes_[["epoch", "label"]].to_numpy().tolist() == [
        [epoch, label] for epoch in range(2) for label in range(N_CLASSES)
    ]
    last = run.classes_[run.classes_["epoch"] == 1]
    weights = last["n_held_out"] / last["n_held_out"].sum()
    assert (weights * last["robust"]).sum() == pytest.approx(run.history_["robust"].iloc[1])
    assert last["robust"].min() == run.history_["robust_worst"].iloc[1]
    assert run.history_["robust"].idxmax() == run.best_epoch_
    assert (run.classes_["train_clean"].between(0, 1)).all()


def test_the_best_weights_are_kept_and_the_last_are_at_hand() -> None:
    # A rate this large at the end undoes what was learnt before.
    run = trainer(schedule="constant", learning_rate=0.3, alarm=None)
    run.fit(TRAIN, validation=HELD_OUT, epochs=4)
    is_last = run.best_epoch_ == 3
    assert same_bits(run.model.state_dict(), run.final_state_) == is_last
    assert not is_last, "choose settings under which the last epoch is not the best"


def test_hard_labels_without_regulariser_are_plain_fgsm() -> None:
    """One batch, one step, against the textbook's lines."""
    x, y = TRAIN[0][:100], TRAIN[1][:100]
    eps, rate = 10 / 255, 0.05
    run = trainer(
        start="zero",
        regulariser=None,
        relaxation=None,
        schedule="constant",
        optimizer=lambda p: torch.optim.SGD(p, lr=1.0),
        learning_rate=rate,
    ).fit(ImageBatches(x, y, shuffle=False), validation=HELD_OUT, epochs=1)
    model = network().train()
    moved = x.clone().requires_grad_()
    loss = nn.functional.cross_entropy(model(moved), y)
    (gradient,) = torch.autograd.grad(loss, moved)
    adversarial = (x + eps * gradient.sign()).clamp(0, 1)
    loss = nn.functional.cross_entropy(model(adversarial), y)
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    for (name, before), slope in zip(model.named_parameters(), gradients, strict=True):
        assert torch.allclose(run.final_state_[name], before - rate * slope, atol=1e-6), name


def test_a_new_run_does_not_overwrite_an_old_one(tmp_path: Path) -> None:
    trainer(checkpoints=tmp_path).fit(TRAIN, validation=HELD_OUT, epochs=1)
    with pytest.raises(CheckpointError, match="resume=True or another folder"):
        trainer(checkpoints=tmp_path).fit(TRAIN, validation=HELD_OUT, epochs=1)
    with pytest.raises(CheckpointError, match=r"strength=2.0, and the checkpoint has 1.0"):
        trainer(checkpoints=tmp_path, strength=2.0).fit(
            TRAIN, validation=HELD_OUT, epochs=1, resume=True
        )
    with pytest.raises(CheckpointError, match="n_images=100, and the checkpoint has 300"):
        trainer(checkpoints=tmp_path).fit(
            (TRAIN[0][:100], TRAIN[1][:100]), validation=HELD_OUT, epochs=1, resume=True
        )
    with pytest.raises(CheckpointError, match="another optimizer than Adam"):
        trainer(checkpoints=tmp_path, optimizer=torch.optim.Adam).fit(
            TRAIN, validation=HELD_OUT, epochs=1, resume=True
        )
    with pytest.raises(CheckpointError, match="another network"):
        trainer(network(width=5), checkpoints=tmp_path).fit(
            TRAIN, validation=HELD_OUT, epochs=1, resume=True
        )
    with pytest.raises(CheckpointError, match="no checkpoint"):
        trainer(checkpoints=tmp_path / "none").fit(TRAIN, epochs=1, resume=True)


def test_a_checkpoint_of_another_kind_is_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, Checkpoint(1, {"weight": torch.zeros(2)}, {"seed": 0}))
    with pytest.raises(CheckpointError, match=r"lacks alarm, best_epoch.*another folder"):
        trainer(checkpoints=tmp_path).fit(TRAIN, validation=HELD_OUT, epochs=1, resume=True)


def test_a_folder_that_cannot_be_written_is_met_before_training(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    spy = Spy()
    with pytest.raises(OSError, match="file"):
        trainer(start=spy, checkpoints=tmp_path / "file" / "run").fit(TRAIN, epochs=1)
    assert not spy.images


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        (TRAIN[0] * 2 - 1, TRAIN[1], "normalisation into the model"),
        ((TRAIN[0] * 255).byte(), TRAIN[1], r"x.float\(\) / 255"),
        (TRAIN[0], TRAIN[1] + 1, "labels from 1 to 4 and the model 4 logits"),
        (TRAIN[0], TRAIN[1].float(), "whole numbers"),
        (TRAIN[0].where(TRAIN[0] < 0.99, torch.nan), TRAIN[1], "values from nan"),
    ],
    ids=["normalised", "uint8", "labels", "float labels", "nan"],
)
def test_wrong_data_are_refused(x: Tensor, y: Tensor, words: str) -> None:
    loader = DataLoader(TensorDataset(x, y), batch_size=100)
    with pytest.raises(ValueError, match=words):
        trainer().fit(loader, validation=HELD_OUT, epochs=1)


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        (255 * HELD_OUT[0], HELD_OUT[1], "pass images in"),
        (HELD_OUT[0] * torch.nan, HELD_OUT[1], "values from nan"),
        (HELD_OUT[0], HELD_OUT[1] - 1, "labels from -1 to 2"),
        (HELD_OUT[0], HELD_OUT[1] + 0.5, "whole numbers"),
    ],
    ids=["0 to 255", "nan", "labels", "float labels"],
)
def test_wrong_held_out_images_are_refused(x: Tensor, y: Tensor, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        trainer().fit(TRAIN, validation=(x, y), epochs=1)
    loader = DataLoader(TensorDataset(x, y), batch_size=20)
    with pytest.raises(ValueError, match=words):
        trainer().fit(TRAIN, validation=loader, epochs=1)


def test_too_few_images_are_refused() -> None:
    with pytest.raises(ValueError, match="train yields no batch"):
        trainer().fit([], validation=HELD_OUT, epochs=1)
    with pytest.raises(ValueError, match="pass at least 2"):
        trainer().fit((TRAIN[0][:1], TRAIN[1][:1]), epochs=1)
    with pytest.raises(ValueError, match="x has no image"):
        trainer().fit((TRAIN[0][:0], TRAIN[1][:0]), epochs=1)


def test_a_model_with_probabilities_is_pointed_out() -> None:
    with pytest.warns(UserWarning, match="look like probabilities"):
        trainer(nn.Sequential(network(), nn.Softmax(1))).fit(TRAIN, validation=HELD_OUT, epochs=1)
    with pytest.raises(ValueError, match="no parameters"):
        trainer(nn.Flatten()).fit(TRAIN, validation=HELD_OUT, epochs=1)


def test_rounding_errors_at_the_edges_are_no_reason() -> None:
    x = TRAIN[0].clone()
    x[0, 0, 0, 0] = -3e-8
    loader = DataLoader(TensorDataset(x, TRAIN[1]), batch_size=100)
    trainer().fit(loader, validation=HELD_OUT, epochs=1)
    x[250, 0, 0, 0] = 1.01  # in a later batch
    with pytest.raises(ValueError, match=r"1\.01"):
        trainer().fit(loader, validation=HELD_OUT, epochs=1)


def test_a_loader_of_unknown_kind_needs_held_out_images() -> None:
    class Unknown:
        def __len__(self) -> int:
            return 1

        def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
            yield TRAIN

    with pytest.raises(TypeError, match="pass a loader of held-out images"):
        trainer().fit(Unknown(), epochs=1)
    assert len(trainer().fit(Unknown(), validation=HELD_OUT, epochs=1).history_) == 1
    sampler = WeightedRandomSampler([1.0] * 300, 300)  # which parts of the data cannot keep
    loader = DataLoader(TensorDataset(*TRAIN), batch_size=100, sampler=sampler)
    with pytest.raises(TypeError, match="without a sampler of its own"):
        trainer().fit(loader, epochs=1)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"regulariser": "CWR"}, "regulariser='CWR': pass one of 'cwr', 'agr'"),
        ({"eps_255": 0.0}, "eps_255=0.0: pass a positive"),
        ({"n_steps": 0}, "n_steps=0"),
        ({"averaging": 1.0}, "averaging=1.0"),
        ({"guidance": "literal", "relaxation": "sls"}, "guidance='literal' with relaxation='sls'"),
        ({"schedule": "cosine"}, "schedule='cosine'"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        trainer(**settings)


def test_a_budget_in_other_units_is_pointed_out() -> None:
    with pytest.warns(UserWarning, match=r"did you mean 8\.?"):
        trainer(eps_255=8 / 255)
    with pytest.warns(UserWarning, match="outside the usual"):
        trainer(eps_255=200.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trainer(eps_255=76.5)


def test_a_loss_that_is_no_number_stops_the_run() -> None:
    with pytest.raises(FloatingPointError, match="lower learning_rate"):
        trainer(learning_rate=1e30, schedule="constant").fit(TRAIN, validation=HELD_OUT, epochs=1)


def test_bfloat16_and_channels_last_train_too() -> None:
    run = trainer(precision="bfloat16", channels_last=True)
    history = run.fit(TRAIN, validation=HELD_OUT, epochs=2).history_
    assert history["loss"].iloc[1] < history["loss"].iloc[0]
    assert all(parameter.dtype == torch.float32 for parameter in run.model.parameters())
    # It did compute with fewer digits: close to float32, and not the same.
    plain = trainer().fit(TRAIN, validation=HELD_OUT, epochs=2).history_
    assert history["loss"].to_list() == pytest.approx(plain["loss"].to_list(), rel=0.05)
    assert history["loss"].to_list() != pytest.approx(plain["loss"].to_list(), rel=1e-5)


def test_progress_is_heard() -> None:
    heard = []
    trainer(callback=lambda p: heard.append((p.event, p.step, p.n_steps))).fit(
        TRAIN, validation=HELD_OUT, epochs=2
    )
    assert heard == [("start", 0, 6), ("evaluation", 3, 6), ("evaluation", 6, 6), ("end", 6, 6)]
