"""Where the tables of a cell come from: the training prior, or families beside it.

Axes: n points, d features, c components.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from statformer.benchmarks.families import FAMILIES

SPARE = 6  # draws beyond what is needed: some have one component left after all
_STRIDE = 1_000_000  # seeds of the cells lie far from those of training and evaluation


@dataclass(frozen=True)
class Table:
    """A table in the units it was drawn in. y is -1 for points of no component.

    bayes  labels of the Bayes-optimal posterior, where it is known
    """

    X: Float[np.ndarray, "n d"]
    y: Int[np.ndarray, " n"]
    n_components: int
    bayes: Int[np.ndarray, " n"] | None = None


@dataclass(frozen=True)
class Source:
    """How the tables of a cell are drawn.

    family   "prior": the training prior as it is; "only X" and "with X": Gaussian mixtures with
             the ingredient X in every table, and the prior with X forced on; "copula", "curves"
    shapes   (n, d), taken in turn by blocks of tables
    """

    name: str
    family: str
    shapes: tuple[tuple[int, int], ...]
    separation: tuple[float, float]
    n_components: tuple[int, int] = (2, 10)

    @property
    def seed(self) -> int:
        """A seed from the name: cells do not depend on which others are measured."""
        return 7 * _STRIDE + zlib.crc32(self.name.encode()) % _STRIDE

    def block(self, index: int, n_tables: int) -> list[Table]:
        """Tables `index * n_tables` and the following; the same whatever else was drawn."""
        n, d = self.shapes[index % len(self.shapes)]
        found = []
        for table in self._draw(index, n_tables, n, d):
            if table.n_components >= self.n_components[0]:
                found.append(table)
            if len(found) == n_tables:
                return found
        raise RuntimeError(f"source {self.name!r}: too few tables with enough components")

    def _draw(self, index: int, n_tables: int, n: int, d: int) -> Iterator[Table]:
        if self.family in FAMILIES:
            yield from self._from_family(index, n_tables, n, d)
        else:
            yield from self._from_prior(index, n_tables, n, d)

    def _from_family(self, index: int, n_tables: int, n: int, d: int) -> Iterator[Table]:
        low, high = np.log(self.n_components[0]), np.log(self.n_components[1] + 1)
        for j in range(n_tables):
            rng = np.random.default_rng([self.seed, index, j])
            K = min(int(np.exp(rng.uniform(low, high))), self.n_components[1])
            apart = float(np.exp(rng.uniform(*np.log(self.separation))))
            X, y = FAMILIES[self.family](rng, n, d, K, apart)
            yield Table(X, y, K)

    def _from_prior(self, index: int, n_tables: int, n: int, d: int) -> Iterator[Table]:
        from statformer.tasks.gaussian_mixture import GaussianMixturePrior, posterior
        from statformer.tasks.stream import TaskStream

        prior = GaussianMixturePrior(
            n_points=(n, n),
            n_features=(d, d),
            n_components=self.n_components,
            separation=self.separation,
            cell_budget=None,
        )
        how, _, name = self.family.partition(" ")
        if how == "only":
            prior = prior.only(name)
        elif how == "with":
            prior.only(name)  # refuses an unknown ingredient
            prior = replace(prior, rates={**prior.rates, name: 1.0})
        elif how != "prior":
            raise ValueError(f"family={self.family!r} is unknown; see Source")
        batch = prior.sample(TaskStream(self.seed, index, range(n_tables + SPARE)))
        best = posterior(batch).argmax(dim=-1).numpy()
        for i in range(len(batch.X)):
            known = bool(batch.latent["is_gaussian"][i])
            yield Table(
                batch.X[i].double().numpy(),
                batch.y[i].numpy(),
                int(batch.n_components[i]),
                best[i] if known else None,
            )
