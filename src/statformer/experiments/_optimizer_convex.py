"""A convex function with a kink in every term, and AdaGrad++ or Adam++ on it.

    f(x) = sum_j w_j |a_j' (x - x*)|,    f(x*) = 0

Axes: d coordinates, j terms, t steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from statformer.optim import AdaGradPP, AdamPP

DELTA = 1e-8

Make = Callable[[Iterable[Tensor]], torch.optim.Optimizer]

# The theorem on Adam++ asks for the maximum over v, or the sum, and a falling momentum; the
# practical form is the one that its authors run.
ALGORITHMS: dict[str, Make] = {
    "AdaGrad++": lambda params: AdaGradPP(params, delta=DELTA),
    "Adam++, case 1": lambda params: AdamPP(
        params, second_moment="sum", beta1_decay=0.999, bias_correction=False, delta=DELTA
    ),
    "Adam++, case 2": lambda params: AdamPP(
        params, second_moment="ema_max", beta1_decay=0.999, bias_correction=False, delta=DELTA
    ),
    "Adam++, practical": lambda params: AdamPP(params, delta=DELTA),
}


@dataclass(frozen=True)
class PiecewiseLinear:
    """A "j d", w "j" and the minimiser "d", all float64."""

    A: Float[Tensor, "j d"]
    w: Float[Tensor, " j"]
    minimiser: Float[Tensor, " d"]

    @classmethod
    def drawn(cls, n_features: int, rng: np.random.Generator) -> PiecewiseLinear:
        """Three terms per coordinate; the minimiser lies about 3 sqrt(d) from the start, 0."""
        n_terms = 3 * n_features
        return cls(
            torch.tensor(rng.normal(size=(n_terms, n_features))),
            torch.tensor(np.abs(rng.normal(size=n_terms)) + 0.1),
            torch.tensor(3.0 * rng.normal(size=n_features)),
        )

    def value(self, x: Float[Tensor, " d"]) -> float:
        """f(x), which is also the gap to the minimum."""
        return float((self.w * (self.A @ (x - self.minimiser)).abs()).sum())

    def subgradient(self, x: Float[Tensor, " d"], term: int | None = None) -> Float[Tensor, " d"]:
        """Of f, or an unbiased one from a term that was drawn by chance."""
        if term is None:
            return self.A.T @ (self.w * (self.A @ (x - self.minimiser)).sign())
        sign = (self.A[term] @ (x - self.minimiser)).sign()
        return len(self.w) * self.w[term] * sign * self.A[term]


@dataclass(frozen=True)
class Path:
    """What a run left, for the numbers of steps that were asked.

    gap    f(xbar) of the eta-weighted mean of x_0..x_{T-1}
    last   f(x_T)
    bound  (D^2 H / 2 + eta_{T-1}^2 sum_i s_i) / sum_t eta_t, see `optimizer_bound`
    """

    n_steps: list[int]
    gap: list[float]
    last: list[float]
    bound: list[float]


def descend(
    problem: PiecewiseLinear,
    make: Make,
    n_steps: Sequence[int],
    rng: np.random.Generator,
    noisy: bool = False,
) -> Path:
    """Run from 0 and read off at each of `n_steps`."""
    x = torch.zeros_like(problem.minimiser, requires_grad=True)
    optimizer = make([x])
    weighted, G = torch.zeros_like(problem.minimiser), torch.zeros_like(problem.minimiser)
    total = eta = widest = 0.0
    terms = rng.integers(len(problem.w), size=max(n_steps)) if noisy else None
    path = Path([], [], [], [])
    for t in range(max(n_steps)):
        here = x.detach().clone()
        x.grad = problem.subgradient(here, None if terms is None else int(terms[t]))
        G += x.grad**2
        optimizer.step()
        eta = float(optimizer.param_groups[0]["eta"])
        weighted += eta * here
        total += eta
        widest = max(widest, float((here - problem.minimiser).abs().max()))
        if t + 1 in n_steps:
            now, s = x.detach(), G.sqrt()
            D = max(widest, float((now - problem.minimiser).abs().max()))
            bound = (D**2 * float((DELTA + s).sum()) / 2 + eta**2 * float(s.sum())) / total
            path.n_steps.append(t + 1)
            path.gap.append(problem.value(weighted / total))
            path.last.append(problem.value(now))
            path.bound.append(bound)
    return path
