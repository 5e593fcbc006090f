"""Plain gradient descent on all points, for runs side by side in one tensor program.

Axes: b runs; every trained weight has b as its first axis, and run j's gradient is its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn


class Descent(NamedTuple):
    """How each run went.

    n_steps           "b"  steps that it took
    diverged          "b"  its gradient stopped being finite; its weights are those of that moment
    gradient_norm     "b"  |gradient| where it stood last, over all trained weights
    largest_gradient  "b"  the largest finite |gradient| on the way
    """

    n_steps: Int[Tensor, " b"]
    diverged: Bool[Tensor, " b"]
    gradient_norm: Float[Tensor, " b"]
    largest_gradient: Float[Tensor, " b"]


@torch.no_grad()
def descend(
    network: nn.Module,
    gradient: Callable[[], Mapping[str, Tensor]],
    step_sizes: Mapping[str, Float[Tensor, " b"]],
    n_steps: int,
    *,
    watch: Callable[[int], Bool[Tensor, " b"] | None] | None = None,
    tolerance: float = 0.0,
) -> Descent:
    """w <- w - eta dL/dw, `n_steps` times, for the weights that `step_sizes` names.

    `gradient()` gives dL/dw of the network as it stands, by the names of its parameters.
    `watch(t)` is called before step t = 0, 1, ... and, where all are taken, after the last; it may
    answer with the runs that need no further step. A run also ends where its gradient is
    `tolerance` times its largest or less, and where its gradient is not finite: nothing is clipped,
    and `diverged` says so. A run that has ended keeps its weights while the others go on.

    Raises ValueError for a name in `step_sizes` that is no parameter, and for a step size that is
    not one number per run.
    """
    weights = dict(network.named_parameters())
    for name, sizes in step_sizes.items():
        if name not in weights:
            raise ValueError(f"step_sizes: no weight {name!r}; the network has {list(weights)}")
        if sizes.shape != weights[name].shape[:1]:
            raise ValueError(
                f"step_sizes[{name!r}] has shape {tuple(sizes.shape)}: pass "
                f"{weights[name].shape[0]} numbers, one per run"
            )
    any_sizes = next(iter(step_sizes.values()))
    steps = torch.zeros_like(any_sizes, dtype=torch.int64)
    going, diverged = torch.ones_like(steps).bool(), torch.zeros_like(steps).bool()
    norm, largest = torch.zeros_like(any_sizes), torch.zeros_like(any_sizes)
    for t in range(n_steps):
        done = None if watch is None else watch(t)
        if done is not None:
            going = going & ~done
        slopes = gradient()
        here = torch.stack(
            [slopes[name].reshape(len(going), -1).norm(dim=1) for name in step_sizes]
        ).norm(dim=0)
        finite = torch.isfinite(here)
        diverged = diverged | (going & ~finite)
        norm = torch.where(going, here, norm)
        largest = torch.where(going & finite, torch.maximum(largest, here), largest)
        going = going & finite & (here > tolerance * largest)
        if not bool(going.any()):
            break
        for name, sizes in step_sizes.items():
            weight, slope = weights[name], slopes[name]
            aligned = going.reshape(-1, *[1] * (weight.ndim - 1))
            size = sizes.reshape(aligned.shape)
            # A run that has ended takes 0, not 0 times a slope that may be infinite.
            weight.sub_(size * torch.where(aligned, slope, 0.0))
        steps += going
    else:
        if watch is not None:
            watch(n_steps)
    return Descent(steps, diverged, norm, largest)
