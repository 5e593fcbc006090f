"""How strong the signal of a patch model is, given by two of three numbers."""

from __future__ import annotations

import math
from typing import NamedTuple


class Strength(NamedTuple):
    """`signal_norm`, the length of mu, and `sigma`, the standard deviation of a noise entry."""

    signal_norm: float
    sigma: float

    def snr(self, n_features: int) -> float:
        """SNR = norm(mu) / (sigma sqrt(d))."""
        return self.signal_norm / (self.sigma * math.sqrt(n_features))


def strength(
    n_points: int,
    n_features: int,
    signal_norm: float | None,
    sigma: float | None,
    n_snr2: float | None,
) -> Strength:
    """The third of norm(mu), sigma and n SNR^2 = n norm(mu)^2 / (sigma^2 d) from the other two.

    Raises ValueError unless exactly two are given (one alone leaves the model open, three may
    contradict each other), and where sigma is not above 0, or norm(mu) or n SNR^2 is below 0, or
    sigma is asked for from a number that is 0.
    """
    given = f"signal_norm={signal_norm}, sigma={sigma}, n_snr2={n_snr2}"
    n_given = sum(value is not None for value in (signal_norm, sigma, n_snr2))
    if n_given != 2:
        word = "under" if n_given < 2 else "over"
        raise ValueError(f"{given}: {word}-specified; pass exactly two of the three")
    if n_points < 1 or n_features < 1:
        raise ValueError(
            f"n_points={n_points}, n_features={n_features}: pass at least 1 point and 1 feature"
        )
    for name, value in (("signal_norm", signal_norm), ("n_snr2", n_snr2)):
        if value is not None and not 0 <= value < math.inf:
            raise ValueError(f"{name}={value}: pass a finite number of at least 0")
    if sigma is not None:
        if not 0 < sigma < math.inf:
            raise ValueError(f"sigma={sigma}: pass a finite number above 0")
        if signal_norm is None:
            assert n_snr2 is not None
            signal_norm = sigma * math.sqrt(n_snr2 * n_features / n_points)
        return Strength(signal_norm, sigma)
    assert signal_norm is not None
    assert n_snr2 is not None
    if signal_norm == 0 or n_snr2 == 0:
        raise ValueError(f"{given}: a value of 0 leaves sigma open; pass sigma instead")
    return Strength(signal_norm, signal_norm / math.sqrt(n_snr2 * n_features / n_points))
