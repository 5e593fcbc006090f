"""Accuracies class by class: counters that unbalanced data do not bend, and what they say.

Axes: n images, c classes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

__all__ = ["ClassCounts", "Spread", "class_accuracies", "spread"]


class Spread(NamedTuple):
    """How far apart the classes are: largest minus least, standard deviation, the least."""

    range: float
    std: float
    worst: float


def spread(accuracies: Float[Tensor, " c"] | Float[np.ndarray, " c"]) -> Spread:
    """The spread of one accuracy per class; classes without a sample (NaN) are left out.

    The standard deviation is over the classes (denominator c). The paper's own statistic of
    disparity was not found. Raises ValueError where no class has a sample.
    """
    known = np.asarray(accuracies, dtype=np.float64)
    known = known[~np.isnan(known)]
    if not len(known):
        raise ValueError("accuracies are all NaN; count at least one image")
    return Spread(float(np.ptp(known)), float(known.std()), float(known.min()))


def class_accuracies(
    correct: Bool[Tensor, " n"], y: Int[Tensor, " n"], n_classes: int
) -> Float[Tensor, " c"]:
    """The share of each class that is correct, NaN for a class without an image."""
    counts = ClassCounts(n_classes, y.device)
    counts.add(y, correct, correct)
    return counts.clean


class ClassCounts:
    """Correct predictions of each class on clean and on adversarial images.

    accuracy of class k = correct in k / images of k.

    The released code divides by n / c instead, which is right for balanced classes only. Counts
    are kept in float64 on the device, so adding does not wait for it.
    """

    def __init__(self, n_classes: int, device: torch.device | str = "cpu") -> None:
        self._counts = torch.zeros(4, n_classes, dtype=torch.float64, device=device)

    def add(
        self,
        y: Int[Tensor, " n"],
        clean_correct: Bool[Tensor, " n"] | None,
        robust_correct: Bool[Tensor, " n"] | None,
    ) -> None:
        """Count a batch; None for what was not looked at."""
        for place, correct in ((0, clean_correct), (2, robust_correct)):
            if correct is not None:
                one = self._counts.new_ones(len(y))
                self._counts[place].index_add_(0, y, one)
                self._counts[place + 1].index_add_(0, y, correct.to(one.dtype))

    @property
    def clean(self) -> Float[Tensor, " c"]:
        """Clean accuracy of each class, NaN where none was seen."""
        return self._counts[1] / self._counts[0]

    @property
    def robust(self) -> Float[Tensor, " c"]:
        """Accuracy of each class on adversarial images, NaN where none was seen."""
        return self._counts[3] / self._counts[2]

    @property
    def clean_mean(self) -> float:
        """Clean accuracy over all images."""
        return float(self._counts[1].sum() / self._counts[0].sum())

    @property
    def robust_mean(self) -> float:
        """Accuracy over all adversarial images."""
        return float(self._counts[3].sum() / self._counts[2].sum())

    @property
    def n_images(self) -> Int[Tensor, " c"]:
        """Images counted of each class."""
        return torch.maximum(self._counts[0], self._counts[2]).long()

    @property
    def misaligned(self) -> Bool[Tensor, " c"]:
        """Classes on different sides of the two means: sign(c_k - c) is not sign(r_k - r)."""
        clean_side = torch.sign(self.clean - self.clean_mean)
        robust_side = torch.sign(self.robust - self.robust_mean)
        return (clean_side != robust_side) & ~clean_side.isnan() & ~robust_side.isnan()
