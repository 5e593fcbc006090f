"""`AttentionBayesNet`: a Bayesian network on a table of categories, fitted, asked and sampled.

Axes: n rows, v variables, d categories of a variable.
"""

from __future__ import annotations

import numbers
import warnings
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted

from statformer.estimators.base import CONSTRUCTED, as_generator, check_count, check_weights_of_rows
from statformer.estimators.bayes_net_attention import AttentionTables
from statformer.estimators.bayes_net_columns import MISSING, CategoryColumn
from statformer.estimators.bayes_net_em import expected_counts
from statformer.estimators.bayes_net_export import as_pgmpy, save_bif
from statformer.estimators.bayes_net_inference import log_likelihood, most_probable, posterior
from statformer.estimators.bayes_net_structure import NamedStructure, read_structure
from statformer.estimators.bayes_net_tables import Codes, Tables, check_sizes, count, estimate


class UnseenConfigurationWarning(UserWarning):
    """Rows met a configuration of parents that no row of the fit had."""


class ImpossibleEvidenceWarning(UserWarning):
    """Known cells of a row have probability 0 together."""


class AttentionBayesNet(BaseEstimator):
    """A discrete Bayesian network of known structure, whose tables attention reads from the rows.

    The table of a variable is

        p(x | parents) = sum_i a_i 1[x_i = x],    a = softmax over i of beta (agreeing parents),

    which for sharp attention is (count + smoothing) / (their sum), maximum likelihood for
    smoothing 0. On a fixed structure this collapses to a table of counts; `collapse=False` runs the
    attention layers instead, and agrees up to their stated error (1e-9 in L1).

    Parameters
    ----------
    structure : {child: [parents]}, networkx DiGraph, pgmpy model or path of a .bif file
        Roots may be left out of a mapping. States that a file or a pgmpy model declares are the
        categories of the columns; else these are those of the column's type, or its values, sorted.
    weights : "constructed"
        The two attention layers of `constructions.bayes_net`, into which the structure is written.
    smoothing : float
        Added to every count. With 0, a configuration of parents that was never seen is answered
        from the rows that agree with it on the largest number of parents.
    collapse : bool
        True: tables of counts. False: the attention layers, whose cost grows with the rows of the
        fit; rows with missing cells cannot be fitted so.
    random_state : int, RandomState, Generator or None
        Source of `sample`. None gives fresh numbers, without touching numpy's global state.

    Attributes
    ----------
    structure_ : {variable: list of parents}.
    categories_ : {variable: Index of its categories}.
    cpds_ : {variable: DataFrame}, a row per configuration of parents, a column per category.
    n_unseen_ : {variable: number of configurations of its parents that were never seen}; 0 with
        smoothing.
    n_iter_, converged_ : of EM, where cells were missing; 0 and True else.
    n_features_in_, feature_names_in_ : as in scikit-learn.

    Notes
    -----
    A row of weight 2 equals two rows, and a row of weight 0 is absent. Missing cells (NaN, None)
    are summed out, in `fit` by EM; cells are taken to be missing at random. Inference is exact, and
    refused with a ValueError where it needs too much memory.

    Source: Cao et al. (arXiv 2501.02547) for the two layers; weights, back-off and smoothing ours.
    """

    _named: NamedStructure
    _columns: tuple[CategoryColumn, ...]
    _tables: Tables

    def __init__(
        self,
        structure: Any,
        *,
        weights: str | Path = CONSTRUCTED,
        smoothing: float = 0.0,
        collapse: bool = True,
        random_state: Any = None,
    ) -> None:
        self.structure = structure
        self.weights = weights
        self.smoothing = smoothing
        self.collapse = collapse
        self.random_state = random_state

    def fit(self, df: pd.DataFrame, sample_weight: Any = None) -> AttentionBayesNet:
        """Read the tables from the rows.

        Parameters
        ----------
        df : DataFrame with one column per variable, text, numbers, booleans or categories
        sample_weight : (n,) or None
            How often each row counts.

        Raises ValueError for columns that the structure lacks or the table lacks, columns without
        a value or with too many, values outside the declared states, a structure with a cycle, a
        table that is too large, or arguments out of range; TypeError for what is no DataFrame.
        """
        self._check_arguments()
        named = read_structure(self.structure)
        frame = _checked(df, named.names, complete=True)
        weight = check_weights_of_rows(sample_weight, len(frame))
        if not weight.all():
            frame, weight = frame[weight > 0], weight[weight > 0]
        read = [CategoryColumn.of(frame[name], named.states.get(name)) for name in named.names]
        columns = tuple(column for column, _ in read)
        sizes = tuple(len(column) for column in columns)
        check_sizes(named.structure, sizes, named.names)
        codes = np.stack([numbers for _, numbers in read])
        has_weight = sample_weight is not None
        self._named, self._columns = named, columns
        self._fit_tables(codes, sizes, weight if has_weight else None)
        self.feature_names_in_ = np.array(list(df.columns), dtype=object)
        self.n_features_in_ = len(columns)
        return self

    def _fit_tables(
        self, codes: Codes, sizes: tuple[int, ...], weight: Float[np.ndarray, " n"] | None
    ) -> None:
        structure = self._named.structure
        self.n_iter_, self.converged_ = 0, True
        if (codes < 0).any():
            if not self.collapse:
                raise ValueError(
                    "collapse=False attends to whole rows, and some cells are missing; fit with "
                    "collapse=True, or fill them first by complete() of such a model"
                )
            ones = np.ones(codes.shape[1])
            found = expected_counts(
                structure, sizes, codes, ones if weight is None else weight, self.smoothing
            )
            counts, self.n_iter_, self.converged_ = found.counts, found.n_iter, found.converged
            if not found.converged:
                warnings.warn(
                    f"EM stopped after {found.n_iter} iterations before it settled; the tables are "
                    "those of the last one",
                    ConvergenceWarning,
                    stacklevel=3,
                )
        else:
            counts = count(structure, sizes, codes, weight)
        self._tables = estimate(structure, counts, self.smoothing)
        if not self.collapse:
            weight = np.ones(codes.shape[1]) if weight is None else weight
            self._tables = AttentionTables.read(
                structure, sizes, codes, weight, self._tables.seen, self.smoothing
            )

    def sample(self, n: int = 1) -> pd.DataFrame:
        """n new rows: the columns of the fit, in their order and of their types.

        Warns where rows were drawn from configurations of parents that were never seen.
        """
        check_is_fitted(self)
        codes, n_unseen = self._tables.sample(check_count("n", n), as_generator(self.random_state))
        self._tell_unseen(n_unseen, codes.shape[1])
        place = {column.name: m for m, column in enumerate(self._columns)}
        return pd.DataFrame(
            {
                name: self._columns[place[name]].decode(codes[place[name]])
                for name in self.feature_names_in_
            }
        )

    def predict_proba(self, df: pd.DataFrame, target: Hashable) -> pd.DataFrame:
        """p(target | the other cells that are there), one row per row, one column per category.

        Columns may be absent and cells missing: what is not there is summed out. The column of the
        target itself is not read.

        Raises ValueError for an unknown column, target or value. Warns where rows met unseen
        configurations, and where known cells are impossible together (see `posterior`).
        """
        check_is_fitted(self)
        m = self._number(target)
        frame = _checked(df, self._named.names, ignored=target)
        codes = self._codes(frame)
        p, impossible = posterior(self._tables, codes, m)
        if impossible.any():
            warnings.warn(
                f"{impossible.sum():,} of {len(p):,} rows hold values of probability 0 together; "
                f"they were answered from the ancestors of {target!r}; fit with smoothing > 0",
                ImpossibleEvidenceWarning,
                stacklevel=2,
            )
        structure = self._named.structure
        children = [k for k, parents in enumerate(structure.parents) if m in parents]
        codes[m] = MISSING
        asked = self._tables.meets_unseen([m, *children], codes)
        self._tell_unseen(int(asked.sum()), len(p))
        return pd.DataFrame(
            p, index=frame.index, columns=pd.Index(self._columns[m].categories, name=target)
        )

    def complete(self, df: pd.DataFrame) -> pd.DataFrame:
        """The rows with each missing cell at its most probable category, given the known cells.

        Every cell is filled by itself, so that as many as possible are right. Absent columns are
        added, in the order of the fit.
        """
        check_is_fitted(self)
        frame = _checked(df, self._named.names)
        codes = self._codes(frame)
        filled = frame.copy()
        n_unseen = int(self._tables.meets_unseen(range(len(codes)), codes).sum())
        full = most_probable(self._tables, codes)
        for m, column in enumerate(self._columns):
            gaps = np.flatnonzero(codes[m] < 0)
            if len(gaps):
                values = column.decode(full[m]).set_axis(frame.index)
                filled[column.name] = _filled(frame.get(column.name), values, gaps)
        self._tell_unseen(n_unseen, len(frame))
        return filled[[name for name in self.feature_names_in_ if name in filled]]

    def score_samples(self, df: pd.DataFrame) -> Float[np.ndarray, " n"]:
        """log p(known cells) of each row in nats; -inf for a row that the tables exclude."""
        check_is_fitted(self)
        codes = self._codes(_checked(df, self._named.names))
        n_unseen = int(self._tables.meets_unseen(range(len(codes)), codes).sum())
        self._tell_unseen(n_unseen, codes.shape[1])
        return log_likelihood(self._tables, codes)

    def score(self, df: pd.DataFrame, sample_weight: Any = None) -> float:
        """Weighted mean of `score_samples`."""
        found = self.score_samples(df)
        weight = check_weights_of_rows(sample_weight, len(found))
        counted = weight > 0
        return float(np.average(found[counted], weights=weight[counted]))

    @property
    def structure_(self) -> dict[Hashable, list[Hashable]]:
        """Parents of every variable."""
        check_is_fitted(self)
        return {name: self._named.parents_of(name) for name in self._named.names}

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

    def _check_arguments(self) -> None:
        if self.weights != CONSTRUCTED:
            raise ValueError(
                f"weights={self.weights!r}: only 'constructed' is there for Bayesian networks"
            )
        if not isinstance(self.collapse, (bool, np.bool_)):
            raise TypeError(f"collapse={self.collapse!r} should be True or False")
        is_number = isinstance(self.smoothing, numbers.Real)
        if not is_number or not np.isfinite(self.smoothing) or self.smoothing < 0:
            raise ValueError(f"smoothing={self.smoothing!r} should be a finite number from 0 on")

    def _number(self, target: Hashable) -> int:
        if target not in self._named.names:
            raise ValueError(
                f"target={target!r} is no variable of the network; it has "
                f"{', '.join(map(repr, self._named.names))}"
            )
        return self._named.names.index(target)

    def _codes(self, frame: pd.DataFrame) -> Codes:
        return _encoded(self._columns, frame)

    def _tell_unseen(self, n_unseen: int, n_rows: int) -> None:
        if n_unseen:
            warnings.warn(
                f"{n_unseen:,} of {n_rows:,} rows have parents in a configuration that no row of "
                "the fit had; it takes the frequencies of the rows that agree on most parents "
                "(n_unseen_ counts configurations; smoothing > 0 would smooth them)",
                UnseenConfigurationWarning,
                stacklevel=3,
            )


