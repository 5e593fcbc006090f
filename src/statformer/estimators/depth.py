"""Out of its depth: is a table unlike those that the learned layers were trained on?

A table is out of depth where its distance D to the training tables (`proposals.depth`) exceeds
`MARGIN` times the distance that 99.5 % of them keep. The rule and its two numbers are ours, see
`docs/decisions/0011-out-of-depth.md`.

Axes: f features of a table.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from statformer.estimators.base import CONSTRUCTED, Checkpoint
from statformer.proposals.depth import distance, most_unusual, percentile, quantile
from statformer.proposals.table_features import TABLE_FEATURES

if TYPE_CHECKING:
    from statformer.estimators.mixture import AttentionMixture
    from statformer.estimators.problems import Problem

FALLBACKS = ("warn", "constructed", "raise")
LEVEL = 99.5
MARGIN = 1.25


class OutOfDepthWarning(UserWarning):
    """The table is unlike all that the weights were trained on."""


class OutOfDepthError(ValueError):
    """The table is unlike all that the weights were trained on, and fallback="raise"."""


def fathom(model: AttentionMixture, problem: Problem, checkpoint: Checkpoint) -> Checkpoint:
    """Set `model.out_of_depth_`, and choose the weights that answer.

    The percentile is NaN, and nothing is said, where the weights are constructed or a checkpoint
    does not describe its training tables. Otherwise, for a table out of depth, `model.fallback`
    decides: a warning, constructed weights, or an error.

    Raises ValueError where `model.fallback` is unknown, OutOfDepthError where it is "raise".
    """
    if model.fallback not in FALLBACKS:
        known = ", ".join(repr(name) for name in FALLBACKS)
        raise ValueError(f"fallback={model.fallback!r} is unknown; give one of {known}")
    model.out_of_depth_, what = sounding(problem, checkpoint)
    if not what:
        return checkpoint
    if model.fallback == "raise":
        raise OutOfDepthError(
            f"{what}. Transform or drop the columns behind these, or give fallback='constructed'"
        )
    if model.fallback == "constructed":
        return Checkpoint(CONSTRUCTED)
    warnings.warn(
        f"{what}. Compare with weights='constructed', which needs no training; fallback="
        "'constructed' answers with it, fallback='raise' refuses",
        OutOfDepthWarning,
        stacklevel=3,
    )
    return checkpoint


def sounding(problem: Problem, checkpoint: Checkpoint) -> tuple[float, str]:
    """The percentile of the table, and what is unusual about one that is out of depth, else "".

    NaN where the weights are constructed or do not describe their training tables.
    """
    reference = checkpoint.depth
    if checkpoint.is_constructed or not reference:
        return np.nan, ""
    features = problem.features
    reached = distance(features, reference)
    place = percentile(reached, reference)
    usual = quantile(LEVEL, reference)
    if reached <= MARGIN * usual:
        return place, ""
    unusual = "; ".join(
        f"{TABLE_FEATURES[j]} {features[j]:.3g} (in training {reference['depth.mean'][j]:.3g} "
        f"+- {reference['depth.scale'][j]:.2g})"
        for j in most_unusual(features, reference)
    )
    return place, (
        f"the table is out of the depth of weights={checkpoint.name!r}: its distance to the "
        f"training tables is {reached:.3g}, where {LEVEL} % of them stay below {usual:.3g} and "
        f"{MARGIN * usual:.3g} is allowed; most unusual are {unusual}"
    )
