"""Where the tables of a battery come from: training priors, families beside them, own generators.

A table may hold numbers with holes and columns of codes. Every block of tables is drawn from the
name of its source, the number of the block and of the table, and nothing else.

Axes: n points, d numeric columns, q columns of codes, p columns of the plain matrix, c components.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from statformer.benchmarks.families import FAMILIES
from statformer.benchmarks.missing_cells import MECHANISMS, with_missing_cells
from statformer.benchmarks.mixed_columns import mixed_table
from statformer.benchmarks.shapes import SHAPES, shape_table
from statformer.benchmarks.single_clusters import KINDS, single_cluster

SPARE = 6  # draws beyond what is needed: some have one component left after all
_STRIDE = 1_000_000  # seeds of the cells lie far from those of training and evaluation


@dataclass(frozen=True)
class Table:
    """A table in the units it was drawn in. y is -1 for points of no component.

    X      "n d"  numbers; NaN where a cell is missing
    bayes  "n"    labels of the Bayes-optimal posterior, where it is known
    codes  "n q"  categorical columns as 0, 1, ...; -1 where a cell is missing; None without any
    name   what it holds, where a source mixes kinds
    """

    X: Float[np.ndarray, "n d"]
    y: Int[np.ndarray, " n"]
    n_components: int
    bayes: Int[np.ndarray, " n"] | None = None
    codes: Int[np.ndarray, "n q"] | None = None
    name: str = ""

    def given(self) -> Float[np.ndarray, "n d"] | pd.DataFrame:
        """What a user holds: the matrix, or a DataFrame in which codes are text."""
        if self.codes is None:
            return self.X
        frame = {f"x{j}": self.X[:, j] for j in range(self.X.shape[1])}
        for j, column in enumerate(self.codes.T):
            words = np.array([f"level {code}" for code in column], dtype=object)
            words[column < 0] = None
            frame[f"c{j}"] = words
        return pd.DataFrame(frame)

    def plain(self) -> Float[np.ndarray, "n p"]:
        """What a method of complete numbers can read: medians, most frequent levels, one-hot."""
        parts = [filled(self.X)]
        if self.codes is not None:
            for column in self.codes.T:
                counts = np.bincount(column[column >= 0], minlength=1)
                whole = np.where(column < 0, counts.argmax(), column)
                parts.append((whole[:, None] == np.flatnonzero(counts)).astype(np.float64))
        found: Float[np.ndarray, "n p"] = np.concatenate(parts, axis=1)
        return found


def filled(X: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
    """X with the median of the column in the place of NaN; a column of NaN is 0."""
    if not np.isnan(X).any():
        return X
    empty = np.isnan(X).all(axis=0)
    median = np.nanmedian(np.where(empty, 0.0, X), axis=0)
    return np.where(np.isnan(X), median, X)


@dataclass(frozen=True)
class Source:
    """How the tables of a cell are drawn.

    family   "prior": the prior of Gaussian mixtures; "wide": the wide prior; "only X" and
             "with X": Gaussian mixtures in which every table has the piece X, and the wide prior
             with X forced on, "left out X": the two in turn; "copula", "curves"; "shapes";
             "MCAR 0.2" and the like: Gaussian mixtures with cells taken out; "mixed columns";
             "one cluster"
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
        how, _, what = self.family.partition(" ")
        if how in MECHANISMS:
            tables = self._from_prior(index, n_tables, n, d, pure=True)
            for j, table in enumerate(tables):
                rng = np.random.default_rng([self.seed, index, j])
                yield replace(table, X=with_missing_cells(table.X, how, float(what), rng))
        elif self.family == "prior":
            yield from self._from_prior(index, n_tables, n, d)
        elif self.family == "left out " + (piece := self.family.removeprefix("left out ")):
            # shapes of tables take turns too, so the two ways change with every round of them
            way = "only" if (index + index // len(self.shapes)) % 2 == 0 else "with"
            yield from self._from_wide(index, n_tables, n, d, way, piece)
        elif how in {"wide", "only", "with"}:
            yield from self._from_wide(index, n_tables, n, d, how, what)
        else:
            yield from self._from_generator(index, n_tables, n, d)

    def _from_generator(self, index: int, n_tables: int, n: int, d: int) -> Iterator[Table]:
        low, high = np.log(self.n_components[0]), np.log(self.n_components[1] + 1)
        for j in range(n_tables):
            rng = np.random.default_rng([self.seed, index, j])
            K = min(int(np.exp(rng.uniform(low, high))), self.n_components[1])
            apart = float(np.exp(rng.uniform(*np.log(self.separation))))
            turn = index * n_tables + j
            if self.family in FAMILIES:
                X, y = FAMILIES[self.family](rng, n, d, K, apart)
                yield Table(X, y, K)
            elif self.family == "shapes":
                name = list(SHAPES)[turn % len(SHAPES)]
                X, y = shape_table(rng, n, name)
                yield Table(X, y, int(y.max()) + 1, name=name)
            elif self.family == "mixed columns":
                X, codes, y = mixed_table(rng, n, d, K)
                yield Table(X, y, K, codes=codes)
            elif self.family == "one cluster":
                name = list(KINDS)[turn % len(KINDS)]
                X = single_cluster(rng, n, d, name)
                yield Table(X, np.zeros(n, dtype=np.int64), 1, name=name)
            else:
                raise ValueError(f"family={self.family!r} is unknown; see Source")

    def _from_prior(
        self, index: int, n_tables: int, n: int, d: int, *, pure: bool = False
    ) -> Iterator[Table]:
        from statformer.tasks.gaussian_mixture import GaussianMixturePrior, posterior
        from statformer.tasks.stream import TaskStream

        prior = GaussianMixturePrior(
            n_points=(n, n),
            n_features=(d, d),
            n_components=self.n_components,
            separation=self.separation,
            cell_budget=None,
        )
        batch = (prior.only() if pure else prior).sample(
            TaskStream(self.seed, index, range(n_tables + SPARE))
        )
        best = posterior(batch).argmax(dim=-1).numpy()
        for i in range(len(batch.X)):
            known = bool(batch.latent["is_gaussian"][i])
            yield Table(
                batch.X[i].double().numpy(),
                batch.y[i].numpy(),
                int(batch.n_components[i]),
                best[i] if known else None,
            )

    def _from_wide(
        self, index: int, n_tables: int, n: int, d: int, how: str, what: str
    ) -> Iterator[Table]:
        from statformer.tasks.stream import TaskStream
        from statformer.tasks.wide import WidePrior, pieces

        prior = WidePrior(
            n_points=(n, n),
            n_features=(d, d),
            n_components=self.n_components,
            separation=self.separation,
            single=1.0 if self.n_components == (1, 1) else 0.12,
            cell_budget=None,
        )
        if how == "only":
            prior = prior.only(what)
        elif how == "with":
            prior = replace(prior, rates={**prior.rates, **dict.fromkeys(pieces(what), 1.0)})
        batch = prior.sample(TaskStream(self.seed, index, range(n_tables + SPARE)))
        for i in range(len(batch.X)):
            yield wide_table(
                batch.X[i].double().numpy(),
                batch.y[i].numpy(),
                int(batch.n_components[i]),
                batch.latent["is_categorical"][i].numpy(),
            )


def wide_table(
    X: Float[np.ndarray, "n d"],
    y: Int[np.ndarray, " n"],
    n_components: int,
    is_categorical: np.ndarray,
) -> Table:
    """A table of the wide prior with its categorical columns as codes.

    Columns without any value are left out; a table of nothing but codes has X "n 0".
    """
    some = ~np.isnan(X).all(axis=0)
    if not is_categorical.any():
        return Table(X[:, some], y, n_components)
    levels = X[:, is_categorical & some]
    codes = np.where(np.isnan(levels), -1.0, levels).astype(np.int64)
    return Table(X[:, ~is_categorical & some], y, n_components, codes=codes)
