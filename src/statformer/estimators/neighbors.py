"""`AttentionNeighborsClassifier`, `AttentionNeighborsRegressor`: labels of near rows, by softmax.

Axes: n context rows, q queries, d columns, k classes, v outputs.
"""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np
from jaxtyping import Float
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from statformer.estimators.base import as_generator
from statformer.estimators.neighbor_context import Context, Labels, Reading
from statformer.estimators.neighbor_temperature import (
    Loss,
    calibrate,
    class_loss,
    mix_with_prior,
    squared_loss,
)

Matrix = np.ndarray
_COLDEST = 1e-150


class _AttentionNeighbors(BaseEstimator):
    """What both share: the context, the temperature, and the attention."""

    _context: Context
    _is_standardized: bool
    _prior_rows: float

    def __init__(
        self,
        temperature: float | None = None,
        *,
        standardize: bool = False,
        random_state: Any = None,
    ) -> None:
        self.temperature = temperature
        self.standardize = standardize
        self.random_state = random_state

    def attention(self, X: Any) -> Float[np.ndarray, "q n"]:
        """How much each row of X takes of each row of the context; rows sum to 1.

        At temperature 0 the nearest row has 1, or rows that tie have equal shares of it. Needs
        8 q n bytes; `predict` never forms this matrix.
        """
        X = self._check(X)
        return self._context.attention(X, self.temperature_)

    def _fit(self, X: Matrix, labels: Labels, loss: Loss) -> None:
        """Remember the rows and find the temperature. Nothing is copied unless standardised."""
        temperature = self._asked()
        if not isinstance(self.standardize, (bool, np.bool_)):
            raise TypeError(f"standardize={self.standardize!r} should be True or False")
        self._is_standardized = bool(self.standardize)
        if self._is_standardized:
            self.shift_ = X.mean(axis=0, dtype=np.float64)
            spread = X.std(axis=0, dtype=np.float64)
            self.scale_ = np.where(spread > 0, spread, 1.0)
            X = self._moved(X)
        if temperature is None:
            found = calibrate(X, labels, loss, as_generator(self.random_state))
            temperature, self._prior_rows = found
        else:
            self._prior_rows = 0.0
        self.temperature_ = temperature
        self.n_samples_fit_ = len(X)
        self._context = Context.of(X, labels)

    def _asked(self) -> float | None:
        """`temperature`, checked."""
        value = self.temperature
        if value is None:
            return None
        if not isinstance(value, numbers.Real) or isinstance(value, (bool, np.bool_)):
            raise TypeError(
                f"temperature={value!r} should be a number of at least 0, or None to find one"
            )
        if not (value == 0.0 or _COLDEST <= value < np.inf):
            raise ValueError(
                f"temperature={value!r} should be 0 or finite and at least {_COLDEST}, below which "
                "scores overflow; 0 is one nearest neighbour, None finds a temperature"
            )
        return float(value)

    def _check(self, X: Any) -> Matrix:
        check_is_fitted(self)
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        return self._moved(X) if self._is_standardized else X

    def _moved(self, X: Matrix) -> Matrix:
        return ((X - self.shift_) / self.scale_).astype(X.dtype)

    def _read(self, X: Any) -> Reading:
        X = self._check(X)
        return self._context.read(X, self.temperature_)


