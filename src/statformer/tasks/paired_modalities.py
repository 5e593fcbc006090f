"""Two modalities of patches that share their labels (arXiv 2411.02837).

Axes: b tasks (runs), n points, d features of one patch; the modalities may differ in d.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from statformer.tasks.signal_noise import PatchBatch, SignalNoisePrior
from statformer.tasks.stream import TaskStream

_FIRST = SignalNoisePrior(100, 2000, signal_norm=5.0, sigma=1.0, axis=0, projected=False)
_SECOND = SignalNoisePrior(100, 2000, signal_norm=15.0, sigma=1.0, axis=1, projected=False)


class PairedBatch(NamedTuple):
    """Sample i of the first modality and sample i of the second have the same label."""

    first: PatchBatch
    second: PatchBatch


@dataclass(frozen=True)
class PairedModalitiesPrior:
    """x = (y mu, xi) and x' = (y mu', xi'): y is shared, xi and xi' are independent.

    The defaults are the paper's: n = 100, d = 2000, mu = 5 e_1, mu' = 15 e_2, noise of standard
    deviation 1 that is not projected off the signals. So n SNR^2 is 1.25 and 11.25.
    """

    first: SignalNoisePrior = _FIRST
    second: SignalNoisePrior = _SECOND

    def __post_init__(self) -> None:
        if self.first.n_points != self.second.n_points:
            raise ValueError(
                f"n_points: {self.first.n_points} and {self.second.n_points} cannot be paired; "
                "pass priors of one n_points"
            )
        if self.first.label_flip > 0 or self.second.label_flip > 0:
            raise ValueError("label_flip: the modalities share one label; pass priors without")

    @property
    def norm_ratio(self) -> float:
        """C_mu = norm(mu') / norm(mu); the paper's theory asks for 2.66 and more."""
        return self.second.strength.signal_norm / self.first.strength.signal_norm

    def sample(self, stream: TaskStream) -> PairedBatch:
        """Pairs about signal vectors of their own."""
        first = self.first.sample(stream)
        second = self.second.labelled(
            self.second.signals(stream), first.clean_y, first.clean_y, stream
        )
        return PairedBatch(first, second)
