"""The chosen columns as one matrix of numbers, coded as the fitted model codes them.

Axes: rows are points n, columns after one-hot coding are features d.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from statformer.estimators import AttentionMixture


@dataclass(frozen=True)
class Encoded:
    """The matrix X in the caller's units, and what brings its columns to mean 0 and variance 1."""

    X: Float[np.ndarray, "n d"]
    names: list[str]
    centre: Float[np.ndarray, " d"]
    scale: Float[np.ndarray, " d"]

    def standardised(self) -> Float[np.ndarray, "n d"]:
        """(X - centre) / scale, what the rivals are given."""
        return (self.X - self.centre) / self.scale

    def in_units(
        self, means: Float[np.ndarray, "c d"], covariances: Float[np.ndarray, "c d d"]
    ) -> tuple[Float[np.ndarray, "c d"], Float[np.ndarray, "c d d"]]:
        """Centres of the standardised matrix in the caller's units."""
        scales = self.scale[:, None] * self.scale[None, :]
        return means * self.scale + self.centre, covariances * scales


def encode(frame: pd.DataFrame, model: AttentionMixture) -> Encoded:
    """Numbers filled with their median, text one-hot: the rivals see what the model sees."""
    X, _ = model._encoder.encode(frame)
    size = np.maximum(np.abs(X).max(axis=0), np.finfo(np.float64).tiny)
    scale = (X / size).std(axis=0) * size  # no square of 1e150 on the way
    centre = (X / size).mean(axis=0) * size
    return Encoded(X, model.encoded_feature_names_, centre, np.where(scale > 0, scale, 1.0))
