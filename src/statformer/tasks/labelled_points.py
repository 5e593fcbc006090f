"""Priors of labelled points on a sphere, and a query whose nearest point's label is asked for.

Axes: b tasks, n context points, d features.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from statformer.tasks.stream import TaskStream


@dataclass(frozen=True)
class LabelledPoints:
    """Prompts: context points with labels, a query, and the answer of one nearest neighbour.

    X        "b n d"  unit vectors
    y        "b n"    labels
    query    "b d"    unit vectors
    nearest  "b"      i* = argmin_i |x_i - query|^2; of ties the first
    target   "b"      y_i*
    """

    X: Float[Tensor, "b n d"]
    y: Float[Tensor, "b n"]
    query: Float[Tensor, "b d"]
    nearest: Int[Tensor, " b"]
    target: Float[Tensor, " b"]


@dataclass(frozen=True)
class LabelledPointsPrior:
    """x_1, ..., x_n and the query independent and uniform on the sphere; labels -1 or +1, evenly.

    After Li et al. 2024 (arXiv 2411.10830). Labels of -1 and +1 are those of their first figure;
    that the labels do not depend on the points is our reading. Sizes of their landscape: d = n = 4.
    """

    n_points: int = 4
    n_features: int = 4

    def __post_init__(self) -> None:
        _check(self.n_points, self.n_features)

    def sample(self, stream: TaskStream) -> LabelledPoints:
        """Prompts with the answers of one nearest neighbour."""
        X = _on_the_sphere(stream, self.n_points, self.n_features)
        query = _on_the_sphere(stream, 1, self.n_features)[:, 0]
        y = (2 * stream.integers(0, 2, self.n_points) - 1).to(X.dtype)
        nearest = (X @ query[:, :, None])[..., 0].argmax(1)
        return LabelledPoints(X, y, query, nearest, _at(y, nearest))


@dataclass(frozen=True)
class ShiftedPointsPrior:
    """The shifted test prompts of Li et al. 2024: Gaussian labels, and a margin around the query.

    x_i uniform on the sphere and y_i ~ N(0, 1); i* uniform, query = x_i*. Every other x_j with
    |x_j - query|^2 <= margin is replaced by -x_j, so that all are further than `margin` away (at
    least that far for a margin of 2, the largest). The antipode is our reading: the sign is lost in
    the text we saw, and without it nothing would be replaced. Their margin was not found.
    """

    n_points: int = 4
    n_features: int = 4
    margin: float = 0.5

    def __post_init__(self) -> None:
        _check(self.n_points, self.n_features)
        if not 0.0 < self.margin <= 2.0:
            raise ValueError(
                f"margin={self.margin!r}: pass a squared distance above 0 and up to 2; beyond it "
                "an antipode may be nearer than the point"
            )

    def sample(self, stream: TaskStream) -> LabelledPoints:
        """Prompts with the answers of one nearest neighbour."""
        X = _on_the_sphere(stream, self.n_points, self.n_features)
        y = stream.normal(self.n_points)
        nearest = stream.integers(0, self.n_points)
        query = X[torch.arange(len(X), device=X.device), nearest]
        is_near = (X - query[:, None]).square().sum(-1) <= self.margin
        is_near[torch.arange(len(X), device=X.device), nearest] = False
        X = torch.where(is_near[..., None], -X, X)
        return LabelledPoints(X, y, query, nearest, _at(y, nearest))


def _on_the_sphere(stream: TaskStream, n: int, d: int) -> Float[Tensor, "b n d"]:
    X = stream.normal(n, d)
    return X / X.norm(dim=-1, keepdim=True)


def _at(y: Float[Tensor, "b n"], index: Int[Tensor, " b"]) -> Float[Tensor, " b"]:
    return y.gather(1, index[:, None])[:, 0]


def _check(n_points: int, n_features: int) -> None:
    if n_points < 1 or n_features < 1:
        raise ValueError(
            f"n_points={n_points}, n_features={n_features}: pass at least 1 point and 1 feature"
        )
