"""AdaGrad++ and Adam++ (arXiv 2412.19444) line by line: plain loops, one tensor after the other.

For tests and readers only; `adagrad_pp` and `adam_pp` hold the fast forms. Steps carry the numbers
of the two algorithms as they are described in public. The paper's own pseudo-code was not at hand;
what those descriptions leave open is marked "ours".

Everything but the parameters is kept in float64, whatever the parameters are.

Sequences: x_t parameters, x_0 where they started, d the number of coordinates, g_t gradient, r_t
distance from x_0 per coordinate, eta_t automatic step size, m_t and v_t averages of g and g^2, s_t
scale of a coordinate, c_t base learning rate times schedule (`lr`).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from statformer.optim.distance import KAPPA

__all__ = ["AdaGradPPReference", "AdamPPReference"]


@dataclass
class _State:
    """What one parameter keeps; `t` counts its own updates from 0, `x0` has the sampled ones."""

    x0: Tensor
    t: int = 0
    buffers: dict[str, Tensor] = field(default_factory=dict)
    s: Tensor | None = None
    product_of_beta1: float = 1.0


class _Reference(ABC):
    """Steps 1 and 2, which both algorithms share, and who takes part in them (ours).

    r_t = ||x_t - x_0|| / sqrt(d),  eta_t = max(eta_{t-1}, r_t),  eta_{-1} = eta0.

    A parameter takes part from the first step at which it has a gradient. x_0 is what it was then.
    `scope` says whether all groups have one r, d and eta, or each group its own.
    """

    def __init__(self, params: Iterable[Any], **defaults: Any) -> None:
        groups = list(params)
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        self.defaults = defaults
        self.param_groups: list[dict[str, Any]] = []
        self.state: dict[Tensor, _State] = {}
        for group in groups:
            self.add_param_group(group)

    def add_param_group(self, group: dict[str, Any]) -> None:
        group = self.defaults | group | {"params": list(group["params"])}
        group["eta"], group["n_steps"] = group["eta0"] or 0.0, 0
        if self.param_groups and group["scope"] == "global":
            group["eta"] = self.param_groups[0]["eta"]
        self.param_groups.append(group)

    @torch.no_grad()
    def step(self) -> None:
        for groups in self._scopes():
            self._enter(groups)
            eta = self._step_size(groups)
            for group in groups:
                group["eta"] = eta
                for x in group["params"]:
                    if x.grad is not None:
                        self._update(x, self.state[x], group)
                        self.state[x].t += 1
                group["n_steps"] += 1

    def _scopes(self) -> list[list[dict[str, Any]]]:
        if self.defaults["scope"] == "global":
            return [self.param_groups]
        return [[group] for group in self.param_groups]

    def _enter(self, groups: list[dict[str, Any]]) -> None:
        for group in groups:
            for x in group["params"]:
                if x.grad is not None and x not in self.state:
                    self.state[x] = _State(x0=_sampled(x, group["x0_stride"]))

    def _step_size(self, groups: list[dict[str, Any]]) -> float:
        """eta_t of one scope, from the parameters before their update."""
        first, previous = groups[0], float(groups[0]["eta"])
        entered = [(x, g["x0_stride"]) for g in groups for x in g["params"] if x in self.state]
        if previous == 0.0:  # ours: no eta0 was given
            return _start(
                torch.cat(
                    [torch.zeros(0, dtype=torch.float64), *(_sampled(x, 1) for x, _ in entered)]
                )
            )
        if first["freeze_after"] is not None and first["n_steps"] >= first["freeze_after"]:  # ours
            return previous
        squares, d = 0.0, 0
        for x, stride in entered:
            moved = _sampled(x, stride) - self.state[x].x0
            squares += (moved**2).sum().item()
            d += moved.numel()
        if d == 0:
            return previous
        r = math.sqrt(squares) / math.sqrt(d)  # step 1
        eta = max(previous, r)  # step 2
        return min(eta, first["growth_rate"] * previous)  # ours

    @abstractmethod
    def _update(self, x: Tensor, state: _State, group: dict[str, Any]) -> None:
        """Steps 3 and later, for one parameter."""


class AdaGradPPReference(_Reference):
    """Algorithm 1: x_{t+1} = x_t - c_t eta_t g_t / (delta + sqrt(sum_{i<=t} g_i^2)).

    Decay of weights is decoupled and comes first: x_t - c_t eta_t weight_decay x_t (ours).
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        eta0: float | None = None,
        delta: float = 1e-8,
        *,
        weight_decay: float = 0.0,
        scope: Literal["global", "group"] = "global",
        growth_rate: float = math.inf,
        freeze_after: int | None = None,
        x0_stride: int = 1,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            eta0=eta0,
            delta=delta,
            weight_decay=weight_decay,
            scope=scope,
            growth_rate=growth_rate,
            freeze_after=freeze_after,
            x0_stride=x0_stride,
            maximize=maximize,
        )

    def _update(self, x: Tensor, state: _State, group: dict[str, Any]) -> None:
        g = _gradient(x, group["maximize"])  # step 3
        G = state.buffers.get("G", torch.zeros_like(g)) + g**2  # step 4
        s = torch.sqrt(G)  # step 4
        H = group["delta"] + s  # step 5
        state.buffers["G"], state.s = G, s
        _move(x, _quotient(g, H), group)  # step 6