def _checked(
    df: Any, names: Sequence[Hashable], *, complete: bool = False, ignored: Hashable = None
) -> pd.DataFrame:
    """The columns of the table that the structure names.

    `complete` asks for all of them; the column `ignored` is left out.
    """
    if not isinstance(df, pd.DataFrame):
        raise TypeError(f"df is a {type(df).__name__}; pass a pandas DataFrame with named columns")
    if df.columns.has_duplicates:
        twice = df.columns[df.columns.duplicated()][0]
        raise ValueError(f"df has two columns {twice!r}; rename one")
    unknown = [name for name in df.columns if name not in names]
    if unknown:
        raise ValueError(
            f"df has a column {unknown[0]!r} that is no variable of the structure "
            f"({len(unknown)} such); drop it, or add it to the structure"
        )
    absent = [name for name in names if name not in df.columns]
    if complete and absent:
        raise ValueError(f"df has no column {absent[0]!r}, which the structure names")
    if complete and not len(df):
        raise ValueError("df has no rows; at least one is needed")
    return df.drop(columns=[ignored]) if ignored in df.columns else df


def _encoded(columns: Sequence[CategoryColumn], frame: pd.DataFrame) -> Codes:
    """Codes "v n" of the smallest type that holds them; an absent column is missing everywhere."""
    kind = np.int8 if max(map(len, columns)) <= 127 else np.int16
    codes = np.full((len(columns), len(frame)), MISSING, dtype=kind)
    for m, column in enumerate(columns):
        if column.name in frame.columns:
            codes[m] = column.encode(frame[column.name])
    return codes


def _filled(given: pd.Series | None, values: pd.Series, gaps: Int[np.ndarray, " k"]) -> pd.Series:
    """A column with its gaps filled by `values`; an absent one is made of them alone."""
    if given is None:
        return values
    filled = given.copy()
    if isinstance(filled.dtype, pd.CategoricalDtype):
        new = [c for c in values.cat.categories if c not in filled.cat.categories]
        filled = filled.cat.add_categories(new)
    filled.iloc[gaps] = values.array[gaps]
    return filled
