"""What a fitted Bayesian network says of itself: structure, edges, tables; and its files.

Axes: v variables, d categories of a variable.
"""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from statformer.estimators.bayes_net_classes import equivalence_class
from statformer.estimators.bayes_net_columns import CategoryColumn
from statformer.estimators.bayes_net_export import as_pgmpy, save_bif
from statformer.estimators.bayes_net_reading import Reading
from statformer.estimators.bayes_net_structure import NamedStructure
from statformer.estimators.bayes_net_tables import Tables


class NamedClass(NamedTuple):
    """Edges that all networks of the same independences have: (parent, child), and free pairs."""

    directed: list[tuple[Hashable, Hashable]]
    undirected: list[tuple[Hashable, Hashable]]


class FittedBayesNet(BaseEstimator):
    """The answers of a fitted network that need no rows."""

    _named: NamedStructure
    _columns: tuple[CategoryColumn, ...]
    _tables: Tables
    _reading: Reading | None  # where the structure was read from rows

    @property
    def structure_(self) -> dict[Hashable, list[Hashable]]:
        """Parents of every variable."""
        check_is_fitted(self)
        return {name: self._named.parents_of(name) for name in self._named.names}

    @property
    def equivalence_class_(self) -> NamedClass:
        """What all networks of the same independences share: the edges that they turn alike, and
        those that are turned one way by some and the other way by others."""
        check_is_fitted(self)
        names, found = self._named.names, equivalence_class(self._named.structure)
        return NamedClass(
            [(names[u], names[m]) for u, m in sorted(found.directed)],
            [(names[u], names[m]) for u, m in sorted(found.undirected)],
        )

    @property
    def edge_probabilities_(self) -> pd.DataFrame:
        """p(row is a parent of column | the rows of the fit), in the order that was passed.

        Raises AttributeError unless the structure was read in a known order.
        """
        check_is_fitted(self)
        if self._reading is None or not self._reading.is_ordered:
            raise AttributeError(
                "edge_probabilities_ are there where a structure was read in a known order; fit "
                "with structure=None and order="
            )
        names = pd.Index(self._named.names, dtype=object)
        return pd.DataFrame(
            self._reading.edge_probabilities(),
            index=names.rename("parent"),
            columns=names.rename("child"),
        )

    @property
    def edge_strengths_(self) -> pd.Series:
        """Nats that every edge (parent, child) of a structure read from rows is worth.

        Logit of the parents found, minus their logit without the edge: the log of the odds.

        Raises AttributeError where the structure was given.
        """
        check_is_fitted(self)
        if self._reading is None:
            raise AttributeError("edge_strengths_ are there where a structure was read from rows")
        names, found = self._named.names, self._reading.strengths()
        edges = [(names[u], names[m]) for u, m in found]
        index = pd.MultiIndex.from_tuples(edges, names=["parent", "child"]) if edges else None
        return pd.Series(list(found.values()), index=index, dtype=float, name="nats")

    @property
    def categories_(self) -> dict[Hashable, pd.Index]:
        """Categories of every variable."""
        check_is_fitted(self)
        return {column.name: column.categories for column in self._columns}

    @property
    def n_unseen_(self) -> dict[Hashable, int]:
        """Configurations of the parents of every variable that were never seen."""
        check_is_fitted(self)
        return dict(zip(self._named.names, self._tables.n_unseen, strict=True))

    @property
    def cpds_(self) -> dict[Hashable, pd.DataFrame]:
        """Tables of every variable; rows are configurations, the last parent running fastest."""
        check_is_fitted(self)
        categories, tables = self.categories_, {}
        for name, table in zip(self._named.names, self._tables.probabilities, strict=True):
            parents = self._named.parents_of(name)
            rows: pd.Index = pd.RangeIndex(1)
            if parents:
                rows = pd.MultiIndex.from_product([categories[p] for p in parents], names=parents)
            columns = pd.Index(categories[name], name=name)
            tables[name] = pd.DataFrame(table.reshape(len(rows), -1), index=rows, columns=columns)
        return tables

    def to_pgmpy(self) -> Any:
        """The network as a pgmpy DiscreteBayesianNetwork; needs pgmpy."""
        check_is_fitted(self)
        return as_pgmpy(self._named, self._columns, self._tables)

    def to_bif(self, path: str | Path) -> None:
        """Write structure and tables to a .bif file, which other programs read.

        Raises ValueError for names that the format cannot hold.
        """
        check_is_fitted(self)
        save_bif(self._named, self._columns, self._tables, Path(path))
