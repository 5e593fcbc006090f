"""What the experiments on feature learning watch: signal against noise in the filters.

Everything here works in d features and in span coordinates alike.

Axes: b runs, m filters, s signal vectors, i noise vectors, d features, t times.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Products:
    """Inner products of every filter with every signal vector and every noise vector."""

    signal: Float[Tensor, "b m s"]
    noise: Float[Tensor, "b m i"]

    @property
    def ratio(self) -> Float[Tensor, " b"]:
        """R = max |<w_r, mu_s>| / max |<w_r, xi_i>| (arXiv 2412.01021: the maxima; R is ours)."""
        return self.summary("max")[0] / self.summary("max")[1]

    def summary(
        self, by: Literal["max", "mean", "median"]
    ) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"]]:
        """The "max", "mean" or "median" of the absolute products with signal and with noise.

        Which of them arXiv 2411.02837 plots is not found, so all three can be had. The median of
        an even number is the mean of the two in the middle.
        """
        signal, noise = self.signal.abs().flatten(1), self.noise.abs().flatten(1)
        if by == "max":
            return signal.amax(1), noise.amax(1)
        if by == "mean":
            return signal.mean(1), noise.mean(1)
        return signal.quantile(0.5, dim=1), noise.quantile(0.5, dim=1)


class Decomposition(NamedTuple):
    """w_r(t) = w_r(0) + sum_s gamma_rs mu_s / |mu_s|^2 + sum_i rho_ri xi_i / |xi_i|^2 + rest_r.

    `rest` is |rest_r| / |w_r(t) - w_r(0)|, 0 where a filter has not moved.
    """

    gamma: Float[Tensor, "b m s"]
    rho: Float[Tensor, "b m i"]
    rest: Float[Tensor, "b m"]


class Growth(NamedTuple):
    """R^2 of a straight line through the values, and through their logarithms."""

    linear: float
    exponential: float


def products(
    W: Float[Tensor, "b m d"], signals: Float[Tensor, "b s d"], noise: Float[Tensor, "b i d"]
) -> Products:
    """<w_r, mu_s> and <w_r, xi_i>."""
    return Products(W @ signals.mT, W @ noise.mT)


def decompose(
    W: Float[Tensor, "b m d"],
    first: Float[Tensor, "b m d"],
    signals: Float[Tensor, "b s d"],
    noise: Float[Tensor, "b i d"],
) -> Decomposition:
    """gamma and rho of arXiv 2202.06526 and 2411.02837 by least squares.

    `first` are the filters at the start. Of two antipodal signals pass one. Raises ValueError where
    there are more vectors than features, and a movement has many decompositions.
    """
    vectors = torch.cat([signals, noise], 1)
    if vectors.shape[1] > vectors.shape[2]:
        raise ValueError(
            f"{vectors.shape[1]} vectors in {vectors.shape[2]} features: the decomposition is not "
            "unique; pass at most as many vectors"
        )
    moved = (W - first).mT
    directions = (vectors / vectors.square().sum(-1, keepdim=True)).mT
    coefficients = torch.linalg.lstsq(directions, moved).solution
    rest = (moved - directions @ coefficients).norm(dim=1)
    length = moved.norm(dim=1)
    gamma, rho = coefficients.mT.split([signals.shape[1], noise.shape[1]], dim=-1)
    return Decomposition(gamma, rho, torch.where(length > 0, rest / length, 0.0))


def growth(
    times: Float[np.ndarray, " t"], values: Float[np.ndarray, " t"], factor: float = 10.0
) -> Growth:
    """How straight a curve is on either scale until it first exceeds `factor` times its start.

    Raises ValueError where fewer than three positive values come before that.
    """
    above = np.flatnonzero(values > factor * values[0])
    end = above[0] if len(above) else len(values)
    x, y = times[:end], values[:end]
    if len(y) < 3 or not np.all(y > 0):
        raise ValueError(
            f"{len(y)} values before {factor} times the first, which should be three or more and "
            "positive; record more times"
        )
    squared = [np.corrcoef(x, z)[0, 1] ** 2 for z in (y, np.log(y))]
    return Growth(float(squared[0]), float(squared[1]))
