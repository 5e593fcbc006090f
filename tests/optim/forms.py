"""The two forms of each algorithm by name, and the cases that tests run through."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from statformer.optim import AdaGradPP, AdamPP
from statformer.optim._reference import AdaGradPPReference, AdamPPReference

FAST = {"AdaGradPP": AdaGradPP, "AdamPP": AdamPP}
TWIN = {"AdaGradPP": AdaGradPPReference, "AdamPP": AdamPPReference}

# Every second moment with and without correction, a decaying beta1, and AdaGrad++.
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "AdaGrad++": ("AdaGradPP", {}),
    "ema": ("AdamPP", {}),
    "sum": ("AdamPP", {"second_moment": "sum"}),
    "ema_max": ("AdamPP", {"second_moment": "ema_max", "betas": (0.9, 0.7)}),
    "ema literal": ("AdamPP", {"bias_correction": False, "betas": (0.9, 0.95)}),
    "sum literal": ("AdamPP", {"second_moment": "sum", "bias_correction": False}),
    "ema_max literal": (
        "AdamPP",
        {"second_moment": "ema_max", "bias_correction": False, "betas": (0.9, 0.7)},
    ),
    "decaying beta1": ("AdamPP", {"beta1_decay": 0.97, "betas": (0.8, 0.99)}),
    "beta1 = 0": ("AdamPP", {"betas": (0.0, 0.9)}),
    "beta1 = 0, maximum": ("AdamPP", {"betas": (0.0, 0.7), "second_moment": "ema_max"}),
}


def normal(shape: Any, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Standard normal numbers of a generator of their own."""
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=rng, dtype=dtype)


def eta_of(optimizer: Any, group: int = 0) -> float:
    return float(optimizer.param_groups[group]["eta"])


def copies(params: list[Tensor]) -> list[Tensor]:
    """Leaves with the same values and strides."""
    return [p.detach().clone(memory_format=torch.preserve_format).requires_grad_() for p in params]
