"""Losses of networks that answer with eigenvalues or eigenvectors.

Axes: b tasks, d features, k components.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

_SMALLEST = 1e-8  # the paper's; a computed eigenvalue may be 0


def relative_squared_error(
    predicted: Float[Tensor, "b k"], truth: Float[Tensor, "b k"]
) -> Float[Tensor, "b k"]:
    """((lambda - lambda_hat) / (lambda + 1e-8))^2 per component (He et al. 2025, public code)."""
    return ((truth - predicted) / (truth + _SMALLEST)).square()


def abs_cosine(
    predicted: Float[Tensor, "b k d"], truth: Float[Tensor, "b k d"]
) -> Float[Tensor, "b k"]:
    """|cos| of the angle between v_hat_j and v_j; 0 for a prediction of length 0.

    The absolute value is ours. The paper's labels have arbitrary signs and its cosine does not
    forgive them, which a reviewer flagged.
    """
    product = (predicted * truth).sum(-1)
    lengths = predicted.norm(dim=-1) * truth.norm(dim=-1)
    return product.abs() / lengths.clamp_min(_SMALLEST)


def eigenvalue_loss(
    predicted: Float[Tensor, "b k"], truth: Float[Tensor, "b k"]
) -> Float[Tensor, " b"]:
    """The mean over components of `relative_squared_error`."""
    return relative_squared_error(predicted, truth).mean(-1)


def eigenvector_loss(
    predicted: Float[Tensor, "b k d"], truth: Float[Tensor, "b k d"]
) -> Float[Tensor, " b"]:
    """1 - the mean over components of |cos|."""
    return 1.0 - abs_cosine(predicted, truth).mean(-1)