class AdamPPReference(_Reference):
    """Algorithm 2: x_{t+1} = x_t - c_t eta_t m_t / (delta + s_t).

    `second_moment` is "sum" for Case 1, "ema_max" for Case 2 and "ema" for its practical form.
    `bias_correction` (ours) divides m_t by 1 - prod_{i<=t} beta1_i and, in Case 2, v_t or its
    maximum by 1 - beta2^(t+1); False is the literal form. Decay of weights is decoupled and comes
    first: x_t - c_t eta_t weight_decay x_t (ours).
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        betas: tuple[float, float] = (0.9, 0.999),
        eta0: float | None = None,
        delta: float = 1e-8,
        *,
        beta1_decay: float = 1.0,
        second_moment: Literal["ema", "sum", "ema_max"] = "ema",
        bias_correction: bool = True,
        weight_decay: float = 0.0,
        scope: Literal["global", "group"] = "global",
        growth_rate: float = math.inf,
        freeze_after: int | None = None,
        x0_stride: int = 1,
        maximize: bool = False,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            betas=betas,
            eta0=eta0,
            delta=delta,
            beta1_decay=beta1_decay,
            second_moment=second_moment,
            bias_correction=bias_correction,
            weight_decay=weight_decay,
            scope=scope,
            growth_rate=growth_rate,
            freeze_after=freeze_after,
            x0_stride=x0_stride,
            maximize=maximize,
        )

    def _update(self, x: Tensor, state: _State, group: dict[str, Any]) -> None:
        t, (beta1, beta2) = state.t, group["betas"]
        g = _gradient(x, group["maximize"])  # step 3
        beta1_t = beta1 * group["beta1_decay"] ** t  # step 4; lambda^t, since t starts at 0 (ours)
        m = state.buffers.get("m", torch.zeros_like(g))
        m = beta1_t * m + (1.0 - beta1_t) * g  # step 5
        state.buffers["m"] = m
        state.product_of_beta1 *= beta1_t
        if group["bias_correction"]:  # ours
            m = m / (1.0 - state.product_of_beta1)

        if group["second_moment"] == "sum":  # step 6, Case 1
            v = state.buffers.get("v", torch.zeros_like(g)) + g**2
            state.buffers["v"] = v
            s = torch.sqrt(v)
        else:  # step 6, Case 2
            v = state.buffers.get("v", torch.zeros_like(g))
            v = beta2 * v + (1.0 - beta2) * g**2
            state.buffers["v"] = v
            if group["second_moment"] == "ema_max":
                v = torch.maximum(state.buffers.get("v_max", torch.zeros_like(g)), v)
                state.buffers["v_max"] = v
            if group["bias_correction"]:  # ours
                v = v / (1.0 - beta2 ** (t + 1))
            s = torch.sqrt((t + 1) * v)

        H = group["delta"] + s  # step 7
        state.s = s
        _move(x, _quotient(m, H), group)  # step 8


def _real(x: Tensor) -> Tensor:
    """A float64 copy; a complex coordinate becomes two real ones on a last axis."""
    return (torch.view_as_real(x) if x.is_complex() else x).detach().to(torch.float64, copy=True)


def _sampled(x: Tensor, stride: int) -> Tensor:
    """Every stride-th coordinate: those of which the distance is measured."""
    return _real(x).flatten()[::stride]


def _start(x0: Tensor) -> float:
    """eta0 = kappa (1 + ||x_0||) / sqrt(d), of all coordinates; 0 while there are none."""
    return KAPPA * (1.0 + x0.norm().item()) / math.sqrt(x0.numel()) if x0.numel() else 0.0


def _gradient(x: Tensor, maximize: bool) -> Tensor:
    assert x.grad is not None
    return -_real(x.grad) if maximize else _real(x.grad)


def _quotient(m: Tensor, H: Tensor) -> Tensor:
    """m / H; a coordinate whose gradients were all zero stays where it is, even for delta = 0."""
    return torch.where((m == 0) & (H == 0), 0.0, m / H)


def _move(x: Tensor, direction: Tensor, group: dict[str, Any]) -> None:
    """x <- x - c eta weight_decay x, then x <- x - c eta direction."""
    c, eta, old = float(group["lr"]), float(group["eta"]), _real(x)
    new = old - c * eta * group["weight_decay"] * old
    new = new - c * eta * direction
    x.copy_(torch.view_as_complex(new) if x.is_complex() else new)
