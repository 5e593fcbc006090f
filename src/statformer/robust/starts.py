"""Where the single step starts: five strategies behind one call.

Axes: n images of a batch, k channels, h by w pixels. Budgets are in pixel units, images in [0, 1].

A start is called with the batch and returns d0; afterwards `keep` hears the d that the step made.
What a start remembers is in `state`, so that a resumed run goes on from the same bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, final

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

__all__ = [
    "STARTS",
    "CarriedPerImageStart",
    "CarriedStart",
    "NoiseStart",
    "Start",
    "UniformStart",
    "ZeroStart",
    "make_start",
]

Images = Float[Tensor, "n k h w"]
Index = Int[Tensor, " n"]


class Start(Protocol):
    """What `FastAdversarialTrainer` asks of a start.

    name            in messages
    stays_in_ball   whether d is clipped to the ball of radius eps after the step
    usual_step      the step as a multiple of eps, where none is given
    needs_index     whether the loader must yield (x, y, index)
    """

    name: str
    stays_in_ball: bool
    usual_step: float
    needs_index: bool

    def __call__(self, x: Images, eps: float, rng: Generator, index: Index | None) -> Images:
        """d0 for the batch `x`."""

    def keep(self, delta: Images, index: Index | None) -> None:
        """Remember the step's result, where the start is one that does."""

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint has to hold."""

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state` returned."""


