"""AdaGrad++: AdaGrad whose learning rate is the distance travelled (arXiv 2412.19444, Alg. 1)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from statformer.optim.base import Count, Group, ParameterFree, Params
from statformer.optim.steps import divide_step

__all__ = ["AdaGradPP"]


class AdaGradPP(ParameterFree):
    """AdaGrad++ (arXiv 2412.19444, Algorithm 1), with one step per call of `step`:

        r_t   = ||x_t - x_0|| / sqrt(d)
        eta_t = max(eta_{t-1}, r_t),  eta_0 = eta0
        G_t   = G_{t-1} + g_t^2
        x_{t+1} = x_t - lr eta_t (g_t / (delta + sqrt(G_t)) + weight_decay x_t)

    Squares, roots and divisions are per coordinate; d is the number of coordinates that have had a
    gradient. `group["eta"]` is eta_t, a 0-d tensor, float32 (float64 for float64 parameters).
    Two buffers of a parameter's size: "sum" and "x0".

    Args:
        lr: multiplies the step and the decay and nothing else; schedules act on it.
        eta0: the first step size, the paper's epsilon. None: 0.01 (1 + ||x_0||) / sqrt(d), the
            form of DoG's rule, per coordinate (ours).
        delta: added to the root of the sums.
        weight_decay: decoupled (ours).

    The other arguments are those of `AdamPP`.

    Raises:
        ValueError: for an argument out of its range.
        RuntimeError: from `step`, for a sparse gradient.
    """

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 1.0,
        eta0: float | None = None,
        delta: float = 1e-8,
        *,
        weight_decay: float = 0.0,
        scope: str = "global",
        growth_rate: float = math.inf,
        freeze_after: int | None = None,
        x0_stride: int = 1,
        foreach: bool | None = None,
        capturable: bool = False,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "eta0": eta0,
                "delta": delta,
                "weight_decay": weight_decay,
                "scope": scope,
                "growth_rate": growth_rate,
                "freeze_after": freeze_after,
                "x0_stride": x0_stride,
                "foreach": foreach,
                "capturable": capturable,
                "maximize": maximize,
            },
        )

    def _moment_names(self, group: Group) -> tuple[str, ...]:
        return ("sum",)

    def _update(
        self,
        group: Group,
        x: list[Tensor],
        g: list[Tensor],
        moments: Sequence[list[Tensor]],
        count: Count,
        eta: float | Tensor,
    ) -> None:
        (G,) = moments
        torch._foreach_addcmul_(G, g, g)
        divide_step(x, g, list(torch._foreach_sqrt(G)), group["delta"], group["lr"], eta)
