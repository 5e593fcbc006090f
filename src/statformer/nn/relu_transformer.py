"""Normalised ReLU attention with residuals and ReLU steps within the tokens; matrices visible.

    H <- H + sum over heads of (1 / t) relu(H W_QK H') H W_OV,    H <- H + relu(H W_in) W_out

The architecture of Bai et al. 2023 (arXiv 2306.04637), tokens as rows: their <Q h_i, K h_j> is
h_i W_QK h_j' with W_QK = Q'K, and W_OV = V'. No softmax, scale, bias, mask or layer norm is hidden.
Written against the array API: numpy arrays or torch tensors, weights of the same kind as tokens.

Axes: b tables, t tokens, h heads, m token width, f hidden units.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from array_api_compat import array_namespace

from statformer.batch import Array


@dataclass(frozen=True)
class ReluLayer:
    """The matrices of one layer; None leaves a half out.

    W_QK, W_OV "h m m", W_in "m f", W_out "f m".
    """

    W_QK: Array | None = None
    W_OV: Array | None = None
    W_in: Array | None = None
    W_out: Array | None = None

    @property
    def n_heads(self) -> int:
        """Heads of the attention."""
        return 0 if self.W_QK is None else len(self.W_QK)

    def __call__(self, H: Any) -> Any:
        """The next residual stream "b t m"."""
        xp = array_namespace(H)
        if self.W_QK is not None and self.W_OV is not None:
            H = H + self._heard(xp, H)
        if self.W_in is not None and self.W_out is not None:
            H = H + _relu(xp, H @ self.W_in) @ self.W_out
        return H

    def _heard(self, xp: Any, H: Any) -> Any:
        heard = xp.zeros_like(H)
        keys = xp.matrix_transpose(H)
        for W_QK, W_OV in zip(self.W_QK, self.W_OV, strict=True):  # type: ignore[arg-type]
            heard = heard + _relu(xp, (H @ W_QK) @ keys) @ (H @ W_OV)
        return heard / H.shape[1]


class ReluTransformer:
    """H "b t m" -> the residual stream after the last layer. A layer may occur many times."""

    def __init__(self, layers: Sequence[ReluLayer]) -> None:
        self.layers = list(layers)

    @property
    def depth(self) -> int:
        """The number of layers."""
        return len(self.layers)

    @property
    def n_heads(self) -> int:
        """Heads of the layer that has most."""
        return max(layer.n_heads for layer in self.layers)

    def __call__(self, H: Any) -> Any:
        for layer in self.layers:
            H = layer(H)
        return H

    def record(self, H: Any) -> list[Any]:
        """The residual stream before the first layer and after every one."""
        streams = [H]
        for layer in self.layers:
            streams.append(layer(streams[-1]))
        return streams


def _relu(xp: Any, scores: Any) -> Any:
    return xp.where(scores > 0, scores, xp.zeros_like(scores))
