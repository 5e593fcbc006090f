"""Everything that changes while a run goes on, and its way into a checkpoint and back.

Between epochs the state is whole; all randomness of an epoch is a function of the seed and the
epoch, so a run that was killed and resumed ends in the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from statformer.pretraining.checkpoint import (
    Checkpoint,
    CheckpointError,
    load_optimizer,
    optimizer_state,
    save_checkpoint,
)
from statformer.robust.alarm import OverfittingAlarm
from statformer.robust.batches import ImageBatches
from statformer.robust.guidance import ClassGuide
from statformer.robust.settings import Settings
from statformer.robust.starts import Start

__all__ = ["Moment", "RunState", "data_facts", "load_run", "save_run"]


class Moment(NamedTuple):
    """What training changes: tensors by "part.name", and the optimizer's plain values."""

    tensors: Mapping[str, Tensor]
    optimizer: Mapping[str, Any]


@dataclass
class RunState:
    """A run between two epochs; `history` and `classes` have a row per epoch.

    data   what tells the training images from others: see `data_facts`
    """

    model: nn.Module
    averaged: nn.Module | None
    optimizer: torch.optim.Optimizer
    start: Start
    guide: ClassGuide
    seed: int
    epochs: int
    step_255: float
    data: Mapping[str, int] = field(default_factory=dict)
    alarm: OverfittingAlarm = field(default_factory=OverfittingAlarm)
    epoch: int = 0
    n_rollbacks: int = 0
    stopped: bool = False
    message: str | None = None
    best_epoch: int = -1
    best_score: float = -math.inf
    best: dict[str, Tensor] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    classes: list[dict[str, Any]] = field(default_factory=list)

    @property
    def looked_at(self) -> nn.Module:
        """The network that is measured and kept: the averaged one where there is one."""
        return self.model if self.averaged is None else self.averaged

    def moment(self) -> Moment:
        """A copy of what training changes."""
        optimizer, values = optimizer_state(self.optimizer)
        parts = {
            "model": self.model.state_dict(),
            "averaged": {} if self.averaged is None else self.averaged.state_dict(),
            "optimizer": optimizer,
            "start": self.start.state(),
            "guide": self.guide.state(),
        }
        tensors = {
            f"{part}.{name}": tensor.detach().clone()
            for part, named in parts.items()
            for name, tensor in named.items()
        }
        return Moment(tensors, values)

    def go_back(self, moment: Moment) -> None:
        """Put a moment back."""

        def part(name: str) -> dict[str, Tensor]:
            start = name + "."
            return {
                key[len(start) :]: tensor.clone()
                for key, tensor in moment.tensors.items()
                if key.startswith(start)
            }

        self.model.load_state_dict(part("model"))
        if self.averaged is not None:
            self.averaged.load_state_dict(part("averaged"))
        load_optimizer(self.optimizer, part("optimizer"), moment.optimizer)
        device = next(self.model.parameters()).device
        self.start.load({name: tensor.to(device) for name, tensor in part("start").items()})
        self.guide.load(part("guide"))

    def keep_if_best(self, score: float) -> None:
        """Keep the weights where no earlier epoch had this held-out accuracy."""
        if score > self.best_score:
            self.best_score, self.best_epoch = score, self.epoch
            self.best = {
                name: tensor.detach().clone()
                for name, tensor in self.looked_at.state_dict().items()
            }


def data_facts(train: Any) -> dict[str, int]:
    """Of `ImageBatches` images, batch size and the seed of their order, else number of batches.

    Raises TypeError for a loader without a length.
    """
    if isinstance(train, ImageBatches):
        return {"n_images": len(train.x), "batch_size": train.batch_size, "order_seed": train.seed}
    if not hasattr(train, "__len__"):
        raise TypeError(
            f"train is a {type(train).__name__} without a length, and the schedule needs the "
            "number of batches; pass a DataLoader or give it __len__"
        )
    return {"n_batches": len(train)}


_PLAIN = (
    "seed",
    "epochs",
    "epoch",
    "step_255",
    "n_rollbacks",
    "stopped",
    "message",
    "best_epoch",
    "best_score",
    "history",
    "classes",
)


def save_run(run: RunState, folder: Path, settings: Settings) -> None:
    """Write the run into `folder`, whole or not at all; the newest two epochs are kept."""
    moment = run.moment()
    tensors = {**moment.tensors, **{f"best.{name}": one for name, one in run.best.items()}}
    values = {name: getattr(run, name) for name in _PLAIN}
    values |= {
        "settings": settings.as_dict(),
        "data": dict(run.data),
        "alarm": run.alarm.state(),
        "optimizer": moment.optimizer,
    }
    save_checkpoint(folder, Checkpoint(run.epoch, tensors, values))


def load_run(run: RunState, saved: Checkpoint, settings: Settings) -> None:
    """Go on from a checkpoint.

    Raises CheckpointError where it is no checkpoint of such a run, or where the settings, the
    number of epochs, the images, the optimizer or the network are others.
    """
    values = saved.values
    if missing := {*_PLAIN, "settings", "data", "alarm", "optimizer"} - values.keys():
        raise CheckpointError(
            f"the checkpoint lacks {', '.join(sorted(missing))}: it is not of a run like this one; "
            "start in another folder"
        )
    asked = {**settings.as_dict(), "epochs": run.epochs, **run.data}
    before = {**values["settings"], "epochs": values["epochs"], **values["data"]}
    other = [name for name in asked if asked[name] != before.get(name)]
    if other:
        name = other[0]
        raise CheckpointError(
            f"{name}={asked[name]!r}, and the checkpoint has {before.get(name)!r}; resume with the "
            "settings that began the run, or start another in another folder"
        )
    now, then = (
        [sorted(group) for group in groups]
        for groups in (run.optimizer.param_groups, values["optimizer"]["param_groups"])
    )
    if now != then:
        raise CheckpointError(
            f"the checkpoint is of another optimizer than {type(run.optimizer).__name__}; resume "
            "with the one that began the run"
        )
    for name in _PLAIN:
        setattr(run, name, values[name])
    run.alarm.load(values["alarm"])
    try:
        run.go_back(Moment(saved.tensors, values["optimizer"]))
    except RuntimeError as error:
        raise CheckpointError(
            f"the checkpoint is of another network ({str(error).splitlines()[-1].strip()}); resume "
            "with the network that began the run"
        ) from error
    run.best = saved.part("best")
