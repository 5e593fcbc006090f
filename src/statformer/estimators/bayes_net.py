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
from jaxtyping import Float
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted

from statformer.estimators.base import CONSTRUCTED, as_generator, check_count, check_weights_of_rows
from statformer.estimators.bayes_net_attention import AttentionTables
from statformer.estimators.bayes_net_columns import MISSING, CategoryColumn
from statformer.estimators.bayes_net_em import expected_counts
from statformer.estimators.bayes_net_fitted import FittedBayesNet
from statformer.estimators.bayes_net_frames import (
    checked_columns,
    checked_frame,
    encoded,
    filled_column,
)
from statformer.estimators.bayes_net_inference import log_likelihood, most_probable, posterior
from statformer.estimators.bayes_net_joint import most_probable_together
from statformer.estimators.bayes_net_reading import most_parents, read_rows
from statformer.estimators.bayes_net_structure import NamedStructure, named_order, read_structure
from statformer.estimators.bayes_net_tables import Codes, check_sizes, count, estimate
from statformer.estimators.bayes_net_weights import parent_set_network, smoothed_tables


class UnseenConfigurationWarning(UserWarning):
    """Rows met a configuration of parents that no row of the fit had."""


class ImpossibleEvidenceWarning(UserWarning):
    """Known cells of a row have probability 0 together."""


class IncompleteRowsWarning(UserWarning):
    """Rows with missing cells took no part in the search for a structure."""