class _Forgetful:
    """A start that remembers nothing."""

    stays_in_ball = True
    usual_step = 1.0
    needs_index = False

    def keep(self, delta: Images, index: Index | None) -> None:
        """Nothing is remembered."""

    def state(self) -> dict[str, Tensor]:
        """Nothing."""
        return {}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Nothing."""


@final
class ZeroStart(_Forgetful):
    """d0 = 0: FGSM (Goodfellow et al. 2015). Overfits catastrophically where eps is not small."""

    name = "zero"

    def __call__(self, x: Images, eps: float, rng: Generator, index: Index | None) -> Images:
        """Zeros."""
        return torch.zeros_like(x)


@final
class UniformStart(_Forgetful):
    """d0 ~ U(-eps, eps): FGSM-RS (Wong et al. 2020), whose step is 1.25 eps."""

    name = "uniform"
    usual_step = 1.25

    def __call__(self, x: Images, eps: float, rng: Generator, index: Index | None) -> Images:
        """Uniform draws."""
        return eps * (2.0 * _uniform(x, rng) - 1.0)


@final
class NoiseStart(_Forgetful):
    """d0 ~ U(-k eps, k eps), k = 2, and d = d0 + step sign(g) is not clipped to the ball: N-FGSM.

    De Jorge et al. 2022. So |d| may reach k eps + step; x + d is still kept in [0, 1].
    """

    name = "noise"
    stays_in_ball = False

    def __init__(self, k: float = 2.0) -> None:
        self.k = k

    def __call__(self, x: Images, eps: float, rng: Generator, index: Index | None) -> Images:
        """Uniform draws from the larger ball."""
        return self.k * eps * (2.0 * _uniform(x, rng) - 1.0)


@final
class CarriedStart:
    """d0 is the d of the batch before, slot by slot: the paper's start (code of SKG-FAT).

    The first d0 of a run is eps sign(u), u uniform on both signs. It goes on across epochs. The
    authors skip a last batch that is smaller; here it uses the first n slots, and the other slots
    stay as they are. A batch larger than any before draws the slots it lacks.
    """

    name = "carried"
    stays_in_ball = True
    usual_step = 1.0
    needs_index = False

    def __init__(self) -> None:
        self.slots: Tensor | None = None

    def __call__(self, x: Images, eps: float, rng: Generator, index: Index | None) -> Images:
        """The first n slots."""
        if self.slots is None:
            self.slots = _corners(x, eps, rng)
        elif self.slots.shape[1:] != x.shape[1:]:
            raise ValueError(
                f"x has images of shape {tuple(x.shape[1:])} where earlier batches had "
                f"{tuple(self.slots.shape[1:])}: start='carried' needs one shape; use 'uniform'"
            )
        elif len(self.slots) < len(x):
            self.slots = torch.cat([self.slots, _corners(x[len(self.slots) :], eps, rng)])
        return self.slots[: len(x)].to(x.device, x.dtype)

    def keep(self, delta: Images, index: Index | None) -> None:
        """d is the next d0 of its slots."""
        assert self.slots is not None, "keep is called after the start was asked"
        if len(delta) == len(self.slots):
            self.slots = delta.detach()
        else:
            self.slots = torch.cat([delta.detach(), self.slots[len(delta) :].to(delta)])

    def state(self) -> dict[str, Tensor]:
        """The slots."""
        return {} if self.slots is None else {"slots": self.slots}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """The slots."""
        self.slots = state.get("slots")


@final
class CarriedPerImageStart:
    """d0 is the d that the same image had in the epoch before, as in FGSM-EP.

    The memory has one perturbation per image and grows to the size of the data; the loader must
    yield (x, y, index). Augmentation that moves the image does not move its d. The momentum and
    the resets of FGSM-MEP are left out.
    """

    name = "carried-per-image"
    stays_in_ball = True
    usual_step = 1.0
    needs_index = True

    def __init__(self) -> None:
        self.memory: Tensor | None = None
        self.seen: Tensor | None = None

    def __call__(self, x: Images, eps: float, rng: Generator, index: Index | None) -> Images:
        """The remembered d of each image, corners of the ball for those met first."""
        if index is None:
            raise ValueError(
                "start='carried-per-image' needs a loader of (x, y, index); use start='carried'"
            )
        self._grow(int(index.max()) + 1, x)
        assert self.memory is not None
        assert self.seen is not None
        fresh = _corners(x, eps, rng)
        known = self.seen[index].view(-1, *[1] * (x.ndim - 1))
        return torch.where(known, self.memory[index], fresh)

    def _grow(self, n: int, x: Images) -> None:
        """Make room for n images."""
        if self.memory is None or self.seen is None:
            self.memory = x.new_zeros(0, *x.shape[1:])
            self.seen = torch.zeros(0, dtype=torch.bool, device=x.device)
        lacking = n - len(self.memory)
        if lacking > 0:
            self.memory = torch.cat([self.memory, x.new_zeros(lacking, *x.shape[1:])])
            self.seen = torch.cat([self.seen, self.seen.new_zeros(lacking)])

    def keep(self, delta: Images, index: Index | None) -> None:
        """d is the next d0 of its image."""
        assert self.memory is not None
        assert self.seen is not None
        assert index is not None
        self.memory[index] = delta.detach()
        self.seen[index] = True

    def state(self) -> dict[str, Tensor]:
        """The memory, and which of it is filled."""
        if self.memory is None or self.seen is None:
            return {}
        return {"memory": self.memory, "seen": self.seen}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """The memory, and which of it is filled."""
        self.memory, self.seen = state.get("memory"), state.get("seen")


STARTS = {
    one.name: one
    for one in (ZeroStart, UniformStart, NoiseStart, CarriedStart, CarriedPerImageStart)
}


def make_start(start: str | Start) -> Start:
    """The start of a name, fresh; a start that is none of ours is returned as it is.

    Raises ValueError for an unknown name.
    """
    if not isinstance(start, str):
        return start
    if start not in STARTS:
        raise ValueError(f"start={start!r}: pass one of {', '.join(STARTS)}, or a Start")
    made: Start = STARTS[start]()
    return made


def _uniform(x: Images, rng: Generator) -> Images:
    return torch.rand(x.shape, generator=rng, device=x.device, dtype=x.dtype)


def _corners(x: Images, eps: float, rng: Generator) -> Images:
    """Every pixel +eps or -eps with equal chance."""
    return torch.where(_uniform(x, rng) < 0.5, -eps, eps).to(x.dtype)
