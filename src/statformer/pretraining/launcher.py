"""Where a run takes place: one process, or one of several that share the batch.

One process needs nothing. When a launcher (`accelerate launch` or `torchrun`) has set WORLD_SIZE,
Accelerate joins the processes and assigns devices; the loop then averages one vector per step.
The reasons are in docs/decisions/0004-launcher.md.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
from torch import Tensor

from statformer._extras import require

__all__ = ["Launcher"]


@dataclass(frozen=True)
class Launcher:
    """The rank of this process among `n_ranks`, and its device."""

    rank: int
    n_ranks: int
    device: torch.device

    @classmethod
    def start(cls, device: str | torch.device) -> Launcher:
        """Join the other processes, if the environment says that there are any.

        Raises ValueError when there is no such device.
        """
        try:
            wanted = torch.device(device)
        except RuntimeError as error:
            raise ValueError(f"device {device!r} is unknown; pass 'cpu' or 'cuda'") from error
        if wanted.type == "cuda" and not torch.cuda.is_available():
            raise ValueError(f"device {str(device)!r}: this torch sees no GPU; pass device='cpu'")
        if int(os.environ.get("WORLD_SIZE", "1")) <= 1:
            return cls(rank=0, n_ranks=1, device=wanted)
        state = require("accelerate", "torch").PartialState(cpu=wanted.type == "cpu")
        return cls(rank=state.process_index, n_ranks=state.num_processes, device=state.device)

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and reports progress."""
        return self.rank == 0

    def tasks(self, batch_size: int) -> range:
        """This rank's slice of the tasks of a step."""
        if batch_size % self.n_ranks:
            raise ValueError(
                f"batch_size {batch_size} does not divide among {self.n_ranks} ranks; "
                "pass a number of ranks that divides it"
            )
        share = batch_size // self.n_ranks
        return range(self.rank * share, (self.rank + 1) * share)

    def mean(self, vector: Tensor) -> Tensor:
        """The mean of `vector` over the ranks, the same on each."""
        if self.n_ranks > 1:
            torch.distributed.all_reduce(vector)
            vector /= self.n_ranks
        return vector

    def wait(self) -> None:
        """Return when every rank has come this far."""
        if self.n_ranks > 1:
            torch.distributed.barrier()