class AttentionBayesNet(FittedBayesNet):
    """A discrete Bayesian network whose tables, and if need be its structure, are read from rows.

    The table of a variable is

        p(x | parents) = sum_i a_i 1[x_i = x],    a = softmax over i of beta (agreeing parents),

    which for sharp attention is (count + smoothing) / (their sum), maximum likelihood for
    smoothing 0. On a fixed structure this collapses to a table of counts; `collapse=False` runs the
    attention layers instead, and agrees up to their stated error (1e-9 in L1).

    With structure=None a network that compares candidate sets of parents reads the structure: in a
    known order every variable takes its most probable set, without one the best structure over all
    orders is found exactly.

    Parameters
    ----------
    structure : {child: [parents]}, networkx DiGraph, pgmpy model, path of a .bif file, or None
        Roots may be left out of a mapping. States that a file or a pgmpy model declares are the
        categories of the columns; else these are those of the column's type, or its values, sorted.
        None: the structure is read from the rows.
    order : None, list of all columns, or "columns"
        For structure=None: the columns with parents before children; "columns" takes them as they
        stand. None: no order is known, and `structure_` is one network of the class that
        `equivalence_class_` describes.
    max_parents : int or None
        For structure=None: the most parents of a variable. None: as many as the limits allow;
        `max_parents_` tells.
    weights : "constructed", "pretrained" or path of a .safetensors file
        "constructed": the two attention layers of `constructions.bayes_net`, into which the
        structure is written; with structure=None, exact Bayesian comparison of the parent sets
        (`constructions.parent_sets`) finds it. "pretrained" or a path: the learned network of
        parent sets finds it in a known order, and smooths the tables of the parents, given or
        found; without an order the structure is sought with the constructed scores, since learned
        ones do not add up over orders.
    smoothing : float
        Added to every count. With 0, a configuration of parents that was never seen is answered
        from the rows that agree with it on the largest number of parents. Must be 0 where the
        weights are learned: they smooth by themselves.
    collapse : bool
        True: tables. False: the attention layers of the constructed network, whose cost grows with
        the rows of the fit; rows with missing cells cannot be fitted so.
    random_state : int, RandomState, Generator or None
        Source of `sample`. None gives fresh numbers, without touching numpy's global state.

    Attributes
    ----------
    structure_ : {variable: list of parents}.
    equivalence_class_ : (directed, undirected) edges that all networks of the same independences
        share.
    edge_probabilities_ : DataFrame of p(row is a parent of column | rows); of a structure read in a
        known order.
    edge_strengths_ : Series of the log odds of every edge, in nats; of a structure read from rows.
    max_parents_ : the most parents that were sought, or that the given structure has.
    categories_ : {variable: Index of its categories}.
    cpds_ : {variable: DataFrame}, a row per configuration of parents, a column per category.
    n_unseen_ : {variable: number of configurations of its parents that were never seen}; 0 with
        smoothing and with learned weights.
    n_iter_, converged_ : of EM, where cells were missing; 0 and True else.
    n_features_in_, feature_names_in_ : as in scikit-learn.

    Notes
    -----
    A row of weight 2 equals two rows, and a row of weight 0 is absent. Missing cells (NaN, None)
    are summed out, in `fit` by EM; cells are taken to be missing at random. A structure is read
    from the rows without missing cells, with a warning that counts the others, which asks for more:
    that what is missing does not depend on the values. Learned smoothing is applied to the expected
    counts of EM. Inference is exact, and refused with a ValueError where it needs too much memory.

    Limits of structure=None: 16 columns without an order, and for each variable 2,048 candidate
    sets of parents, whose tables have 524,288 cells in all; 1,024 categories of a column in any
    case. Up to 12 columns of two categories, or 9 of three, every number of parents is possible.

    Source: Cao et al. (arXiv 2501.02547) for the two layers; weights, back-off and smoothing ours.
    Search over orders: Silander and Myllymaki (2006).
    """

    def __init__(
        self,
        structure: Any = None,
        *,
        order: Any = None,
        max_parents: int | None = None,
        weights: str | Path = CONSTRUCTED,
        smoothing: float = 0.0,
        collapse: bool = True,
        random_state: Any = None,
    ) -> None:
        self.structure = structure
        self.order = order
        self.max_parents = max_parents
        self.weights = weights
        self.smoothing = smoothing
        self.collapse = collapse
        self.random_state = random_state

    def fit(self, df: pd.DataFrame, sample_weight: Any = None) -> AttentionBayesNet:
        """Read the tables, and with structure=None the structure, from the rows.

        Parameters
        ----------
        df : DataFrame with one column per variable, text, numbers, booleans or categories
        sample_weight : (n,) or None
            How often each row counts.

        Raises ValueError for columns that the structure lacks or the table lacks, columns without
        a value or with too many, values outside the declared states, a structure with a cycle, a
        table that is too large, more than the limits of structure=None, or arguments out of range;
        TypeError for what is no DataFrame; WeightsError for a file of another network.
        """
        self._check_arguments()
        named = None if self.structure is None else read_structure(self.structure)
        names = _column_names(df) if named is None else named.names
        states = {} if named is None else named.states
        frame = checked_columns(df, names, complete=True)
        weight = check_weights_of_rows(sample_weight, len(frame))
        if not weight.all():
            frame, weight = frame[weight > 0], weight[weight > 0]
        read = [CategoryColumn.of(frame[name], states.get(name)) for name in names]
        columns = tuple(column for column, _ in read)
        codes = np.stack([numbers for _, numbers in read])
        weighted = None if sample_weight is None else weight
        if named is None:
            named = self._read(names, columns, codes, weighted)
        else:
            self._reading, self.max_parents_ = None, named.structure.in_degree
        sizes = tuple(len(column) for column in columns)
        check_sizes(named.structure, sizes, names)
        self._named, self._columns = named, columns
        self._fit_tables(codes, sizes, weighted)
        self.feature_names_in_ = np.array(list(df.columns), dtype=object)
        self.n_features_in_ = len(columns)
        return self

    def _read(
        self,
        names: tuple[Hashable, ...],
        columns: Sequence[CategoryColumn],
        codes: Codes,
        weight: Float[np.ndarray, " n"] | None,
    ) -> NamedStructure:
        """The structure, from the rows without missing cells."""
        order = named_order(self.order, names)
        sizes = [len(column) for column in columns]
        most = most_parents(sizes, names, self.max_parents, ordered=order is not None)
        whole = np.asarray((codes >= 0).all(axis=0))
        if not whole.any():
            raise ValueError(
                "structure=None: every row of df has a missing cell; pass a structure, or leave "
                "out the columns with most of them"
            )
        if not whole.all():
            warnings.warn(
                f"{(~whole).sum():,} of {len(whole):,} rows have missing cells; the structure was "
                "sought in the others, which is right where cells are missing for no reason (the "
                "tables use all rows)",
                IncompleteRowsWarning,
                stacklevel=3,
            )
            codes, weight = codes[:, whole], None if weight is None else weight[whole]
        # Scores of a DAG must add up to log p(DAG, rows), as the theorem's do; learned corrections
        # estimate the parents given that all candidates come before the variable.
        network = parent_set_network(CONSTRUCTED if order is None else self.weights)
        self._reading = read_rows(network, codes, sizes, weight, order, most)
        self.max_parents_ = most
        return NamedStructure(names, self._reading.structure)

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
        if self.weights != CONSTRUCTED:
            self._tables = smoothed_tables(parent_set_network(self.weights), structure, counts)
            return
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
        frame = checked_columns(df, self._named.names, ignored=target)
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

    def complete(self, df: pd.DataFrame, *, joint: bool = False) -> pd.DataFrame:
        """The rows with their missing cells filled, given the known cells.

        joint=False: every cell by itself at its most probable category, so that as many as possible
        are right. joint=True: all cells of a row at their most probable combination, so that as
        many rows as possible are right as a whole. Absent columns are added, in the order of the
        fit.

        Raises ValueError for an unknown column or value, and where a combination needs too much
        memory.
        """
        check_is_fitted(self)
        frame = checked_columns(df, self._named.names)
        codes = self._codes(frame)
        filled = frame.copy()
        n_unseen = int(self._tables.meets_unseen(range(len(codes)), codes).sum())
        full = (most_probable_together if joint else most_probable)(self._tables, codes)
        for m, column in enumerate(self._columns):
            gaps = np.flatnonzero(codes[m] < 0)
            if len(gaps):
                values = column.decode(full[m]).set_axis(frame.index)
                filled[column.name] = filled_column(frame.get(column.name), values, gaps)
        self._tell_unseen(n_unseen, len(frame))
        return filled[[name for name in self.feature_names_in_ if name in filled]]

    def score_samples(self, df: pd.DataFrame) -> Float[np.ndarray, " n"]:
        """log p(known cells) of each row in nats; -inf for a row that the tables exclude."""
        check_is_fitted(self)
        codes = self._codes(checked_columns(df, self._named.names))
        n_unseen = int(self._tables.meets_unseen(range(len(codes)), codes).sum())
        self._tell_unseen(n_unseen, codes.shape[1])
        return log_likelihood(self._tables, codes)

    def score(self, df: pd.DataFrame, sample_weight: Any = None) -> float:
        """Weighted mean of `score_samples`."""
        found = self.score_samples(df)
        weight = check_weights_of_rows(sample_weight, len(found))
        counted = weight > 0
        return float(np.average(found[counted], weights=weight[counted]))

    def _check_arguments(self) -> None:
        if not isinstance(self.collapse, (bool, np.bool_)):
            raise TypeError(f"collapse={self.collapse!r} should be True or False")
        is_number = isinstance(self.smoothing, numbers.Real)
        if not is_number or not np.isfinite(self.smoothing) or self.smoothing < 0:
            raise ValueError(f"smoothing={self.smoothing!r} should be a finite number from 0 on")
        if self.max_parents is not None:
            check_count("max_parents", self.max_parents)
        if self.structure is not None and (self.order, self.max_parents) != (None, None):
            name = "max_parents" if self.order is None else "order"
            raise ValueError(
                f"{name}={getattr(self, name)!r} is for structure=None; a structure that is given "
                "says which parents a variable has"
            )
        if self.weights != CONSTRUCTED:
            parent_set_network(self.weights)
            if self.smoothing:
                raise ValueError(
                    f"smoothing={self.smoothing!r}: learned weights smooth by themselves; leave it "
                    "at 0, or take weights='constructed'"
                )
            if not self.collapse:
                raise ValueError(
                    f"collapse=False runs the attention layers of weights='constructed'; "
                    f"weights={str(self.weights)!r} needs collapse=True"
                )

    def _number(self, target: Hashable) -> int:
        if target not in self._named.names:
            raise ValueError(
                f"target={target!r} is no variable of the network; it has "
                f"{', '.join(map(repr, self._named.names))}"
            )
        return self._named.names.index(target)

    def _codes(self, frame: pd.DataFrame) -> Codes:
        return encoded(self._columns, frame)

    def _tell_unseen(self, n_unseen: int, n_rows: int) -> None:
        if n_unseen:
            warnings.warn(
                f"{n_unseen:,} of {n_rows:,} rows have parents in a configuration that no row of "
                "the fit had; it takes the frequencies of the rows that agree on most parents "
                "(n_unseen_ counts configurations; smoothing > 0 would smooth them)",
                UnseenConfigurationWarning,
                stacklevel=3,
            )


def _column_names(df: pd.DataFrame) -> tuple[Hashable, ...]:
    names = tuple(checked_frame(df).columns)
    if not names:
        raise ValueError("df has no columns; pass one per variable")
    return names
