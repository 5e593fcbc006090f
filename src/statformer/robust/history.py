"""The tables of a run: a line per epoch, and a line per epoch and class.

Axes: c classes. A number of a class without an image is NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from torch import Tensor

from statformer.robust.classes import ClassCounts, spread
from statformer.robust.held_out import HeldOut

__all__ = ["class_columns", "class_table", "epoch_facts"]


def epoch_facts(epoch: int, training: ClassCounts, held_out: HeldOut) -> dict[str, Any]:
    """Accuracies of an epoch.

    train_clean, train_robust  of the batches as they were trained on, in training mode
    clean, robust              held out, eval mode; robust is under PGD-10
    single_step                held out, under one step of eps from zero
    robust_worst, robust_std, robust_range, clean_worst   over the classes, held out
    n_misaligned               classes on different sides of the two held-out means
    """
    counts = held_out.counts
    robust, clean = spread(counts.robust.cpu()), spread(counts.clean.cpu())
    return {
        "epoch": epoch,
        "train_clean": training.clean_mean,
        "train_robust": training.robust_mean,
        "clean": counts.clean_mean,
        "robust": counts.robust_mean,
        "single_step": held_out.signs.single_step,
        "clean_worst": clean.worst,
        "robust_worst": robust.worst,
        "robust_std": robust.std,
        "robust_range": robust.range,
        "n_misaligned": int(counts.misaligned.sum()),
    }


def class_columns(
    epoch: int, training: ClassCounts, held_out: HeldOut, gamma: Tensor
) -> dict[str, Any]:
    """One epoch of the table of classes, as columns that JSON can hold.

    gamma is the label weight at the end of the epoch.
    """
    counts = held_out.counts
    return {
        "epoch": [epoch] * len(gamma),
        "label": list(range(len(gamma))),
        "gamma": gamma.double().tolist(),
        "train_clean": training.clean.tolist(),
        "train_robust": training.robust.tolist(),
        "clean": counts.clean.tolist(),
        "robust": counts.robust.tolist(),
        "n_held_out": counts.n_images.tolist(),
    }


def class_table(epochs: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """All epochs below each other."""
    return pd.concat([pd.DataFrame(columns) for columns in epochs], ignore_index=True)
