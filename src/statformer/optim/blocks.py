"""Parallel lists of tensors, cut into blocks that stay in a processor's cache.

An update reads and writes each number several times. On a CPU those passes go over one block
before the next one is touched, so the numbers come from memory once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

__all__ = ["batches"]

CPU_ELEMENTS = 1 << 16
"""Numbers of one tensor in a batch on a CPU: six such arrays of float32 fit in 2 MiB."""
DEVICE_ELEMENTS = 1 << 26
"""On other devices batches only bound the temporary memory."""


def batches(lists: Sequence[list[Tensor]]) -> Iterator[list[list[Tensor]]]:
    """Yield `lists` in parts: batches of whole tensors, or of slices of long ones on a CPU.

    The i-th tensors of all lists have the same number of elements. Slices are views, so writing to
    them writes to the tensors.
    """
    first = lists[0]
    if not first:
        return
    on_cpu = first[0].is_cpu
    limit = CPU_ELEMENTS if on_cpu else DEVICE_ELEMENTS
    sizes = [tensor.numel() for tensor in first]
    if sum(sizes) <= limit:
        yield list(lists)
        return
    begin, total = 0, 0
    for i, size in enumerate(sizes):
        if total + size > limit and i > begin:
            yield [tensors[begin:i] for tensors in lists]
            begin, total = i, 0
        if size > limit and on_cpu and all(tensors[i].is_contiguous() for tensors in lists):
            pieces = [torch.split(tensors[i].view(-1), limit) for tensors in lists]
            yield from ([[piece] for piece in row] for row in zip(*pieces, strict=True))
            begin = i + 1
        else:
            total += size
    if begin < len(sizes):
        yield [tensors[begin:] for tensors in lists]
