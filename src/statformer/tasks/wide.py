"""The wide prior over clustering tables: distorted mixtures, shapes, categories, missing cells.

Every piece has a name, a rate and a place in the order below; `docs/prior.md` describes each.
Tables of a step share n and d; everything else is drawn per table, on the stream's device. A piece
is drawn from a branch of the task's stream for the tables that have it, so leaving a piece out
changes no table that was without it.

Axes: b tasks, n points, d features, c components.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from statformer.batch import TaskBatch
from statformer.tasks import cloud, columns, ingredients
from statformer.tasks.gaussian_mixture import compact
from statformer.tasks.missing import MECHANISMS, observed_cells
from statformer.tasks.shapes import SHAPES, shaped
from statformer.tasks.stream import TaskStream

WIDE_RATES: dict[str, float] = {
    "imbalance": 0.20,
    "wide_spectrum": 0.20,
    "heavy_tails": 0.15,
    "very_heavy_tails": 0.08,
    "skew": 0.20,
    "uniform": 0.10,
    "bent": 0.10,
    **dict.fromkeys(SHAPES, 0.05),
    "background": 0.10,
    "smooth_map": 0.15,
    "coupled_map": 0.12,
    "correlated": 0.15,
    "irrelevant": 0.12,
    "bounded": 0.12,
    "outliers": 0.12,
    "counts": 0.12,
    "discrete": 0.20,
    "ordinal": 0.12,
    "nominal": 0.12,
    "mcar": 0.12,
    "mar": 0.08,
    "mnar": 0.08,
}
GROUPS: dict[str, tuple[str, ...]] = {
    "shapes": SHAPES,
    "categorical": ("ordinal", "nominal"),
    "missing": MECHANISMS,
}
# How many columns a table needs to have a piece (1 where nothing is said).
LEAST_COLUMNS: dict[str, int] = {
    **dict.fromkeys((*SHAPES, *MECHANISMS, "wide_spectrum", "coupled_map"), 2),
    **dict.fromkeys(("ordinal", "nominal"), 2),
    "correlated": 3,  # with two columns a copy would leave one
}
_NOISE = ("heavy_tails", "very_heavy_tails", "skew", "uniform")


@dataclass(frozen=True)
class WidePrior:
    """Clustering tables of every kind we know of, each piece with its own rate (ours).

    K = 1 with probability `single` where the range allows it, else K between half of the step's
    largest K and that K. The base is a Gaussian mixture as in `GaussianMixturePrior` or, where a
    shape is on, `shapes.shaped`; then the pieces act in the order of `WIDE_RATES`: on weights and
    noise, on the cloud, on columns, on cells. n, d and K are log-uniform on their ranges; n is cut
    so that n K d (1 + d / 16) stays below `cell_budget` (None: no cut).

    `latent` holds a mask "b" per piece, "is_shape" and "is_gaussian" "b" (no piece at all),
    "weights" "b c", "is_categorical" "b d" (columns that hold codes 0, 1, ...) and "observed"
    "b n d" (X is NaN elsewhere).
    """

    n_points: tuple[int, int] = (20, 5000)
    n_features: tuple[int, int] = (1, 128)
    n_components: tuple[int, int] = (1, 30)
    separation: tuple[float, float] = (1.0, 12.0)
    single: float = 0.12
    rates: Mapping[str, float] = field(default_factory=lambda: dict(WIDE_RATES))
    cell_budget: int | None = 300_000

    def __post_init__(self) -> None:
        unknown = set(self.rates) - set(WIDE_RATES)
        if unknown:
            raise ValueError(f"rates has unknown pieces {sorted(unknown)}; use {list(WIDE_RATES)}")

    def without(self, *names: str) -> WidePrior:
        """The same prior with some pieces, or groups of pieces, at rate 0."""
        out = pieces(*names)
        return replace(self, rates={k: 0.0 if k in out else v for k, v in self.rates.items()})

    def only(self, *names: str) -> WidePrior:
        """Gaussian mixtures with just these pieces, or groups, each in every table."""
        chosen = pieces(*names)
        return replace(self, rates={k: 1.0 if k in chosen else 0.0 for k in WIDE_RATES})

    def sample(self, stream: TaskStream) -> TaskBatch:
        """Tables, labels and truth; cells that were not observed are NaN."""
        n, d, c = self._shape(stream)
        b, device = len(stream), stream.device
        u = stream.uniform(len(WIDE_RATES))
        rates = [self.rates.get(k, 0.0) * (d >= LEAST_COLUMNS.get(k, 1)) for k in WIDE_RATES]
        on = {k: u[:, i] < rate for i, (k, rate) in enumerate(zip(WIDE_RATES, rates, strict=True))}
        weights, y = self._membership(stream, c, n, on["imbalance"])
        X = self._cloud(stream, weights > 0, y, d, on)
        X, y = _pair(cloud.background, stream, X, y, on["background"])
        X = _each(_smooth_map, stream, X, on["smooth_map"])
        X = _each(cloud.coupled_map, stream, X, on["coupled_map"])
        X = _each(columns.correlated, stream, X, on["correlated"])
        X = _each(_irrelevant, stream, X, on["irrelevant"])
        X = _each(_skewed_margins, stream, X, on["skew"])
        X = _each(columns.bounded, stream, X, on["bounded"])
        X, y = _pair(_outliers, stream, X, y, on["outliers"])
        X = _each(columns.counts, stream, X, on["counts"])
        X = _each(_discretised, stream, X, on["discrete"])
        nowhere = torch.zeros(b, d, dtype=torch.bool, device=device)
        X, declared = _marked(columns.ordinal, stream, X, nowhere, on["ordinal"])
        nominal = functools.partial(columns.nominal, n_components=c)
        X, codes = _marked(nominal, stream, X, nowhere, on["nominal"], y)
        y, count = compact(y, c)
        observed = _observed(stream, X, torch.stack([on[k] for k in MECHANISMS], -1))
        is_shape = torch.stack([on[k] for k in SHAPES]).any(0)
        latent = {
            **on,
            "is_shape": is_shape,
            "is_gaussian": ~torch.stack(list(on.values())).any(0),
            "weights": weights,
            "is_categorical": declared | codes,
            "observed": observed,
        }
        everywhere = torch.ones(b, n, dtype=torch.bool, device=device)
        X = torch.where(observed, X, math.nan)
        return TaskBatch(X, y, count, everywhere, ~nowhere, latent)

    def _shape(self, stream: TaskStream) -> tuple[int, int, int]:
        u = stream.shared().uniform(3)[0].tolist()

        def pick(low: int, high: int, x: float) -> int:
            ends = math.log(low), math.log(high + 1)
            return min(int(math.exp(ends[0] + (ends[1] - ends[0]) * x)), high)

        d = pick(*self.n_features, u[0])
        most = self.n_components[1]
        c = pick(min(max(self.n_components[0], 2), most), most, u[1])
        low, high = self.n_points
        low = min(max(low, 4 * c), high)
        if self.cell_budget is not None:
            high = max(low, min(high, int(self.cell_budget / (c * d * (1.0 + d / 16.0)))))
        return pick(low, high, u[2]), d, c

    def _membership(
        self, stream: TaskStream, c: int, n: int, imbalance: Bool[Tensor, " b"]
    ) -> tuple[Float[Tensor, "b c"], Int[Tensor, "b n"]]:
        """Weights of the components that are there, and the component of each point."""
        fewest = self.n_components[0]
        K = stream.integers(min(max(fewest, 2, (c + 1) // 2), c), c + 1)
        one = (stream.uniform() < self.single) & (fewest == 1)
        K = torch.where(one, torch.ones_like(K), K)
        present = torch.arange(c, device=stream.device) < K[:, None]
        alpha = ingredients.log_uniform(stream, 0.7, 10.0)
        weights = stream.dirichlet(alpha, c) * present
        weights = weights / weights.sum(-1, keepdim=True)
        weights = _each(lambda s, w: cloud.imbalanced(s, w, n), stream, weights, imbalance)
        edges = weights.cumsum(-1)
        y = torch.searchsorted(edges, stream.uniform(n) * edges[:, -1:], right=True)
        # rounding can step past the last component that is there
        return weights, torch.minimum(y, K[:, None] - 1)

    def _cloud(
        self,
        stream: TaskStream,
        present: Bool[Tensor, "b c"],
        y: Int[Tensor, "b n"],
        d: int,
        on: Mapping[str, Bool[Tensor, " b"]],
    ) -> Float[Tensor, "b n d"]:
        """The points before anything happens to the table: shapes or mixtures."""
        c = present.shape[1]
        z = ingredients.noise(stream.branch(), y, c, d, {k: on[k] for k in _NOISE})
        shapes = torch.stack([on[k] for k in SHAPES], -1)
        is_shape = shapes.any(-1)
        X = torch.zeros_like(z)
        rows = torch.nonzero(is_shape)[:, 0]
        branch = stream.branch(rows)
        if len(rows):
            X[rows] = shaped(branch, y[rows], present[rows], z[rows], shapes[rows])
        rows = torch.nonzero(~is_shape)[:, 0]
        branch = stream.branch(rows)
        if len(rows):
            here = {k: on[k][rows] for k in ("bent", "wide_spectrum")}
            X[rows] = self._mixture(branch, present[rows], y[rows], z[rows], here)
        return X

    def _mixture(
        self,
        stream: TaskStream,
        present: Bool[Tensor, "b c"],
        y: Int[Tensor, "b n"],
        z: Float[Tensor, "b n d"],
        on: Mapping[str, Bool[Tensor, " b"]],
    ) -> Float[Tensor, "b n d"]:
        """x_i = mu_{y_i} + A_{y_i} z_i, component after component."""
        c, d = present.shape[1], z.shape[-1]
        A = ingredients.mixing_matrices(stream, c, d)
        separation = ingredients.log_uniform(stream, *self.separation)
        means = ingredients.separated_centres(stream, present, d, separation)
        z = ingredients.bend(stream, z, y, c, on["bent"])
        rows = torch.nonzero(on["wide_spectrum"])[:, 0]
        branch = stream.branch(rows)
        if len(rows):
            means[rows], A[rows] = cloud.wide_spectrum(branch, means[rows], A[rows])
        X = torch.zeros_like(z)
        for k in range(c):
            X = torch.where((y == k)[..., None], z @ A[:, k].mT + means[:, k, None], X)
        return X


def pieces(*names: str) -> set[str]:
    """The pieces that names of pieces and of groups stand for."""
    unknown = set(names) - set(WIDE_RATES) - set(GROUPS)
    if unknown:
        raise ValueError(
            f"unknown pieces {sorted(unknown)}; choose from {[*WIDE_RATES]} or {[*GROUPS]}"
        )
    return {piece for name in names for piece in GROUPS.get(name, (name,))}


# ---------------------------------------------------------------------------------------------
# A piece for the tables that have it


def _each(
    piece: Callable[[TaskStream, Tensor], Tensor], stream: TaskStream, X: Tensor, on: Tensor
) -> Tensor:
    rows = torch.nonzero(on)[:, 0]
    branch = stream.branch(rows)
    return X.index_copy(0, rows, piece(branch, X[rows])) if len(rows) else X


def _pair(
    piece: Callable[[TaskStream, Tensor, Tensor], tuple[Tensor, Tensor]],
    stream: TaskStream,
    X: Tensor,
    y: Tensor,
    on: Tensor,
) -> tuple[Tensor, Tensor]:
    rows = torch.nonzero(on)[:, 0]
    branch = stream.branch(rows)
    if not len(rows):
        return X, y
    moved, labels = piece(branch, X[rows], y[rows])
    return X.index_copy(0, rows, moved), y.index_copy(0, rows, labels)


def _marked(
    piece: Callable[..., tuple[Tensor, Tensor]],
    stream: TaskStream,
    X: Tensor,
    marks: Tensor,
    on: Tensor,
    *others: Tensor,
) -> tuple[Tensor, Tensor]:
    rows = torch.nonzero(on)[:, 0]
    branch = stream.branch(rows)
    if not len(rows):
        return X, marks
    changed, found = piece(branch, X[rows], *(other[rows] for other in others))
    return X.index_copy(0, rows, changed), marks.index_copy(0, rows, found)


def _observed(stream: TaskStream, X: Tensor, on: Bool[Tensor, "b s"]) -> Bool[Tensor, "b n d"]:
    rows = torch.nonzero(on.any(-1))[:, 0]
    branch = stream.branch(rows)
    everything = torch.ones(X.shape, dtype=torch.bool, device=X.device)
    if not len(rows):
        return everything
    return everything.index_copy(0, rows, observed_cells(branch, X[rows], on[rows]))


def _all(X: Tensor) -> Tensor:
    return torch.ones(len(X), dtype=torch.bool, device=X.device)


def _smooth_map(stream: TaskStream, X: Tensor) -> Tensor:
    return ingredients.smooth_map(stream, X, _all(X))


def _irrelevant(stream: TaskStream, X: Tensor) -> Tensor:
    return ingredients.irrelevant(stream, X, _all(X))


def _skewed_margins(stream: TaskStream, X: Tensor) -> Tensor:
    return ingredients.skewed_margins(stream, X, _all(X))


def _discretised(stream: TaskStream, X: Tensor) -> Tensor:
    return ingredients.discretised(stream, X, _all(X))


def _outliers(stream: TaskStream, X: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    return ingredients.outliers(stream, X, y, _all(X))
