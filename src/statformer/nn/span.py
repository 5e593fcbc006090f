"""Coordinates in which a patch network is trained exactly, and cheaply where patches are wide.

Axes: b runs side by side, r coordinates, d features of one patch.

Every gradient of a weight of `nn.vision` that multiplies patches lies in the span of the training
patches and of such weights. So gradient descent never leaves the span of the patches and of the
first weights, of dimension r <= (their number) however large d is; and since a network sees its
patches through inner products alone, it may as well be trained on coordinates in an orthonormal
basis of that span. Derived; the papers work in d dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Span:
    """A subspace per run, by an orthonormal basis.

    For weights w in the span and any x whatever, <w, x> = <inside(w), inside(x)>: what a network
    answers to fresh rows is exact too. Gaussian noise N(0, sigma^2 I) has coordinates
    N(0, sigma^2 I), and projecting it off a vector of the span does the same to its coordinates;
    so fresh rows may be drawn in coordinates from the start.

    One thing counts the features: the expected loss of a denoiser, whose eps has d entries. In r
    coordinates it is lower by p (d - r) / 2, the noise outside, which no weight can change.
    """

    basis: Float[Tensor, "b r d"]

    @classmethod
    def of(cls, *vectors: Float[Tensor, "b _ d"]) -> Span:
        """The span of vectors (and, where they depend on each other, of directions beside)."""
        return cls(torch.linalg.qr(torch.cat(vectors, 1).mT).Q.mT.contiguous())

    def inside(self, vectors: Float[Tensor, "b *rows d"]) -> Float[Tensor, "b *rows r"]:
        """Coordinates of what of the vectors lies in the span."""
        b, *rows, d = vectors.shape
        return (vectors.reshape(b, -1, d) @ self.basis.mT).reshape(b, *rows, -1)

    def vectors(self, coordinates: Float[Tensor, "b *rows r"]) -> Float[Tensor, "b *rows d"]:
        """The vectors that have these coordinates."""
        b, *rows, r = coordinates.shape
        return (coordinates.reshape(b, -1, r) @ self.basis).reshape(b, *rows, -1)
