"""Priors over clustering tables: a wide one of ours, the paper's family, and TGMM's.

Every table of a step has the same number of rows and columns (drawn for the step); components,
shapes and distortions are drawn per table, all on the device and without a loop over tables.

Axes: b tasks, n points, d features, c components.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from statformer.batch import TaskBatch
from statformer.tasks import ingredients
from statformer.tasks.stream import TaskStream

RATES: dict[str, float] = {
    "heavy_tails": 0.20,
    "very_heavy_tails": 0.12,
    "skew": 0.25,
    "uniform": 0.12,
    "bent": 0.15,
    "smooth_map": 0.25,
    "discrete": 0.20,
    "irrelevant": 0.15,
    "outliers": 0.20,
}


@dataclass(frozen=True)
class GaussianMixturePrior:
    """Mixtures as tables have them: Gaussian at heart, distorted piece by piece (ours).

    K ~ the component range, weights ~ Dirichlet(alpha) with alpha log-uniform on 0.7 to 10,
    centres at a mean nearest distance log-uniform on `separation` (units of the mean within
    standard deviation), covariances spherical, diagonal, tied or full (`ingredients`); then each
    ingredient with its rate: noise inside a component (heavy_tails, very_heavy_tails, skew,
    uniform, bent), maps of the whole table (smooth_map, skew of margins, discrete), columns
    without structure (irrelevant) and points without a component (outliers).

    n, d and K are log-uniform on their ranges; n is cut so that n K d (1 + d / 16), about what a
    layer costs, stays below `cell_budget` (None: no cut). K of a task lies between half of the
    step's largest K and that K, except that one task in ten has K = 1 where the range allows it.
    """

    n_points: tuple[int, int] = (20, 1000)
    n_features: tuple[int, int] = (1, 64)
    n_components: tuple[int, int] = (2, 20)
    separation: tuple[float, float] = (1.0, 12.0)
    rates: Mapping[str, float] = field(default_factory=lambda: dict(RATES))
    cell_budget: int | None = 100_000

    def __post_init__(self) -> None:
        unknown = set(self.rates) - set(RATES)
        if unknown:
            raise ValueError(f"rates has unknown ingredients {sorted(unknown)}; use {list(RATES)}")

    def without(self, *names: str) -> GaussianMixturePrior:
        """The same prior with some ingredients at rate 0."""
        self._check(names)
        return replace(self, rates={k: 0.0 if k in names else v for k, v in self.rates.items()})

    def only(self, *names: str) -> GaussianMixturePrior:
        """Gaussian mixtures with just these ingredients, each in every table."""
        self._check(names)
        return replace(self, rates={k: 1.0 if k in names else 0.0 for k in RATES})

    def sample(self, stream: TaskStream) -> TaskBatch:
        """Tables, labels and truth; `latent` as in `_truth`."""
        n, d, c = self._shape(stream)
        b = len(stream)
        on = {k: stream.uniform() < self.rates.get(k, 0.0) for k in RATES}
        K = self._counts(stream, c)
        present = torch.arange(c, device=stream.device) < K[:, None]
        alpha = ingredients.log_uniform(stream, 0.7, 10.0)
        weights = stream.dirichlet(alpha, c) * present
        weights = weights / weights.sum(-1, keepdim=True)
        y = _categorical(weights, stream.uniform(n))
        A = ingredients.mixing_matrices(stream, c, d)
        separation = ingredients.log_uniform(stream, *self.separation)
        means = ingredients.separated_centres(stream, present, d, separation)
        z = ingredients.noise(stream, y, c, d, on)
        z = ingredients.bend(stream, z, y, c, on["bent"])
        X = _place(z, y, means, A)
        X = ingredients.smooth_map(stream, X, on["smooth_map"])
        X = ingredients.skewed_margins(stream, X, on["skew"])
        X = ingredients.irrelevant(stream, X, on["irrelevant"])
        X = ingredients.discretised(stream, X, on["discrete"])
        X, y = ingredients.outliers(stream, X, y, on["outliers"])
        y, count = compact(y, c)
        everywhere = torch.ones(b, n, dtype=torch.bool, device=X.device)
        columns = torch.ones(b, d, dtype=torch.bool, device=X.device)
        latent = {"weights": weights, "means": means, "covariances": A @ A.mT, **on}
        latent["is_gaussian"] = ~torch.stack(list(on.values())).any(0)
        return TaskBatch(X, y, count, everywhere, columns, latent)

    def _check(self, names: tuple[str, ...]) -> None:
        unknown = set(names) - set(RATES)
        if unknown:
            raise ValueError(f"unknown ingredients {sorted(unknown)}; choose from {list(RATES)}")

    def _shape(self, stream: TaskStream) -> tuple[int, int, int]:
        u = stream.shared().uniform(3)[0].tolist()

        def pick(bounds: tuple[int, int], x: float) -> int:
            low, high = math.log(bounds[0]), math.log(bounds[1] + 1)
            return min(int(math.exp(low + (high - low) * x)), bounds[1])

        d = pick(self.n_features, u[0])
        c = pick(self.n_components, u[1])
        low, high = self.n_points
        low = min(max(low, 4 * c), high)
        if self.cell_budget is not None:
            high = max(low, min(high, int(self.cell_budget / (c * d * (1.0 + d / 16.0)))))
        return pick((low, high), u[2]), d, c

    def _counts(self, stream: TaskStream, c: int) -> Int[Tensor, " b"]:
        low = max(self.n_components[0], (c + 1) // 2)
        K = stream.integers(low, c + 1)
        single = stream.uniform() < 0.1
        if self.n_components[0] == 1 and c > 1:
            K = torch.where(single, torch.ones_like(K), K)
        return K


@dataclass(frozen=True)
class PaperMixturePrior:
    """Isotropic mixtures with known sigma, separation in units of sigma.

    x = theta_z + sigma N(0, I), equal weights, the centres on a random direction (K = 2) or at
    the corners of a random regular simplex (K > 2, needs d >= K - 1), at distance
    Delta = separation * sigma of each other. The simplest setting of He et al. 2025 (arXiv
    2502.06007); their covariances, sizes, weights and centres were not found, so these are ours.
    """

    n_points: int = 200
    n_features: int = 4
    n_components: int = 3
    separation: tuple[float, float] = (3.0, 5.0)
    sigma: float = 1.0
    dtype: torch.dtype = torch.float32

    def __post_init__(self) -> None:
        if self.n_features < self.n_components - 1:
            raise ValueError(
                f"n_features={self.n_features} cannot hold {self.n_components} equidistant "
                f"centres; use at least {self.n_components - 1}"
            )

    def sample(self, stream: TaskStream) -> TaskBatch:
        """Tables with the true centres in latent["means"] and Delta in latent["delta"]."""
        n, d, c = self.n_points, self.n_features, self.n_components
        low, high = self.separation
        delta = (low + (high - low) * stream.uniform()) * self.sigma
        width = max(c, d)
        corners = torch.eye(c, width, dtype=stream.dtype, device=stream.device)
        corners = (corners - corners.mean(0)) / math.sqrt(2.0)  # mutual distance 1
        basis = torch.linalg.svd(corners, full_matrices=False)[2][: max(c - 1, 1)]
        flat = corners @ basis.mT  # c, c - 1 coordinates
        Q, _ = torch.linalg.qr(stream.normal(d, d))
        means = delta[:, None, None] * (flat @ Q[:, : flat.shape[1], :])
        means = means + stream.normal(1, d) * self.sigma
        y = stream.integers(0, c, n)
        at = y[..., None].expand(-1, -1, d)
        X = torch.gather(means, 1, at) + self.sigma * stream.normal(n, d)
        b = len(stream)
        return TaskBatch(
            X,
            y,
            torch.full((b,), c, device=X.device),
            torch.ones(b, n, dtype=torch.bool, device=X.device),
            torch.ones(b, d, dtype=torch.bool, device=X.device),
            {"means": means, "delta": delta, "sigma": torch.full_like(delta, self.sigma)},
        )


@dataclass(frozen=True)
class TGMMPrior:
    """Instances of TGMM (Chen et al. 2025, arXiv 2505.11918; values from their public code).

    Means uniform on [-5, 5]^d, redrawn (here up to 40 times) while any two have cosine >= 0.8;
    weights uniform on [0.2, 0.8], sorted ascending, divided by their sum; unit covariance;
    the length of each instance uniform on [n / 2, n].
    """

    n_points: int = 128
    n_features: int = 8
    n_components: tuple[int, int] = (2, 5)

    def sample(self, stream: TaskStream) -> TaskBatch:
        """Tables padded to n points; latent holds "weights" and "means"."""
        n, d, c = self.n_points, self.n_features, self.n_components[1]
        K = stream.integers(self.n_components[0], c + 1)
        present = torch.arange(c, device=stream.device) < K[:, None]
        means = self._means(stream, present, d)
        raw = torch.where(present, 0.2 + 0.6 * stream.uniform(c), math.inf)
        raw = torch.sort(raw, dim=-1).values
        raw = torch.where(present, raw, torch.zeros_like(raw))
        weights = raw / raw.sum(-1, keepdim=True)
        y = _categorical(weights, stream.uniform(n))
        at = y[..., None].expand(-1, -1, d)
        X = torch.gather(means, 1, at) + stream.normal(n, d)
        length = stream.integers((n + 1) // 2, n + 1)
        is_point = torch.arange(n, device=X.device) < length[:, None]
        X = X * is_point[..., None]
        y = torch.where(is_point, y, torch.full_like(y, -1))
        columns = torch.ones(len(stream), d, dtype=torch.bool, device=X.device)
        return TaskBatch(X, y, K, is_point, columns, {"weights": weights, "means": means})

    def _means(self, stream: TaskStream, present: Bool[Tensor, "b c"], d: int) -> Tensor:
        c = present.shape[1]
        means = torch.zeros(len(stream), c, d, dtype=stream.dtype, device=stream.device)
        pending = torch.ones(len(stream), dtype=torch.bool, device=stream.device)
        pairs = present[:, :, None] & present[:, None, :]
        pairs = pairs & ~torch.eye(c, dtype=torch.bool, device=stream.device)
        for _ in range(40):
            drawn = 10.0 * stream.uniform(c, d) - 5.0
            means = torch.where(pending[:, None, None], drawn, means)
            unit = means / means.norm(dim=-1, keepdim=True)
            pending = ((unit @ unit.mT >= 0.8) & pairs).flatten(1).any(-1)
        return means


def compact(y: Int[Tensor, "b n"], c: int) -> tuple[Int[Tensor, "b n"], Int[Tensor, " b"]]:
    """Renumber the components that own points 0, 1, ... and count them; -1 stays."""
    hit = torch.zeros(y.shape[0], c + 1, dtype=torch.int64, device=y.device)
    hit.scatter_(1, torch.where(y < 0, torch.full_like(y, c), y), 1)
    hit = hit[:, :c]
    rank = hit.cumsum(-1) - 1
    renumbered = torch.gather(rank, 1, y.clamp_min(0))
    return torch.where(y < 0, y, renumbered), hit.sum(-1)


def posterior(batch: TaskBatch) -> Float[Tensor, "b n c"]:
    """Bayes-optimal responsibilities of Gaussian tables with the parameters in `latent`.

    Columns are the components of the latent parameters (before renumbering). Meaningful where
    latent["is_gaussian"]; everywhere for the other two priors.
    """
    means = batch.latent["means"].double()
    X = batch.X.double()
    if "covariances" in batch.latent:
        factor = torch.linalg.cholesky(batch.latent["covariances"].double())
    else:
        d = X.shape[-1]
        sigma = batch.latent.get("sigma", torch.ones(len(X))).double()
        eye = torch.eye(d, dtype=X.dtype)
        factor = (sigma[:, None, None, None] * eye).expand(*means.shape, d)
    weights = batch.latent.get("weights")
    log_pi = 0.0 if weights is None else torch.log(weights.double())[:, None, :]
    diff = (X[:, None] - means[:, :, None]).mT  # b c d n
    z = torch.linalg.solve_triangular(factor, diff, upper=False)
    log_det = torch.log(torch.diagonal(factor, dim1=-2, dim2=-1)).sum(-1)
    score = -0.5 * z.square().sum(2).mT - log_det[:, None, :] + log_pi
    return torch.softmax(score, dim=-1)


def _categorical(weights: Float[Tensor, "b c"], u: Float[Tensor, "b n"]) -> Int[Tensor, "b n"]:
    edges = weights.cumsum(-1)
    y = torch.searchsorted(edges.contiguous(), (u * edges[:, -1:]).contiguous(), right=True)
    # rounding can step past the last component that has weight
    top = (weights > 0).long().mul(torch.arange(weights.shape[1], device=u.device)).amax(-1)
    return torch.minimum(y, top[:, None])


def _place(z: Tensor, y: Tensor, means: Tensor, A: Tensor) -> Float[Tensor, "b n d"]:
    """x_i = mu_{y_i} + A_{y_i} z_i, every component at once and then the right one."""
    b, n, d = z.shape
    c = means.shape[1]
    wide = A.permute(0, 3, 1, 2).reshape(b, d, c * d)
    every = (z @ wide).reshape(b, n, c, d)
    at = y[:, :, None, None].expand(b, n, 1, d)
    x = torch.gather(every, 2, at)[:, :, 0]
    return x + torch.gather(means, 1, y[..., None].expand(b, n, d))
