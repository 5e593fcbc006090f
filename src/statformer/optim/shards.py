"""Sums over the ranks that hold the shards of a model's parameters.

A DTensor lies on a mesh of ranks: along some dimensions of the mesh it is cut into shards, along
others it is copied. A sum over its coordinates adds the shards and counts copies once.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ["Reach", "ShardedSum", "any_sharded", "is_sharded", "local", "reach"]


@dataclass(frozen=True)
class Reach:
    """Where a parameter lies: its mesh, and the dimensions of it along which it is cut."""

    mesh: Any
    cut: frozenset[int]


def is_sharded(tensor: Tensor) -> bool:
    """Whether `tensor` is a DTensor. Nothing is imported for those who have none."""
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(tensor, module.DTensor)


def any_sharded(tensors: Iterable[Tensor]) -> bool:
    """Whether one of `tensors` is a DTensor."""
    return "torch.distributed.tensor" in sys.modules and any(map(is_sharded, tensors))


def local(tensor: Any) -> Tensor:
    """The part of `tensor` that this rank holds; a view."""
    return tensor.to_local() if is_sharded(tensor) else tensor


def reach(tensor: Any) -> Reach | None:
    """Where `tensor` lies; None for a plain tensor, which every rank holds in full."""
    if not is_sharded(tensor):
        return None
    cut = [i for i, placement in enumerate(tensor.placements) if not placement.is_replicate()]
    return Reach(tensor.device_mesh, frozenset(cut))


class ShardedSum:
    """Sums per rank become sums over all ranks, in one reduction per mesh.

    Every rank of a mesh takes part whenever it is asked, whether it has gradients or not: the
    reductions are chosen from the parameters alone.
    """

    def __init__(self) -> None:
        self._groups: dict[tuple[Any, frozenset[int]], Any] = {}

    def __call__(self, params: Iterable[Tensor], sums: Mapping[Reach | None, Tensor]) -> Tensor:
        """The total of `sums` (equal shapes, by where their parameters lie) over all ranks.

        `params` are all parameters of the optimizer. What every rank holds in full is added once.
        """
        cuts: dict[Any, frozenset[int]] = {}
        for param in params:
            place = reach(param)
            if place is not None:
                cuts[place.mesh] = cuts.get(place.mesh, frozenset()) | place.cut
        total = torch.zeros_like(next(iter(sums.values())))
        parts = {mesh: torch.zeros_like(total) for mesh in cuts}
        for place, values in sums.items():
            if place is None:
                total = total + values
                continue
            copies = 1
            for axis in cuts[place.mesh] - place.cut:
                copies *= place.mesh.size(axis)
            parts[place.mesh] += values / copies
        for mesh, part in parts.items():
            if cuts[mesh] and mesh.get_coordinate() is not None:
                torch.distributed.all_reduce(part, group=self._group(mesh, cuts[mesh]))
            total = total + part
        return total

    def _group(self, mesh: Any, axes: frozenset[int]) -> Any:
        """The ranks that differ from this one along `axes` of the mesh only."""
        if len(axes) == 1:
            return mesh.get_group(next(iter(axes)))
        key = (mesh, axes)
        if key not in self._groups:
            place = tuple(
                slice(None) if axis in axes else at for axis, at in enumerate(mesh.get_coordinate())
            )
            ranks = sorted(mesh.mesh[place].flatten().tolist())
            self._groups[key] = (
                torch.distributed.group.WORLD
                if len(ranks) == torch.distributed.get_world_size()
                else torch.distributed.new_group(ranks, use_local_synchronization=True)
            )
        return self._groups[key]
