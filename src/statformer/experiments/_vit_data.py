"""What runs of a patch transformer are trained and judged on.

Axes: b runs, n points, p patches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

from statformer.experiments._vit_runs import VitRuns, VitSetting
from statformer.tasks.signal_noise import PatchBatch
from statformer.tasks.stream import TaskStream


@dataclass(frozen=True)
class VitData:
    """Training points, and the numbers from which fresh points and first weights are drawn.

    Everything of one seed is one draw: the noise, the labels and the start are the same at every
    SNR and for every network, so that differences between them are theirs.
    """

    setting: VitSetting
    batch: PatchBatch
    seed: int

    @classmethod
    def of(
        cls, setting: VitSetting, n_points: int, seed: int, dtype: torch.dtype = torch.float32
    ) -> VitData:
        """`n_points` training points."""
        stream = TaskStream(seed, 0, range(1), dtype=dtype)
        return cls(setting, setting.prior(n_points).sample(stream), seed)

    def _stream(self, step: int) -> TaskStream:
        return TaskStream(self.seed, step, range(1), dtype=self.batch.X.dtype)

    def runs(self, snrs: Sequence[float], *, start_qk: float | None = None) -> VitRuns:
        """Untrained runs, one per SNR; `start_qk` in place of the setting's."""
        setting = self.setting
        if start_qk is not None:
            setting = replace(setting, start_qk=start_qk)
        norms = setting.n_features**0.5 * torch.tensor(snrs, dtype=self.batch.X.dtype)
        return VitRuns(setting, self.batch, norms, self._stream(1))

    def fresh(self, n_points: int) -> PatchBatch:
        """Points that no run has seen, about the same signals."""
        prior = self.setting.prior(n_points)
        return prior.around(self.batch.signal, n_points, self._stream(2))

    def relabelled(self) -> VitData:
        """The same points with labels that have nothing to do with the signal: a fault to plant."""
        coins = self._stream(3).integers(0, 2, self.batch.y.shape[1])
        y = 2.0 * coins.to(self.batch.y.dtype) - 1.0
        return replace(self, batch=replace(self.batch, y=y))


class Outcome(NamedTuple):
    """Each run's losses, its error rate, and attention on the signal patch of fresh points."""

    train: Float[Tensor, " b"]
    test: Float[Tensor, " b"]
    error: Float[Tensor, " b"]
    attention: Float[Tensor, " b"]


def outcome(runs: VitRuns, fresh: PatchBatch) -> Outcome:
    """How the runs do on their training points and on fresh ones."""
    seen = runs.tokens()
    train = softplus(-runs.y[:, None] * seen.answers(seen.pattern())).mean(0)
    tokens = runs.fresh(fresh)
    pattern = tokens.pattern()
    margins = fresh.y[0][:, None] * tokens.answers(pattern)
    error = (margins < 0).to(margins.dtype).mean(0)
    return Outcome(train, softplus(-margins).mean(0), error, pattern[:, :, 0].mean((0, 1)))
