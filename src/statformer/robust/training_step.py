"""One batch of fast adversarial training: an attack, a loss, and counts of what was right.

Axes: n images, k channels, h by w pixels, c classes.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn

from statformer.objectives.adversarial import (
    relaxed_targets,
    soft_cross_entropy,
    start_smoothing,
)
from statformer.robust.attack import pgd, single_step
from statformer.robust.batches import as_labels
from statformer.robust.classes import ClassCounts
from statformer.robust.eval_mode import look_like_probabilities
from statformer.robust.guidance import ClassGuide
from statformer.robust.settings import Settings
from statformer.robust.starts import Start

__all__ = ["TrainingStep", "check_labels"]

TOLERANCE = 1e-6  # images that were resized or normalised back leave [0, 1] by a rounding error


class TrainingStep:
    """The losses of batches for one network, under one set of settings."""

    def __init__(
        self, model: nn.Module, settings: Settings, start: Start, device: torch.device
    ) -> None:
        self.model, self.settings, self.start, self.device = model, settings, start, device
        self.eps = settings.eps_255 / 255
        self._extremes = torch.tensor([torch.inf, -torch.inf], device=device)

    def logits(self, x: Tensor, model: nn.Module | None = None) -> Float[Tensor, "n c"]:
        """f(x) in float32, under autocast where asked for."""
        network = self.model if model is None else model
        with torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.settings.precision == "bfloat16"
        ):
            logits: Tensor = network(x)
        return logits.float()

    def prepare(self, tensor: Tensor) -> Tensor:
        """Labels or images on the device; images as float32 in the memory format."""
        here = tensor.to(self.device, non_blocking=True)
        if not here.is_floating_point():
            return here.long()
        here = here.float()
        if self.settings.channels_last and here.ndim == 4:
            here = here.contiguous(memory_format=torch.channels_last)
        return here

    def images(self, x: Tensor) -> Tensor:
        """Images checked for their type and noted for `check_range`; rounding errors cut off."""
        if not x.is_floating_point():
            raise ValueError(
                f"x is {x.dtype}: pass float images in [0, 1], for example x.float() / 255"
            )
        x = self.prepare(x)
        # Compared on the device and read once per epoch: reading would wait for every batch.
        self._extremes = torch.stack(
            [
                torch.minimum(self._extremes[0], x.detach().amin()),
                torch.maximum(self._extremes[1], x.detach().amax()),
            ]
        )
        return x.clamp(0.0, 1.0)

    def check_range(self) -> None:
        """Raise ValueError where an image so far was outside [0, 1] by more than 1e-6."""
        low, high = self._extremes.tolist()
        if not (low >= -TOLERANCE and high <= 1 + TOLERANCE):  # NaN is neither
            raise ValueError(
                f"x has values from {low:.4g} to {high:.4g}; pass images in [0, 1] and put the "
                "normalisation into the model, as its first layer"
            )

    @torch.no_grad()
    def count_classes(self, loader: Iterable[Any]) -> int:
        """The number of classes, from the logits of two images; checks images and labels, too."""
        batch = next(iter(loader), None)
        if batch is None:
            raise ValueError("train yields no batch; pass at least one image")
        x, y = self.images(batch[0][:2]), batch[1]
        self.check_range()
        was_training = self.model.training
        self.model.eval()
        logits = self.logits(x)
        self.model.train(was_training)
        if logits.ndim != 2 or logits.shape[1] < 2:
            raise ValueError(
                f"the model returns shape {tuple(logits.shape)} for 2 images; it must return "
                "logits (n, c) of at least two classes"
            )
        check_labels(y, logits.shape[1])
        if look_like_probabilities(logits):
            warnings.warn(
                "the outputs of the model look like probabilities, and the loss takes them for "
                "logits; leave the softmax out of the model",
                stacklevel=4,
            )
        return logits.shape[1]

    def loss(
        self,
        batch: tuple[Tensor, ...],
        guide: ClassGuide,
        counts: ClassCounts,
        rng: Generator,
        step: float,
    ) -> Float[Tensor, ""]:
        """The loss of a batch (x, y) or (x, y, index); `counts` hears which images were right.

        The network is in training mode: its batch statistics see x + d0, x + d, and x where the
        guide needs clean images, in this order, as in the released code.
        """
        settings = self.settings
        x, y = self.images(batch[0]), self.prepare(batch[1])
        index = self.prepare(batch[2]) if self.start.needs_index and len(batch) > 2 else None
        guide.begin_batch()
        targets = relaxed_targets(y, guide.gamma)
        start = self.start(x, self.eps, rng, index)
        ball = self.eps if self.start.stays_in_ball else None
        pairs = settings.regulariser is not None and settings.strength > 0
        at_start = None
        if settings.n_steps == 1:
            smooths = pairs and guide.is_warm_up
            delta, at_start = single_step(
                self.logits, x, targets, start=start, eps=ball, step=step, keep_graph=smooths
            )
        else:
            delta = pgd(
                self.logits,
                x,
                targets,
                start=start,
                eps=self.eps,
                step=step,
                n_steps=settings.n_steps,
            )
        self.start.keep(delta, index)
        adversarial = self.logits(x + delta)
        loss = soft_cross_entropy(adversarial, targets)
        clean = None
        if guide.needs_clean:
            with torch.set_grad_enabled(pairs and not guide.is_warm_up):
                clean = self.logits(x)
        if pairs and guide.is_warm_up and at_start is not None:
            loss = loss + settings.strength * start_smoothing(at_start, adversarial)
        elif pairs and not guide.is_warm_up and clean is not None:
            loss = loss + settings.strength * guide.pairing(clean, adversarial, y)
        counts.add(y, None if clean is None else clean.argmax(1) == y, adversarial.argmax(1) == y)
        return loss


def check_labels(y: Tensor, n_classes: int) -> None:
    """Raise ValueError where a label is no whole number from 0 to n_classes - 1."""
    y = as_labels(y)
    if int(y.min()) < 0 or int(y.max()) >= n_classes:
        raise ValueError(
            f"y has labels from {int(y.min())} to {int(y.max())} and the model {n_classes} "
            f"logits; pass labels from 0 to {n_classes - 1}"
        )
