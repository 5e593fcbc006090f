"""Fast adversarial training of any torch classifier, guided by its classes (arXiv 2409.17589).

Axes: n images, k channels, h by w pixels, c classes.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Generator, nn

from statformer.pretraining.checkpoint import (
    Checkpoint,
    CheckpointError,
    latest_step,
    load_checkpoint,
)
from statformer.pretraining.loop import Progress
from statformer.robust.alarm import OverfittingWarning, overfitting_message
from statformer.robust.batches import ImageBatches
from statformer.robust.epoch import Epoch, seeded
from statformer.robust.guidance import ClassGuide, Guidance, Regulariser, Relaxation
from statformer.robust.held_out import HeldOut, split
from statformer.robust.history import class_columns, class_table, epoch_facts
from statformer.robust.run_state import Moment, RunState, data_facts, load_run, save_run
from statformer.robust.schedule import Schedule
from statformer.robust.settings import Action, MakeOptimizer, Precision, Settings
from statformer.robust.starts import Start, make_start
from statformer.robust.training_step import TrainingStep, check_labels

__all__ = ["FastAdversarialTrainer"]

MOST_ROLLBACKS, SHORTER = 3, 0.75


class FastAdversarialTrainer:
    """Train a classifier against perturbations of at most eps per pixel, one gradient step each.

    Per batch: d0 from `start`, d = clip(d0 + step sign(g)), and a step of SGD on

        soft cross-entropy(f(x + d), t) + strength * pairing(f(x), f(x + d)),

    t and pairing from the class accuracies of the epoch before (`ClassGuide`). In the first epoch,
    which knows none, the pairing is (1/n) sum |f(x + d0) - f(x + d)|^2.

    model          images "n k h w" in [0, 1] -> logits "n c"; it normalises inside. It is trained
                   in place, where it lies
    eps_255        the budget in units of 1/255: 8 means 8/255
    step_255       the step, likewise. Default: eps, and 1.25 eps for start="uniform"
    start          "carried" (the paper's), "carried-per-image", "zero" (FGSM), "uniform" (FGSM-RS),
                   "noise" (N-FGSM), or a `Start`
    n_steps        more than 1: PGD of that many steps from the start
    regulariser    "cwr", "agr" (for many classes), "uniform" (cwr with equal weights) or None
    relaxation     "sklr", "sls" or None
    guidance       "epoch", or "literal": what the released code does, see `ClassGuide`
    strength       the regulariser's factor, 1 in the code
    optimizer      parameters -> Optimizer. Default: SGD, momentum 0.9, weight decay 5e-4 (code)
    learning_rate  at the peak of the schedule, 0.1 in the code
    schedule       "onecycle" (ours, as in public benchmarks), "drops" (the code's) or "constant"
    averaging      decay of an exponential average of the weights, which is then what is looked at
                   and kept; None (code) for none
    alarm          at catastrophic overfitting: "stop" the run; "rollback" to the last good epoch
                   and go on with 3/4 of the step, three times at most (ours); "warn"; None
    precision      "bfloat16": forward passes under autocast; weights stay float32
    channels_last  memory format of images and weights
    generator      one draw from it seeds the run; seed 0 where not given
    checkpoints    a folder: the state after each epoch is written there, and `fit(resume=True)`
                   goes on from it, in the same bits where the device's kernels are deterministic
    callback       hears a `Progress` per 50 batches and per epoch, as in pretraining

    After `fit`: `history_` (a DataFrame, a line per epoch), `classes_` (a line per epoch and
    class), `best_epoch_`, `alarm_` (the message, or None), `final_state_` (the last weights);
    the model has the weights of the best epoch.

    Batch normalisation sees three training forwards per batch (x + d0, x + d, x), as in the code.
    Raises ValueError for settings no run could have and warns where eps is outside 0.5 to 128.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        eps_255: float,
        step_255: float | None = None,
        start: str | Start = "carried",
        n_steps: int = 1,
        regulariser: Regulariser | None = "cwr",
        relaxation: Relaxation | None = "sklr",
        guidance: Guidance = "epoch",
        strength: float = 1.0,
        optimizer: MakeOptimizer | None = None,
        learning_rate: float = 0.1,
        schedule: Schedule = "onecycle",
        averaging: float | None = None,
        alarm: Action | None = "stop",
        precision: Precision = "float32",
        channels_last: bool = False,
        generator: Generator | None = None,
        checkpoints: str | Path | None = None,
        callback: Callable[[Progress], None] | None = None,
    ) -> None:
        self.model = model
        self.start = make_start(start)
        self._given_start = start
        self.settings = Settings(
            eps_255=eps_255,
            step_255=self.start.usual_step * eps_255 if step_255 is None else step_255,
            start=self.start.name,
            n_steps=n_steps,
            regulariser=regulariser,
            relaxation=relaxation,
            guidance=guidance,
            strength=strength,
            learning_rate=learning_rate,
            schedule=schedule,
            averaging=averaging,
            alarm=alarm,
            precision=precision,
            channels_last=channels_last,
        )
        self.make_optimizer = optimizer or _sgd
        self.generator = generator or Generator().manual_seed(0)
        self.checkpoints = None if checkpoints is None else Path(checkpoints)
        self.callback = callback

    def fit(
        self,
        train: Any,
        *,
        epochs: int,
        validation: Any = None,
        resume: bool = False,
    ) -> FastAdversarialTrainer:
        """Train for `epochs` epochs; the weights of the best held-out PGD-10 accuracy are kept.

        train       a loader of (x, y), or of (x, y, index), or a pair of arrays (x, y)
        validation  likewise, held-out images. None: a tenth of the training images, at most 1,000,
                    is held out. Test images belong in neither: `evaluate_robustness` sees them once
        resume      go on from the newest checkpoint

        Loaders draw from torch's own generator, seeded per epoch and left as found, or from their
        `generator`; `set_epoch(epoch)` is called where a loader has it. Random numbers from
        elsewhere are not reproduced. Raises ValueError for images outside [0, 1], labels that are
        no class, and a checkpoint in the way (CheckpointError); FloatingPointError where the loss
        is no number.
        """
        if epochs < 1:
            raise ValueError(f"epochs={epochs}: pass at least 1")
        device = next((weight.device for weight in self.model.parameters()), None)
        if device is None:
            raise ValueError("the model has no parameters; pass one that can be trained")
        saved = self._saved(resume)
        self.start = make_start(self._given_start)  # a second fit carries nothing over
        seed = int(torch.randint(2**31, (), generator=self.generator, device=self.generator.device))
        seed = seed if saved is None else saved.values["seed"]
        train, validation = split(train, validation, Generator().manual_seed(seed))
        with seeded(seed, device):
            run = self._run(train, validation, epochs, seed, saved, device)
        self.history_ = pd.DataFrame(run.history)
        self.classes_ = class_table(run.classes)
        self.best_epoch_, self.alarm_ = run.best_epoch, run.message
        self.final_state_ = copy.deepcopy(run.looked_at.state_dict())
        self.model.load_state_dict(run.best)
        return self

    def _run(
        self,
        train: Any,
        validation: Iterable[Any],
        epochs: int,
        seed: int,
        saved: Checkpoint | None,
        device: torch.device,
    ) -> RunState:
        """The run from its start, or from where it was saved, to its end."""
        settings = self.settings
        if settings.channels_last:
            self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        step = TrainingStep(self.model, settings, self.start, device)
        guide = ClassGuide(
            step.count_classes(train),
            settings.regulariser,
            settings.relaxation,
            settings.guidance,
            device,
        )
        for loader in (train, validation):
            if isinstance(loader, ImageBatches):  # once, also where they lie on a GPU
                check_labels(loader.y, guide.n_classes)
        run = RunState(
            model=self.model,
            averaged=None if settings.averaging is None else copy.deepcopy(self.model),
            optimizer=self.make_optimizer(p for p in self.model.parameters() if p.requires_grad),
            start=self.start,
            guide=guide,
            seed=seed,
            epochs=epochs,
            step_255=settings.step_255,
            data=data_facts(train),
        )
        if saved is not None:
            load_run(run, saved, settings)
        self._go(run, step, train, validation)
        return run

    def _saved(self, resume: bool) -> Checkpoint | None:
        """The newest checkpoint where asked to resume; raises where one is in the way."""
        if resume and self.checkpoints is None:
            raise ValueError("resume=True without checkpoints: name the folder of the run")
        if self.checkpoints is None:
            return None
        if resume:
            return load_checkpoint(self.checkpoints)
        if latest_step(self.checkpoints) is not None:
            raise CheckpointError(
                f"{self.checkpoints} holds the checkpoints of an earlier run; pass resume=True or "
                "another folder"
            )
        self.checkpoints.mkdir(parents=True, exist_ok=True)  # not only after the first epoch
        return None

    def _go(self, run: RunState, step: TrainingStep, train: Any, validation: Iterable[Any]) -> None:
        """Epochs until all are done or the alarm stops the run."""
        settings = self.settings
        epoch_of = Epoch(run, step, train, lambda *heard: self._call(run, *heard))
        good = run.moment() if settings.alarm == "rollback" else None
        self._call(run, "start", run.epoch * epoch_of.n_batches, epoch_of.n_batches, {})
        while run.epoch < run.epochs and not run.stopped:
            counts, facts = epoch_of.train()
            held_out = epoch_of.look(validation)
            run.keep_if_best(held_out.counts.robust_mean)
            row = {**epoch_facts(run.epoch, counts, held_out), **facts}
            run.classes.append(class_columns(run.epoch, counts, held_out, run.guide.gamma))
            row["alarm"] = run.alarm.fires(held_out.signs) and settings.alarm is not None
            run.history.append(row)
            run.guide.begin_epoch(counts)
            run.epoch += 1
            if row["alarm"]:
                self._alarm(run, held_out, good)
            elif good is not None:
                good = run.moment()
            if self.checkpoints is not None:
                save_run(run, self.checkpoints, settings)
            shown = {name: row[name] for name in ("clean", "robust", "single_step", "robust_worst")}
            self._call(run, "evaluation", run.epoch * epoch_of.n_batches, epoch_of.n_batches, shown)
        self._call(run, "end", run.epoch * epoch_of.n_batches, epoch_of.n_batches, {})

    def _alarm(self, run: RunState, held_out: HeldOut, good: Moment | None) -> None:
        """Say what happened, and stop or go back."""
        if self.settings.alarm == "warn":
            action = "The run goes on"
        elif good is None or run.n_rollbacks == MOST_ROLLBACKS:
            action, run.stopped = "The run is stopped", True
        else:
            action = f"The run goes back to its last good epoch, with {SHORTER:g} of the step"
        run.message = overfitting_message(
            run.epoch - 1,
            held_out.signs,
            eps_255=self.settings.eps_255,
            step_255=run.step_255,
            start=self.settings.start,
            action=action,
        )
        warnings.warn(run.message, OverfittingWarning, stacklevel=4)
        if good is not None and not run.stopped:
            run.go_back(good)
            run.step_255 *= SHORTER
            run.n_rollbacks += 1

    def _call(
        self, run: RunState, event: str, step: int, per_epoch: int, values: Mapping[str, float]
    ) -> None:
        if self.callback is not None:
            self.callback(Progress(event, step, run.epochs * per_epoch, values))


def _sgd(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """SGD with momentum 0.9 and weight decay 5e-4; the schedule sets its rate."""
    return torch.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=5e-4)
