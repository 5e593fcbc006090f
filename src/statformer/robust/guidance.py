"""What the class accuracies of one epoch decide in the next: label weights, class weights, groups.

Axes: c classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from statformer.objectives.adversarial import (
    RELAXATION,
    accuracy_relaxation,
    class_groups,
    class_weighted_pairing,
    group_pairing,
)
from statformer.robust.classes import ClassCounts

__all__ = ["ClassGuide", "Guidance", "Regulariser", "Relaxation"]

Regulariser = Literal["cwr", "agr", "uniform"]
Relaxation = Literal["sklr", "sls"]
Guidance = Literal["epoch", "literal"]


@dataclass
class ClassGuide:
    """gamma of each class, and the pairing of clean and adversarial logits.

    regulariser  "cwr": classes weighted by gamma under "sklr" and by the clean accuracy otherwise,
                 as in the code, so the order of the classes is reversed between the two; "agr":
                 four groups of equal weight; "uniform": cwr with all weights 1; None
    relaxation   "sklr": gamma from last epoch's clean accuracy; "sls": gamma = 0.9 for all classes;
                 None: gamma = 1, hard labels
    guidance     "epoch": gamma is worked out once per epoch. "literal": the released code replaces
                 the accuracies by gamma on every batch, so that gamma is worked out from gamma and
                 ends in the cycle 0.3, 0.9, 0.3, ... whatever the accuracies were

    In the first epoch (`is_warm_up`) no accuracy is known: gamma = 0.9 where labels are relaxed.
    """

    n_classes: int
    regulariser: Regulariser | None
    relaxation: Relaxation | None
    guidance: Guidance = "epoch"
    device: torch.device | str = "cpu"

    def __post_init__(self) -> None:
        gamma = 1.0 if self.relaxation is None else RELAXATION[1]
        self.gamma = torch.full((self.n_classes,), gamma, device=self.device)
        self.weights = torch.ones(self.n_classes, device=self.device)
        self.groups = torch.full((self.n_classes,), -1, device=self.device)
        self.factor: Tensor | None = None
        self.is_warm_up = True

    @property
    def needs_clean(self) -> bool:
        """Whether clean images go through the network in training."""
        return self.regulariser is not None or self.relaxation == "sklr"

    def begin_epoch(self, last: ClassCounts) -> None:
        """Hear the training accuracies of the epoch before."""
        self.is_warm_up = False
        if not self.needs_clean:
            return
        accuracy = last.clean.float()
        if self.regulariser == "agr":
            means = last.clean_mean, last.robust_mean
            self.groups = class_groups(last.clean, last.robust, *means)
        if self.relaxation == "sklr":
            self.factor = accuracy
            self.gamma = accuracy_relaxation(accuracy)
        if self.regulariser == "cwr":
            self.weights = self.gamma if self.relaxation == "sklr" else accuracy.nan_to_num(0.0)

    def begin_batch(self) -> None:
        """In literal mode, work gamma out from itself; otherwise nothing changes in an epoch."""
        if self.guidance == "literal" and self.factor is not None:
            self.factor = self.gamma = accuracy_relaxation(self.factor)
            if self.regulariser == "cwr":
                self.weights = self.gamma

    def pairing(self, clean: Tensor, adversarial: Tensor, y: Tensor) -> Tensor:
        """The regulariser of a batch, "n c" logits on both sides."""
        if self.regulariser == "agr":
            return group_pairing(clean, adversarial, y, self.groups)
        return class_weighted_pairing(clean, adversarial, y, self.weights)

    def state(self) -> dict[str, Tensor]:
        """For a checkpoint, written between epochs."""
        state = {"gamma": self.gamma, "weights": self.weights, "groups": self.groups}
        if self.factor is not None:
            state["factor"] = self.factor
        return {**state, "is_warm_up": torch.tensor(self.is_warm_up)}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state` returned."""
        here = {name: tensor.to(self.device) for name, tensor in state.items()}
        self.gamma, self.weights, self.groups = here["gamma"], here["weights"], here["groups"]
        self.factor = here.get("factor")
        self.is_warm_up = bool(state["is_warm_up"])
