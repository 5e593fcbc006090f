"""Low-rank tables with noise: what is left of a corrupted table when nothing went wrong (ours).

Axes: b tables, n points, d features, k components.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from statformer.tasks.stream import TaskStream

SCORES = ("normal", "laplace", "uniform", "two_groups", "four_groups", "student", "skew")
NOISES = ("isotropic", "columns", "correlated")


@dataclass(frozen=True)
class LowRank:
    """signal and noise "b n d", mean "b d"; basis "b k d" and eigenvalues "b d" of the population.

    The basis are the top eigenvectors of cov(signal) + cov(noise): what PCA of a table without end
    would find. mean noise variance is 1.
    """

    signal: Tensor
    noise: Tensor
    mean: Tensor
    basis: Tensor
    orthogonal: Tensor
    eigenvalues: Tensor

    @property
    def clean(self) -> Float[Tensor, "b n d"]:
        """The table itself."""
        return self.mean[:, None, :] + self.signal + self.noise


def low_rank(stream: TaskStream, n: int, d: int, k: int) -> LowRank:
    """x = mean + B' t + e with k scores t and noise e of mean variance 1.

    B has random orthonormal rows, in one table of five with three columns of ten left out first.
    Variances of the scores: the least is sqrt(d / n) c + 0.2 with c log-uniform on 2 to 60 (below
    c = 1 no method finds it), the others up to 30 times that, evenly spaced in logs with jitter.
    Noise: `NOISES` with odds 2 : 1 : 1, standard deviations of columns log-normal(0.4), or mixed
    by I + 0.6 G / sqrt(d). Scores: `SCORES`, normal in half of the tables. Means are as large as
    the signal.
    """
    loadings = stream.normal(k, d)
    sparse = (stream.uniform() < 0.2)[:, None, None] & (stream.uniform(1, d) < 0.3)
    loadings = torch.where(sparse, 0.05 * loadings, loadings)
    B = _orthonormal(loadings)
    least = math.sqrt(d / n) * torch.exp(_between(stream, math.log(2.0), math.log(60.0))) + 0.2
    ratio = _between(stream, 0.0, math.log(30.0))
    place = torch.arange(k, device=stream.device).flip(0) / max(k - 1, 1)
    jitter = 0.2 * stream.normal(k)
    variance = least[:, None] * torch.exp(ratio[:, None] * place + jitter)
    t = _scores(stream, n, k) * variance.sqrt()[:, None, :]
    kind = stream.integers(0, 4)
    widths = torch.exp(0.4 * stream.normal(d))
    mix = torch.eye(d, device=stream.device) + 0.6 * stream.normal(d, d) / math.sqrt(d)
    eye = torch.eye(d, device=stream.device).expand_as(mix)
    root = torch.where((kind == 2)[:, None, None], torch.diag_embed(widths), eye)
    root = torch.where((kind == 3)[:, None, None], mix.to(root.dtype), root)
    root = root / (root.square().sum((1, 2)) / d).sqrt()[:, None, None]
    noise = stream.normal(n, d) @ root
    covariance = root.mT @ root + B.mT @ (variance[..., None] * B)
    values, vectors = torch.linalg.eigh(covariance.double())
    values, vectors = values.flip(1), vectors.flip(2).mT.to(t.dtype)
    mean = stream.normal(d) * (variance.sum(1) / d).sqrt()[:, None]
    return LowRank(t @ B, noise, mean, vectors[:, :k], vectors[:, k:], values.to(t.dtype))


def _between(stream: TaskStream, low: float, high: float) -> Float[Tensor, " b"]:
    return low + (high - low) * stream.uniform()


def _orthonormal(W: Float[Tensor, "b k d"]) -> Float[Tensor, "b k d"]:
    return torch.linalg.qr(W.mT).Q.mT


def _scores(stream: TaskStream, n: int, k: int) -> Float[Tensor, "b n k"]:
    """Scores of variance 1, of one kind per table."""
    kind = stream.integers(0, 2 * len(SCORES) - 2)  # what is beyond the last kind is normal
    z, u = stream.normal(n, k), stream.uniform(n, k)
    group = torch.where(stream.uniform(n, k) < 0.5, -1.0, 1.0)
    four = (2.0 * stream.integers(0, 4, n, k) - 3.0) / math.sqrt(5.0)
    scale = (4.0 / (2.0 * stream.gamma(3.0, n, k))).sqrt()  # t with 6 degrees: variance 6 / 4
    exponential = -torch.log(u)
    kinds = [
        z,
        group * exponential / math.sqrt(2.0),
        (u - 0.5) * math.sqrt(12.0),
        0.95 * group + 0.31 * z,
        0.95 * four + 0.31 * z,
        z * scale,
        exponential - 1.0,
    ]
    found = z
    for index, values in enumerate(kinds):
        found = torch.where((kind == index)[:, None, None], values, found)
    return found
