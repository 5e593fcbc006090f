"""`AttentionPCA`: principal components of rows that a network has weighed, as scikit-learn's PCA.

Axes: n rows, d columns, k components.
"""

from __future__ import annotations

import numbers
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from statformer.estimators.base import as_generator, check_count, check_weights_of_rows
from statformer.estimators.principal_axes import Axes
from statformer.estimators.principal_fit import count_rows, fit_axes
from statformer.estimators.principal_model import PrincipalModel, chunks_of
from statformer.estimators.principal_reader import Reader
from statformer.estimators.principal_weights import resolve_principal


class AttentionPCA(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Principal component analysis by a power-iteration network that weighs rows, or also cells.

    A layer of the network (`nn.principal`) is a power step under weights

        mean = sum_i w_i x_i / W,    S = N / (N - 1) sum_i w_i (x_i - mean)(x_i - mean)' / W,

    W the sum of the weights and N the number of rows, and between the steps it weighs each row
    anew by small learned functions of how far the row lies off the subspace and along it. The
    answer is the mean and the leading eigenvectors of S under the last weights: outlying rows move
    it little. With robust="cells" every cell has a weight of its own and a doubtful cell is moved
    towards what the others say of it. With weights="constructed" every weight is 1, and on
    complete tables the answer is that of scikit-learn's PCA.

    Missing cells (NaN) are neither filled beforehand nor dropped: a row counts with the expectation
    of its missing cells given its observed ones under probabilistic PCA (Tipping and Bishop 1999),
    and their remaining variance is added to S (up to 1,000 columns; wider tables do without).

    Parameters
    ----------
    n_components : int, float or None
        k. None: min(n, d). Between 0 and 1: as many as explain more than this share of the
        variance. A whole number is also the rank at which the layers weigh; else that is chosen
        from the singular values (`estimators.principal_reader.rank_of`).
    weights : "pretrained", "constructed" or path
        Learned weighing that ships with the package; every weight 1; or a checkpoint file.
    robust : "cells" or "rows"
        What is weighed. "cells": rows and single cells, for tables whose columns mean something.
        "rows": rows alone; the answer turns with the table under any rotation, and long tables
        take about a thirtieth of the time.
    max_context : int
        Above this many rows the layers read a random sample of this size (of more than 500 rows,
        at most 2 million cells), drawn in proportion to the sample weights. All rows are then
        weighed by the frozen last layer and all count.
    random_state : int, RandomState, Generator or None
        Source of the sample, and of the randomized singular vectors of a few components of a large
        table; a table that needs neither has one answer. None gives fresh numbers, without
        touching numpy's global state.

    Attributes
    ----------
    components_ : (k, d), orthonormal rows by descending variance; the largest loading of each is
        positive, as scikit-learn fixes signs.
    explained_variance_ : (k,), variance of the weighted rows along the components.
    explained_variance_ratio_ : (k,), shares of the variance of the weighted rows in all
        directions; 0 for a table that does not vary.
    singular_values_ : (k,), (explained_variance_ (N - 1))^(1/2).
    mean_ : (d,), of the weighted rows, in the caller's units.
    noise_variance_ : mean variance over the other min(N, d) - k directions; 0 without any.
    n_components_, n_samples_ : k and N.
    row_weights_ : (n,), between 0 and 1; `sample_weight` is not in it. 0 for rows that are absent.
    cell_weights_ : (n, d) float32, between 0 and 1, 0 where missing and in rows that are absent;
        only with robust="cells".
    n_features_in_, feature_names_in_ : as in scikit-learn.

    Notes
    -----
    A row of weight 2 equals two rows, and a row of weight 0 is absent. Sample weights that sum to
    less than 2 are read as shares, and scaled to the number of rows. Rows without any observed
    cell are absent. float32 tables give float32 answers; sums are float64.

    `transform` projects rows one by one. A complete row is projected as it is, with missing cells
    by the expectation of them, and with robust="cells" after doubtful cells were moved.

    Source: ours, begun at the power iteration of He et al. (arXiv 2501.01312).
    """

    _reader: Reader
    _moves_cells: bool

    def __init__(
        self,
        n_components: int | float | None = None,  # noqa: PYI041
        *,
        weights: str | Path = "pretrained",
        robust: str = "cells",
        max_context: int = 4096,
        random_state: Any = None,
    ) -> None:
        self.n_components = n_components
        self.weights = weights
        self.robust = robust
        self.max_context = max_context
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> AttentionPCA:
        """Find the components of the rows of X.

        Parameters
        ----------
        X : array or DataFrame (n, d) of numbers, NaN where missing
        y : ignored
        sample_weight : (n,) or None
            How often each row counts.

        Raises ValueError where X holds infinity, fewer than two rows or a column without any
        number, or where an argument is out of range.
        """
        self._fit(X, sample_weight)
        return self

    def fit_transform(
        self, X: Any, y: Any = None, sample_weight: Any = None
    ) -> Float[np.ndarray, "n k"]:
        """`fit`, then `transform` of the same rows."""
        return self._scores(self._fit(X, sample_weight))

    def transform(self, X: Any) -> Float[np.ndarray, "n k"]:
        """Scores (x - mean) components', row by row."""
        return self._scores(self._check(X))

    def inverse_transform(self, X: Any) -> Float[np.ndarray, "n d"]:
        """mean + scores components: the rows that lie in the subspace at these scores."""
        check_is_fitted(self)
        scores = np.asarray(X)
        if scores.ndim != 2 or scores.shape[1] != self.n_components_:
            raise ValueError(
                f"X should hold scores of {self.n_components_} components, got shape {scores.shape}"
            )
        found: Float[np.ndarray, "n d"] = scores @ self.components_ + self.mean_
        return found

    def score_samples(self, X: Any) -> Float[np.ndarray, " n"]:
        """log p(x) of each row in nats under N(mean, get_covariance()).

        A row with missing cells gets the density of its observed cells. Rows are read as they are,
        so outlying rows and cells make a row improbable.
        """
        return self._model.log_density(self._check(X))

    def score(self, X: Any, y: Any = None) -> float:
        """Mean of `score_samples`."""
        return float(self.score_samples(X).mean())

    def get_covariance(self) -> Float[np.ndarray, "d d"]:
        """components' diag(explained_variance - noise) components + noise I."""
        check_is_fitted(self)
        return self._model.covariance()

    def get_precision(self) -> Float[np.ndarray, "d d"]:
        """Inverse of `get_covariance`; a variance of 0 counts as the smallest above rounding."""
        check_is_fitted(self)
        return self._model.precision()

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    @property
    def _n_features_out(self) -> int:
        return self.n_components_

    @property
    def _model(self) -> PrincipalModel:
        return PrincipalModel(
            self.mean_.astype(np.float64),
            self.components_.astype(np.float64),
            self.explained_variance_.astype(np.float64),
            float(self.noise_variance_),
        )

    def _fit(self, X: Any, sample_weight: Any) -> Any:
        """Fit; returns the rows as they were checked."""
        X = validate_data(
            self,
            X,
            dtype=[np.float64, np.float32],
            ensure_all_finite="allow-nan",
            ensure_min_samples=2,
        )
        checkpoint = resolve_principal(self.weights, self.robust)
        max_context = check_count("max_context", self.max_context, least=2)
        rng = as_generator(self.random_state)
        weight = check_weights_of_rows(sample_weight, len(X))
        counted = count_rows(X, weight, getattr(self, "feature_names_in_", None))
        self.n_samples_ = int(counted.n_rows + 0.5)
        asked = self._asked(min(self.n_samples_, X.shape[1]))
        whole = asked if isinstance(asked, int) else None
        found = fit_axes(X, counted, whole, checkpoint, max_context, rng)
        self.weights_sha256_ = checkpoint.sha256
        self.row_weights_ = found.row_weights
        if found.cell_weights is not None:
            self.cell_weights_ = found.cell_weights
        elif hasattr(self, "cell_weights_"):
            del self.cell_weights_
        self._reader = found.reader
        self._moves_cells = checkpoint.form == "cells" and not checkpoint.is_constructed
        self._adopt(found.axes, asked, X.dtype)
        return X

    def _adopt(self, axes: Axes, asked: int | float | None, dtype: Any) -> None:  # noqa: PYI041
        side = min(self.n_samples_, len(axes.mean))
        total = axes.total if axes.total > 0 else 1.0
        ratio = axes.variances / total
        if asked is None:
            k = side
        elif isinstance(asked, int):
            k = asked
        else:
            k = min(int(np.searchsorted(ratio.cumsum(), asked, side="right")) + 1, side)
        left = max(axes.total - float(axes.variances[:k].sum()), 0.0)
        if len(axes.variances) == side and k < side:  # without the cancellation
            left = float(axes.variances[k:].sum())
        self.n_components_ = k
        self.mean_ = axes.mean.astype(dtype)
        self.components_ = np.ascontiguousarray(axes.components[:k], dtype=dtype)
        self.explained_variance_ = axes.variances[:k].astype(dtype)
        self.explained_variance_ratio_ = ratio[:k].astype(dtype)
        spread = np.sqrt(axes.variances[:k] * (self.n_samples_ - 1))
        self.singular_values_ = spread.astype(dtype)
        self.noise_variance_ = left / (side - k) if k < side else 0.0

    def _asked(self, most: int) -> int | float | None:
        """n_components as it was asked for, checked."""
        k = self.n_components
        if k is None:
            return None
        if isinstance(k, numbers.Real) and not isinstance(k, numbers.Integral):
            if not 0.0 < k < 1.0:
                raise ValueError(
                    f"n_components={k!r} should be a whole number, a share of the variance "
                    "between 0 and 1, or None"
                )
            return float(k)
        k = check_count("n_components", k)
        if k > most:
            raise ValueError(
                f"n_components={k} must be between 1 and min(n_samples, n_features)={most}"
            )
        return k

    def _check(self, X: Any) -> Any:
        check_is_fitted(self)
        return validate_data(
            self,
            X,
            dtype=[np.float64, np.float32],
            ensure_all_finite="allow-nan",
            reset=False,
        )

    def _scores(self, X: Any) -> Float[np.ndarray, "n k"]:
        dtype = np.result_type(X.dtype, self.components_.dtype)
        found = np.empty((len(X), self.n_components_), dtype=dtype)
        axes = self.components_.astype(np.float64).T
        for rows, centred in self._centred(X):
            found[rows] = centred @ axes
        return found

    def _centred(self, X: Any) -> Iterator[tuple[slice, Float[np.ndarray, "n d"]]]:
        """Chunks of rows - mean, missing and doubtful cells where they are expected."""
        model, reader = self._model, self._reader
        width = reader.width(X.shape[1]) if self._moves_cells else X.shape[1]
        for rows in chunks_of(len(X), width):
            if self._moves_cells:
                moved = reader.moved(X[rows], reader.weigh(X[rows]))
                yield rows, moved + (reader.shift - model.mean)
            else:
                yield rows, model.centred(X[rows])