class AttentionNeighborsClassifier(ClassifierMixin, _AttentionNeighbors):
    """Classes by softmax attention to the rows it was fitted on; one nearest neighbour at 0.

        a_n = exp(-|x - x_n|^2 / T) / sum_n exp(-|x - x_n|^2 / T),    p_k = sum_n a_n 1[y_n = k]

    On rows of length 1 these are the scores 2 <x, x_n> / T of the paper's attention layer, up to a
    number that all rows share; rows of any length are measured by distance.

    Parameters
    ----------
    temperature : None or float of at least 0
        T, in squared units of X. 0: the class of the nearest row, exactly, as scikit-learn's
        KNeighborsClassifier with one neighbour gives it; rows that tie vote evenly, there the
        first one wins. None: T is found by leave-one-out likelihood on up to 5,000 rows, and
        with it how much of the class prior is mixed in.
    standardize : bool
        Divide columns by their standard deviations before distances are taken. False by default,
        so that distances mean what they do in scikit-learn's neighbours; a pipeline may do it, too.
        Columns in different units call for it.
    random_state : int, RandomState, Generator or None
        Which rows are drawn, and which of them left out, to find T in a table of more than 1,000
        rows. None gives fresh numbers, without touching numpy's global state.

    Attributes
    ----------
    classes_ : (k,)
    temperature_ : float
    prior_ : (k,), shares of the classes.
    prior_rows_ : float. With temperature=None probabilities are calibrated by mixing in the prior
        as if it were so many more rows: (n_eff p + prior_rows prior) / (n_eff + prior_rows),
        n_eff = 1 / sum_n a_n^2; found with T, 0.03 to 3. 0 where the temperature was given: then p
        is the attention's.
    n_samples_fit_, n_features_in_, feature_names_in_ : as in scikit-learn.
    shift_, scale_ : (d,), only with standardize=True.

    Notes
    -----
    float64 and float32 tables are kept as they are, not copied, as in scikit-learn. Rows are read
    in blocks by as many threads as BLAS uses; memory does not grow with the context. Missing cells
    are refused: fill them first.

    Source: the layer of Li et al. 2024 (arXiv 2411.10830); finite temperature, its choice and the
    prior rows are ours.
    """

    def fit(self, X: Any, y: Any) -> AttentionNeighborsClassifier:
        """Remember the rows of X "n d" with their classes y "n", and find the temperature.

        Raises ValueError where X holds NaN or infinity or y is no classes, and TypeError or
        ValueError for arguments out of range.
        """
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32])
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        self.prior_ = np.bincount(codes) / len(codes)
        labels = Labels(codes=codes, n_classes=len(self.classes_))
        self._fit(X, labels, class_loss(self.prior_))
        self.prior_rows_ = self._prior_rows
        return self

    def predict_proba(self, X: Any) -> Float[np.ndarray, "q k"]:
        """Probabilities of `classes_`, row by row; rows sum to 1."""
        read = self._read(X)
        proba = mix_with_prior(read.labels, read.n_effective, self.prior_, self.prior_rows_)
        return proba / proba.sum(axis=1, keepdims=True)  # without it 1 may be 1 + 4e-16

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of each row; of equally probable ones the first."""
        proba = self.predict_proba(X)
        return np.asarray(self.classes_[proba.argmax(axis=1)])


class AttentionNeighborsRegressor(RegressorMixin, _AttentionNeighbors):
    """Means of y by softmax attention to the rows it was fitted on; one nearest neighbour at 0.

        a_n = exp(-|x - x_n|^2 / T) / sum_n exp(-|x - x_n|^2 / T),    answer = sum_n a_n y_n

    Parameters
    ----------
    temperature : None or float of at least 0
        T, in squared units of X. 0: y of the nearest row, exactly, as scikit-learn's
        KNeighborsRegressor with one neighbour gives it; rows that tie are averaged. None: the T of
        least squared leave-one-out error on up to 5,000 rows.
    standardize, random_state :
        as in `AttentionNeighborsClassifier`.

    Attributes
    ----------
    temperature_ : float
    n_samples_fit_, n_features_in_, feature_names_in_, shift_, scale_ :
        as in `AttentionNeighborsClassifier`; its notes hold here, too.

    Source: the layer of Li et al. 2024 (arXiv 2411.10830); finite temperature and its choice are
    ours.
    """

    def fit(self, X: Any, y: Any) -> AttentionNeighborsRegressor:
        """Remember the rows of X "n d" with y "n" or "n v", and find the temperature.

        Raises ValueError where X or y holds NaN or infinity, and TypeError or ValueError for
        arguments out of range.
        """
        X, y = validate_data(
            self, X, y, dtype=[np.float64, np.float32], multi_output=True, y_numeric=True
        )
        self._is_vector = y.ndim == 1
        values = np.asarray(y, dtype=np.float64).reshape(len(y), -1)
        spread = values.std(axis=0)
        self._fit(X, Labels(values=values), squared_loss(np.where(spread > 0, spread, 1.0)))
        return self

    def predict(self, X: Any) -> Float[np.ndarray, "q *v"]:
        """The mean of y under the attention of each row; "q" if y was "n"."""
        found = self._read(X).labels
        return found[:, 0] if self._is_vector else found

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.target_tags.single_output = True
        return tags
