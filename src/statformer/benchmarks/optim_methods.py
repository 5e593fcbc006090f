"""The optimizers that are trained: ours and the rivals, each at its documented defaults.

Weight decay is 0 for all (AdamW's default of 0.01 would raise its training loss). What differs
from a default is in the name, and what a rival's authors advise is followed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from statformer.benchmarks.optim_run import CONSTANT, SCHEDULES, Make
from statformer.optim import AdaGradPP, AdamPP

ADAMW, TUNED, OURS = "AdamW, rate 1e-3", "AdamW, tuned rate", "AdamPP"
SCHEDULE_FREE = "Schedule-Free AdamW"
ADVICE = {
    "all": "weight decay 0; constant: no warm-up; cosine: a linear warm-up over 5 % of the steps",
    TUNED: "the rate with the least final training loss on a seed that is not compared",
    "Prodigy, guarded": "safeguard_warmup=True and use_bias_correction=True",
    "DoG": "test losses are of its polynomial-decay average (gamma 8), training losses are not",
    SCHEDULE_FREE: "constant schedule alone, as its authors advise; evaluated in eval mode",
}

Parameters = Iterable[nn.Parameter]


@dataclass(frozen=True)
class Method:
    """An optimizer and the schedules it is run with; `averaged` as in `train`."""

    make: Make
    schedules: tuple[str, ...] = SCHEDULES
    averaged: bool = False


def adamw(rate: float) -> Make:
    """torch's AdamW at a rate."""
    return lambda params: torch.optim.AdamW(params, lr=rate, weight_decay=0.0)


def ours(**options: Any) -> Make:
    """AdamPP with options."""
    return lambda params: AdamPP(params, **options)


def prodigy(**options: Any) -> Make:
    """Prodigy with options."""
    from prodigyopt import Prodigy

    return lambda params: Prodigy(params, **options)


def methods() -> dict[str, Method]:
    """All that need no tuning, by name."""
    return {
        ADAMW: Method(adamw(1e-3)),
        OURS: Method(ours()),
        "AdamPP, sum": Method(ours(second_moment="sum")),
        "AdamPP, ema_max": Method(ours(second_moment="ema_max")),
        "AdaGradPP": Method(AdaGradPP),
        "Prodigy": Method(prodigy()),
        "Prodigy, guarded": Method(prodigy(safeguard_warmup=True, use_bias_correction=True)),
        "D-Adaptation": Method(_d_adaptation),
        SCHEDULE_FREE: Method(_schedule_free, schedules=(CONSTANT,)),
        "DoG": Method(_dog, averaged=True),
    }


def _d_adaptation(params: Parameters) -> torch.optim.Optimizer:
    from dadaptation import DAdaptAdam

    return DAdaptAdam(params)


def _schedule_free(params: Parameters) -> torch.optim.Optimizer:
    from schedulefree import AdamWScheduleFree

    optimizer = AdamWScheduleFree(params)
    optimizer.train()  # it refuses to step otherwise
    return optimizer


def _dog(params: Parameters) -> torch.optim.Optimizer:
    from dog import DoG

    return DoG(params)
