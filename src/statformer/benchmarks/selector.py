"""Boosted trees that choose among all classical methods: what a judge without attention can do.

Trees (scikit-learn's histogram gradient boosting) predict the ARI of a labeling from the features
the judge also reads, from the table, from how far the methods agree, and from the method's number;
the labeling with the highest prediction is the answer. They learn from tables of the wide prior
(`selector_pool`); for a left-out family, from those that do not hold it.

Axes: n rows, p columns, m methods, f features of a labeling, t features of a table, b tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int
from safetensors.numpy import load_file
from sklearn.ensemble import HistGradientBoostingRegressor

from statformer.benchmarks.batched_em import robust_tables
from statformer.benchmarks.classical import POOL
from statformer.benchmarks.settings import LEFT_OUT
from statformer.proposals.labelings import agreement, describe_clusters, side_by_side
from statformer.proposals.table_features import table_features
from statformer.proposals.view import MAX_ROWS, TableView

Labels = Int[np.ndarray, " n"]
Matrix = Float[np.ndarray, "n p"]


class Selector:
    """Trees fitted on the pool; `choose` answers for one table."""

    def __init__(self, pool: Path, without: str | None) -> None:
        """Read the pool and fit; `without` names a family of `LEFT_OUT` whose tables are left out.

        Raises FileNotFoundError where there is no pool.
        """
        if not pool.is_file():
            raise FileNotFoundError(
                f"{pool} is missing; python -m statformer.benchmarks.selector_pool makes it"
            )
        stored = load_file(pool)
        kept = np.ones(len(stored["ari"]), dtype=bool)
        if without in LEFT_OUT:
            kept = ~stored["families"][:, LEFT_OUT.index(without)].astype(bool)
        X = inputs(stored["labelings"][kept], stored["table"][kept])
        y = stored["ari"][kept].astype(np.float64)
        there = ~np.isnan(y.ravel())
        width = X.shape[-1]
        self.trees = HistGradientBoostingRegressor(
            max_iter=250,
            learning_rate=0.06,
            min_samples_leaf=30,
            l2_regularization=1.0,
            categorical_features=[width - 1],
            random_state=0,
        )
        self.trees.fit(X.reshape(-1, width)[there], y.ravel()[there])
        self.n_tables = int(kept.sum())

    def predict(self, X: Matrix, found: Mapping[str, Labels | None]) -> Float[np.ndarray, " m"]:
        """Expected ARI of each method of `POOL`; -inf for one that raised. X is a plain matrix."""
        labelings, table = described(X, found)
        there = ~np.isnan(labelings).all(axis=1)
        expected = np.full(len(POOL), -np.inf)
        if there.any():
            rows = inputs(labelings[None], table[None])[0]
            expected[there] = self.trees.predict(rows[there])
        return expected

    def choose(self, X: Matrix, found: Mapping[str, Labels | None]) -> Labels | None:
        """The labeling with the highest expected ARI; None where every method raised."""
        expected = self.predict(X, found)
        best = int(expected.argmax())
        return None if np.isneginf(expected[best]) else found[POOL[best]]


@lru_cache(maxsize=len(LEFT_OUT) + 1)
def selector(pool: Path, without: str | None) -> Selector:
    """A fitted `Selector`, one per process and family."""
    return Selector(pool, without if without in LEFT_OUT else None)


def described(
    X: Matrix, found: Mapping[str, Labels | None]
) -> tuple[Float[np.ndarray, "m f"], Float[np.ndarray, " t"]]:
    """Features of the labeling of each method of `POOL` (NaN where it raised), and of the table.

    Of more than `MAX_ROWS` rows a fixed random part is described.
    """
    rows = np.arange(len(X))
    if len(X) > MAX_ROWS:
        rows = np.sort(np.random.default_rng(0).choice(len(X), MAX_ROWS, replace=False))
    part = robust_tables(X[rows]).X[0]
    weight = np.ones(len(part))
    names = [name for name in POOL if found[name] is not None]
    labels = np.stack([np.asarray(found[name])[rows] for name in names]) if names else None
    of_table = [np.log(len(X)), np.log(X.shape[1]), *table_features(part, weight)]
    view = TableView(part, weight)
    if labels is None:
        return np.full((len(POOL), 1), np.nan), np.array(of_table)
    clusters = side_by_side(view, labels)
    alike = agreement(view, clusters)
    np.fill_diagonal(alike, np.nan)
    both = [np.nanmean(alike, axis=1), np.nanmax(alike, axis=1), np.nanmin(alike, axis=1)]
    own = np.column_stack([describe_clusters(view, clusters, labels), *both])
    every = np.full((len(POOL), own.shape[1]), np.nan)
    every[[POOL.index(name) for name in names]] = own
    return every, np.array(of_table)


def inputs(
    labelings: Float[np.ndarray, "b m f"], table: Float[np.ndarray, "b t"]
) -> Float[np.ndarray, "b m g"]:
    """What the trees read: labeling, table, and the number of the method as the last column."""
    b, m, _ = labelings.shape
    of_table = np.broadcast_to(table[:, None, :], (b, m, table.shape[1]))
    method = np.broadcast_to(np.arange(m, dtype=np.float64)[None, :, None], (b, m, 1))
    found: Float[np.ndarray, "b m g"] = np.concatenate(
        [labelings.astype(np.float64), of_table.astype(np.float64), method], axis=-1
    )
    return found


def families_of(latent: Mapping[str, Bool[np.ndarray, " b"]], i: int) -> Bool[np.ndarray, " k"]:
    """Which families of `LEFT_OUT` table i of a batch of the wide prior holds."""
    from statformer.tasks.wide import pieces

    return np.array([any(bool(latent[piece][i]) for piece in pieces(f)) for f in LEFT_OUT])
