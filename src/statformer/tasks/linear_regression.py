"""Priors of linear regressions: context points, a query, and the weights behind the labels.

Axes: b tasks, n context points, d features.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, einsum

from statformer.tasks.stream import TaskStream


@dataclass(frozen=True)
class LinearRegressions:
    """Prompts of linear regressions.

    X          "b n d"  context points
    y          "b n"    <w, x_i> + noise_std z_i
    query      "b d"
    target     "b"      the label of the query, with its noise
    w          "b d"
    noise_std  "b"      standard deviation of the noise of each task
    """

    X: Float[Tensor, "b n d"]
    y: Float[Tensor, "b n"]
    query: Float[Tensor, "b d"]
    target: Float[Tensor, " b"]
    w: Float[Tensor, "b d"]
    noise_std: Float[Tensor, " b"]


@dataclass(frozen=True)
class LinearRegressionPrior:
    """w ~ N(0, I/d), x ~ N(0, I), y = <w, x> + sigma z; sigma drawn evenly from `noise_stds`.

    The tasks of Bai et al. 2023 (arXiv 2306.04637). With `n_active` s, w is N(0, I/s) on s random
    coordinates and 0 elsewhere: their sparse regressions.
    """

    n_features: int = 20
    n_context: int = 40
    noise_stds: tuple[float, ...] = (0.1,)
    n_active: int | None = None

    def __post_init__(self) -> None:
        _check(self.n_features, self.n_context)
        if not self.noise_stds or min(self.noise_stds) < 0:
            raise ValueError(
                f"noise_stds={self.noise_stds!r}: pass at least one number, each of at least 0"
            )
        if self.n_active is not None and not 1 <= self.n_active <= self.n_features:
            raise ValueError(
                f"n_active={self.n_active}: pass 1 to n_features={self.n_features}, or None for all"
            )

    def sample(self, stream: TaskStream) -> LinearRegressions:
        """Prompts with the weights and the noise behind them."""
        n, d = self.n_context, self.n_features
        X, w = stream.normal(n + 1, d), stream.normal(d)
        order, z = stream.permutation(d), stream.normal(n + 1)
        kind = stream.integers(0, len(self.noise_stds))
        s = d if self.n_active is None else self.n_active
        w = torch.where(order < s, w, 0.0) / s**0.5
        sigma = torch.as_tensor(self.noise_stds, dtype=X.dtype, device=X.device)[kind]
        y = einsum("bnd,bd->bn", X, w) + sigma[:, None] * z
        return LinearRegressions(X[:, :n], y[:, :n], X[:, n], y[:, n], w, sigma)


@dataclass(frozen=True)
class CovariateRegressionPrior:
    """x ~ N(0, Sigma), w ~ N(0, Sigma^-1), y = <w, x> without noise.

    The tasks of Gatmiry et al. 2024 (arXiv 2410.08292), so that <w, x> has the same law whatever
    Sigma is. `eigenvalues` are those of Sigma, whose eigenvectors are the axes: the tasks and the
    loss of a looped layer do not change under rotations.
    """

    eigenvalues: tuple[float, ...] = (1.0,) * 10
    n_context: int = 20

    def __post_init__(self) -> None:
        _check(len(self.eigenvalues), self.n_context)
        if not min(self.eigenvalues) > 0:
            raise ValueError(f"eigenvalues={self.eigenvalues!r}: every one should be above 0")

    def sample(self, stream: TaskStream) -> LinearRegressions:
        """Prompts with the weights behind them."""
        n, d = self.n_context, len(self.eigenvalues)
        Z, v = stream.normal(n + 1, d), stream.normal(d)
        root = torch.as_tensor(self.eigenvalues, dtype=Z.dtype, device=Z.device).sqrt()
        X, w = Z * root, v / root
        y = einsum("bnd,bd->bn", X, w)
        return LinearRegressions(X[:, :n], y[:, :n], X[:, n], y[:, n], w, torch.zeros_like(y[:, 0]))


def _check(n_features: int, n_context: int) -> None:
    if n_features < 1 or n_context < 1:
        raise ValueError(
            f"{n_context} context points of {n_features} features; pass at least 1 of each"
        )
