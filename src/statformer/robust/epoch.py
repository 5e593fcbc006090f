"""One pass over the training images, and one look at those held out."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Generator, Tensor, nn

from statformer.robust.classes import ClassCounts
from statformer.robust.held_out import HeldOut, look
from statformer.robust.run_state import RunState
from statformer.robust.schedule import learning_rate
from statformer.robust.training_step import TrainingStep, check_labels

__all__ = ["Epoch", "seeded"]

Heard = Callable[[str, int, int, Mapping[str, float]], None]
LOG_EVERY = 50


class Epoch:
    """The passes of a run; `heard` is called with (event, step, batches per epoch, values)."""

    def __init__(self, run: RunState, step: TrainingStep, train: Any, heard: Heard) -> None:
        self.run, self.step, self.loader, self.heard = run, step, train, heard
        self.n_batches = len(train)

    def train(self) -> tuple[ClassCounts, dict[str, float]]:
        """Train on every batch; the training counts, and loss, rate, step and seconds."""
        run, step, device = self.run, self.step, self.step.device
        seed = (run.seed * 1_000_003 + run.epoch) % 2**63
        counts = ClassCounts(run.guide.n_classes, device)
        rng = Generator(device).manual_seed(seed)
        total, rate = torch.zeros((), device=device), 0.0
        run.model.train()
        began, n = time.perf_counter(), 0
        with seeded(seed, device):
            self._begin(seed)
            for batch in self.loader:
                place = min(run.epoch * self.n_batches + n, run.epochs * self.n_batches - 1)
                rate = learning_rate(
                    step.settings.schedule,
                    step.settings.learning_rate,
                    place,
                    run.epochs * self.n_batches,
                )
                for group in run.optimizer.param_groups:
                    group["lr"] = rate
                if batch[1].device.type == "cpu":
                    check_labels(batch[1], run.guide.n_classes)
                loss = step.loss(batch, run.guide, counts, rng, run.step_255 / 255)
                run.optimizer.zero_grad(set_to_none=True)
                torch.autograd.backward(loss)
                run.optimizer.step()
                self._average(place)
                total += loss.detach()
                n += 1
                if n % LOG_EVERY == 0:
                    self.heard("step", place + 1, self.n_batches, {"loss": float(total) / n})
        if not n:
            raise ValueError("train yields no batch; pass at least one image")
        step.check_range()
        mean = float(total) / n
        if not math.isfinite(mean):
            raise FloatingPointError(
                f"the loss of epoch {run.epoch} is {mean}; lower "
                f"learning_rate={step.settings.learning_rate:g}"
            )
        seconds = time.perf_counter() - began
        facts = {"loss": mean, "learning_rate": rate, "step_255": run.step_255, "seconds": seconds}
        return counts, facts

    def _begin(self, seed: int) -> None:
        """Tell the loader the epoch, so that its order is a function of it."""
        if hasattr(self.loader, "set_epoch"):
            self.loader.set_epoch(self.run.epoch)
        generator = getattr(self.loader, "generator", None)
        if isinstance(generator, Generator):
            generator.manual_seed(seed)

    @torch.no_grad()
    def _average(self, place: int) -> None:
        """w_avg <- k w_avg + (1 - k) w, k = min(decay, (1 + t) / (10 + t)) after t steps.

        So the start is forgotten early on. Batch statistics likewise; whole numbers are copied.
        """
        averaged, decay = self.run.averaged, self.step.settings.averaging
        if averaged is None or decay is None:
            return
        share = 1.0 - min(decay, (1 + place) / (10 + place))
        kept, now = averaged.state_dict(), self.run.model.state_dict()
        for name, tensor in kept.items():
            if tensor.is_floating_point():
                tensor.lerp_(now[name], share)
            else:
                tensor.copy_(now[name])

    def look(self, validation: Iterable[Any]) -> HeldOut:
        """Accuracies of the network that is kept, in eval mode; the same starts every epoch."""
        step, network = self.step, self.run.looked_at
        rng = Generator(step.device).manual_seed(self.run.seed)
        with in_eval_mode(network):
            held_out = look(
                lambda x: step.logits(x, network),
                validation,
                n_classes=self.run.guide.n_classes,
                eps=step.eps,
                rng=rng,
                images=step.images,
                labels=self._labels,
            )
        step.check_range()
        return held_out

    def _labels(self, y: Tensor) -> Tensor:
        """Labels on the device, checked where that does not wait for it."""
        if y.device.type == "cpu":
            check_labels(y, self.run.guide.n_classes)
        return self.step.prepare(y)


@contextmanager
def in_eval_mode(network: nn.Module) -> Iterator[None]:
    """Eval mode inside, the mode it had afterwards."""
    was_training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(was_training)


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Torch's own generators seeded inside, as found after: dropout and loaders know no other."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield
