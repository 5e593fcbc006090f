"""Adam++ and AdamW++: Adam whose learning rate is the distance travelled (arXiv 2412.19444)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from statformer.optim.base import Count, Group, ParameterFree, Params
from statformer.optim.steps import divide_step, entries

__all__ = ["AdamPP"]


class AdamPP(ParameterFree):
    """Adam++ (arXiv 2412.19444, Algorithm 2); with `weight_decay`, our reading of its AdamW++.

        r_t   = ||x_t - x_0|| / sqrt(d)
        eta_t = max(eta_{t-1}, r_t),  eta_0 = eta0
        m_t   = b_t m_{t-1} + (1 - b_t) g_t,  b_t = beta1 beta1_decay^t
        x_{t+1} = x_t - lr eta_t (m_t / (delta + s_t) + weight_decay x_t)

    where s_t = sqrt(sum_{i<=t} g_i^2) for second_moment="sum" (the paper's Case 1), and for "ema"
    (Case 2 in its practical form) s_t = sqrt((t+1) v_t), v_t = beta2 v_{t-1} + (1 - beta2) g_t^2.
    "ema_max" takes the largest v so far, as the paper's theorem asks of Case 2. t counts the
    updates of a parameter from 0. Squares, roots, divisions and maxima are per coordinate; d is the
    number of coordinates that have had a gradient.

    `group["eta"]` is eta_t, a 0-d tensor, float32 (float64 for float64 parameters). It is measured
    before the step that it scales, never decreases, and is not the size of Adam's step: Adam's
    learning rate is matched by lr eta_t / sqrt(t+1), see `adam_learning_rates`.

    Buffers of a parameter's size: "exp_avg" (none when beta1 = 0), "exp_avg_sq" or "sum",
    "max_exp_avg_sq" for "ema_max", and "x0" (none for a tensor that started at zero). They are
    float32 for half-precision parameters, and `load_state_dict` keeps them so.

    Args:
        params: tensors, named tensors or groups of them, as torch.optim takes them. A parameter
            starts where it is when its first gradient comes; groups may be added later.
        lr: multiplies the step and the decay and nothing else; schedules act on it.
        betas: decay of the two moments, in [0, 1).
        eta0: the first step size, the paper's epsilon (its value there is not known to us). None:
            0.01 (1 + ||x_0||) / sqrt(d), about 1 % of the parameters' root mean square (ours).
        delta: added to s_t.
        beta1_decay: the paper's lambda, in (0, 1]; its theory needs less than 1.
        bias_correction: divide m_t by 1 - prod b_i and v_t by 1 - beta2^(t+1) (ours). Without it,
            the literal form, "ema" at beta2 = 0.999 multiplies eta by 3 to 4 in each of the first
            steps and overshoots.
        weight_decay: decoupled. eta_t multiplies it, which does not shrink with t as the step does
            (ours; the paper's formula is not known to us). lr eta_t weight_decay must stay well
            below 1.
        scope: "global": one distance for all groups, as in the paper; "group": one for each.
        growth_rate: eta grows at most by this factor in a step.
        freeze_after: after so many calls of `step` eta stays as it is; for a group that was added
            later, and has its own eta, counted from when it was added.
        x0_stride: keep every x0_stride-th coordinate of the start points and measure there.
        foreach: None takes torch's fused kernel where it computes this step, lists of tensors
            elsewhere; True always takes lists; False goes tensor by tensor.
        capturable: keep the counters on the device, so that a CUDA graph can record `step`.
        maximize: ascend.

    Raises:
        ValueError: for an argument out of its range, and for groups that contradict each other
            about the eta they share.
        RuntimeError: from `step`, for a sparse gradient.
    """

    def __init__(
        self,
        params: Params,
        lr: float | Tensor = 1.0,
        betas: tuple[float, float] = (0.9, 0.999),
        eta0: float | None = None,
        delta: float = 1e-8,
        *,
        beta1_decay: float = 1.0,
        second_moment: str = "ema",
        bias_correction: bool = True,
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
                "betas": betas,
                "eta0": eta0,
                "delta": delta,
                "beta1_decay": beta1_decay,
                "second_moment": second_moment,
                "bias_correction": bias_correction,
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

    def adam_learning_rates(self) -> list[Tensor]:
        """lr eta_t / sqrt(t+1) of each group, 0-d: the rate at which Adam would take this step.

        t is that of the group's parameter with the most updates. Reading the numbers waits for the
        device. Ours: a way to see the step size in logs, or to go on with Adam.
        """
        rates = []
        for group in self.param_groups:
            steps = [self.state[p]["step"] for p in group["params"] if self.state.get(p)]
            count = torch.stack(steps).max().to(group["eta"].device) if steps else 1.0
            rates.append(group["lr"] * group["eta"] / count**0.5)
        return rates

    def _moment_names(self, group: Group) -> tuple[str, ...]:
        first = ("exp_avg",) if group["betas"][0] else ()
        second = {
            "sum": ("sum",),
            "ema": ("exp_avg_sq",),
            "ema_max": ("exp_avg_sq", "max_exp_avg_sq"),
        }[group["second_moment"]]
        return first + second

    def _update(
        self,
        group: Group,
        x: list[Tensor],
        g: list[Tensor],
        moments: Sequence[list[Tensor]],
        count: Count,
        eta: float | Tensor,
    ) -> None:
        beta1, beta2 = group["betas"]
        corrects = group["bias_correction"]
        m, correction1 = g, 1.0
        if beta1:
            m, *moments = moments
            decay = group["beta1_decay"]
            fresh = 1.0 - beta1 * decay ** (count - 1.0)
            torch._foreach_lerp_(m, g, entries(fresh))
            if corrects:
                # prod_{i<t} beta1 decay^i, the weight that the zero at the beginning still has
                left = beta1**count * decay ** (count * (count - 1.0) / 2.0)
                correction1 = 1.0 - left
        v = moments[0]
        if group["second_moment"] == "sum":
            torch._foreach_addcmul_(v, g, g)
            scale: Count = 1.0
        else:
            torch._foreach_mul_(v, beta2)
            torch._foreach_addcmul_(v, g, g, 1.0 - beta2)
            if group["second_moment"] == "ema_max":
                torch._foreach_maximum_(moments[1], v)
                v = moments[1]
            correction2 = 1.0 - beta2**count if corrects else 1.0
            scale = (count / correction2) ** 0.5
        s = list(torch._foreach_sqrt(v))
        divide_step(x, m, s, group["delta"], group["lr"] / correction1, eta, scale)

    def _update_fused(
        self, group: Group, lists: list[list[Tensor]], count: float, eta: float | Tensor
    ) -> bool:
        """torch's AdamW kernel: its rate and epsilon can be chosen so that it takes this step.

        The kernel's step is rate (m / c1) / (sqrt(v / c2) + eps), c = 1 - beta^count, without the
        root of the count; that root goes into the rate and into eps.
        """
        x, g, *moments = lists
        has_kernel = (
            group["betas"][0] > 0.0
            and group["second_moment"] != "sum"
            and group["beta1_decay"] == 1.0
            and group["delta"] > 0.0
            and x[0].device.type in {"cpu", "cuda"}
            and x[0].dtype in {torch.float32, torch.float64}
            and all(tensor.is_contiguous() for tensors in lists for tensor in tensors)
            and all(a.dtype == b.dtype for a, b in zip(x, g, strict=True))
        )
        if not has_kernel:
            return False
        beta1, beta2 = group["betas"]
        c1, c2 = 1.0 - beta1**count, 1.0 - beta2**count
        root, factor = count**0.5, 1.0
        if not group["bias_correction"]:  # the kernel corrects; undo it
            root, factor = root * c2**0.5, c1
        torch._fused_adamw_(
            x,
            g,
            moments[0],
            moments[1],
            moments[2] if len(moments) > 2 else [],
            [torch.full((), count, device=x[0].device)] * len(x),
            lr=eta * group["lr"] * factor / root,
            beta1=beta1,
            beta2=beta2,
            weight_decay=group["weight_decay"] * root / factor,
            eps=group["delta"] / root,
            amsgrad=group["second_moment"] == "ema_max",
            maximize=group["maximize"],
        )
        return True
