"""The tables of reference values: which form, which problem, which numbers.

Derived from the update rules in double precision and checked independently of this code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

LITERAL = {"bias_correction": False}


@dataclass(frozen=True)
class ConstantGradient:
    """eta at steps 0..9 in units of 1e-6, and the steps at which it reaches 1e-5 .. 1e-2."""

    name: str
    algorithm: str
    options: dict[str, Any]
    etas: tuple[float, ...]
    reached: tuple[int, ...]


@dataclass(frozen=True)
class Quadratic:
    """f(x) = ((x1 - 1)^2 + 100 (x2 + 2)^2) / 2 from (0, 0): x at 10 and 100, eta at 2000."""

    name: str
    algorithm: str
    options: dict[str, Any]
    x_10: tuple[float, float]
    x_100: tuple[float, float]
    eta_2000: float


_SUM = (1, 1, 1.70711, 2.69271, 4.03906, 5.84538, 8.23175, 11.3431, 15.3534, 20.4712)
_SUM_REACHED = (7, 16, 28, 42)
_CASE_1_LITERAL = {"second_moment": "sum", **LITERAL}

CONSTANT_GRADIENT = [
    ConstantGradient("AdaGrad++", "AdaGradPP", {}, _SUM, _SUM_REACHED),
    ConstantGradient(
        "Case 1, beta1 = 0",
        "AdamPP",
        {"betas": (0.0, 0.999), **_CASE_1_LITERAL},
        _SUM,
        _SUM_REACHED,
    ),
    ConstantGradient(
        "Case 1",
        "AdamPP",
        {"betas": (0.9, 0.999), **_CASE_1_LITERAL},
        (1, 1, 1, 1, 1, 1, 1, 1.13437, 1.36279, 1.64107),
        (19, 33, 49, 68),
    ),
    ConstantGradient(
        "Case 2, beta2 = 0.95",
        "AdamPP",
        {"betas": (0.9, 0.95), **LITERAL},
        (1, 1, 1, 1.29177, 1.80751, 2.50348, 3.43392, 4.66675, 6.28649, 8.39752),
        (10, 19, 31, 45),
    ),
    ConstantGradient(
        "Case 2, beta2 = 0.999",
        "AdamPP",
        {"betas": (0.9, 0.999), **LITERAL},
        (1, 3.16228, 12.6647, 48.8605, 181.8, 653.129, 2268.06, 7621.49, 24809.6, 78316.3),
        (2, 4, 6, 8),
    ),
    *(
        ConstantGradient(
            f"{second_moment} corrected, beta2 = {beta2}",
            "AdamPP",
            {"betas": (0.9, beta2), "second_moment": second_moment, "bias_correction": True},
            _SUM,
            _SUM_REACHED,
        )
        for second_moment, beta2 in [
            ("ema", 0.999),
            ("ema", 0.95),
            ("ema", 0.5),
            ("ema_max", 0.999),
            ("sum", 0.999),
        ]
    ),
]

QUADRATIC = [
    Quadratic(
        "AdaGrad++",
        "AdaGradPP",
        {},
        (2.69445325e-5, -2.69446299e-5),
        (0.967489934, -1.59647508),
        1.58113883,
    ),
    Quadratic(
        "Case 1",
        "AdamPP",
        {"betas": (0.9, 0.999), **_CASE_1_LITERAL},
        (1.97906841e-6, -1.97906849e-6),
        (0.276249732, -0.285168237),
        1.7375432,
    ),
    Quadratic(
        "Case 2, maximum",
        "AdamPP",
        {"betas": (0.9, 0.999), "second_moment": "ema_max", **LITERAL},
        (0.238767534, -0.239285278),
        (0.980883029, -2.04454277),
        7.48631755,
    ),
    Quadratic(
        "Case 2, practical",
        "AdamPP",
        {"betas": (0.9, 0.999), "second_moment": "ema", **LITERAL},
        (0.238767534, -0.239285278),
        (0.983900661, -2.04091332),
        7.48703068,
    ),
]


def quadratic_gradient(x: Tensor) -> Tensor:
    minimum = torch.tensor([1.0, -2.0], dtype=x.dtype)
    return torch.tensor([1.0, 100.0], dtype=x.dtype) * (x - minimum)
