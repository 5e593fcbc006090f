"""`AttentionMixture`: cluster a table with a mixture network, behind scikit-learn's contract.

Axes: n rows, m columns of the caller's table, d columns of the encoded matrix, c components,
l layers.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    ClusterMixin,
    DensityMixin,
    TransformerMixin,
)
from sklearn.mixture import GaussianMixture
from sklearn.utils.validation import check_is_fitted, validate_data

from statformer.estimators import alignment, fitting
from statformer.estimators.base import (
    CONSTRUCTED,
    Checkpoint,
    MissingValuesWarning,
    as_generator,
    check_count,
    check_weights_of_rows,
    resolve_weights,
)
from statformer.estimators.density import FrozenMixture
from statformer.estimators.depth import fathom
from statformer.estimators.devices import backend
from statformer.estimators.effort import effort_of
from statformer.estimators.io import load, save_model
from statformer.estimators.table import Filled, check_table, chunks

ALIKE = 1e-9  # responsibilities that rounding may tell apart


class AttentionMixture(
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    ClusterMixin,
    DensityMixin,
    BaseEstimator,
):
    """Clustering by networks: one proposes clusterings, one judges them, the best is kept.

    Proposals come from EM unrolled as attention layers (`nn.em_network`: centre tokens (pi_k, mu_k,
    Sigma_k) attend to the rows, a small network regularises the covariances, the rows attend to
    the centres), and with more `effort` from textbook EM and from joined pieces of any shape. The
    judge (`nn.judge`) reads features of each, lets them attend to each other, and predicts the
    adjusted Rand index of each and P(K). Then the centres are frozen, and each row is read alone.
    With weights="constructed", and for weights without a judge, the start with the highest density

        log p(x) = log sum_k pi_k N(x; mu_k, Sigma_k)

    over the context wins (`estimators.constructed` says how K and covariance types are chosen).

    There are two read-outs. `score_samples`, `score`, `bic`, `aic` and the choice among starts
    use the density above, and `to_sklearn()` has the same. `predict`, `predict_proba` and
    `transform` are the network's last E layer, softmax_k of temperature [(1 - rho_k) log N +
    rho_k log t_nu + strength log pi_k] with learned numbers, of which the judge spreads a share
    evenly over the clusters where it doubts them. With weights="constructed" that is the posterior
    of the density. The layers read values of more than 20 robust standard deviations
    compressed (`nn.standardize.compress`); the density reads them as they are.

    Parameters
    ----------
    n_components : int or None
        K. None: the K whose best labeling is expected to agree most with the true classes; what
        is believed of K itself is in `n_components_proba_`.
    weights : "pretrained", "constructed" or path
        Learned layers that ship with the package; textbook EM over all covariance types and three
        ridges (see `estimators.constructed`); or a checkpoint file of `statformer pretrain`.
    effort : "fast", "balanced" or "best"
        How many clusterings are proposed, and by whom: one table in `estimators.effort`.
    fallback : "warn", "constructed" or "raise"
        What to do with a table unlike all that the weights were trained on: an
        `OutOfDepthWarning`, the answer of constructed weights, or an `OutOfDepthError`.
    n_init : int or None
        Starts (greedy k-means++ refined by Lloyd steps), run as one batch. None: by effort.
    max_components : int
        Largest K that is considered when n_components is None.
    max_context : int
        Above this many rows the layers read a random sample of this size, drawn in proportion to
        the weights; all rows are then labelled.
    max_features : int
        Above this many columns the layers read principal directions; the rest of the variance is
        kept as one number.
    categorical_features : "auto", None, list of names or places, or mask
        Columns of categories. "auto": those that hold text or categories. In `means_` each has a
        column per category that holds its share, two categories one column of the second; beyond
        30 categories the rare ones have no column and count as missing.
    random_state : int, RandomState, Generator or None
        Source of the starts, of the context, and of `sample`. An int gives the same numbers each
        time; None gives fresh ones, without touching numpy's global state.
    device : None, "cpu", "cuda", torch device
        None and "cpu" run on numpy, anything else on torch (extra `torch`).

    Attributes
    ----------
    labels_ : (n,) int; 0 is the largest cluster, unless numbered like an earlier model. Equals
        `predict(X)`.
    n_components_ : clusters that own at least one row.
    n_components_proba_ : (max_components,), entry j = P(K = j + 1); all on K when it was given.
    expected_ari_ : adjusted Rand index that the answer is expected to reach against the true
        classes, see `docs/judge.md`; NaN where the weights have no judge.
    out_of_depth_ : percentage of the training tables that are more ordinary than this one, 0 to
        100; NaN with constructed weights and where the weights do not describe their training.
    cluster_names_ : (c,), names that go on from model to model; 0, 1, ... for a first model.
    matched_, match_overlap_ : (c,), after `fit(like=...)` or `align_to`: the number of the previous
        model's cluster that each goes on from (-1: new), and how much the two overlap, 0 to 1.
    weights_ (c,), means_ (c, d), covariances_ (c, d, d) : the mixture in the caller's units.
    encoded_feature_names_ : names of the d columns of `means_`.
    trace_ : (l, n_context, c), responsibilities after each layer, computed when asked for.
    context_ : (n_context,), the rows of X that `trace_` describes.

    Notes
    -----
    A row of weight 2 equals two rows; a row of weight 0 is absent. The order of the rows has no
    influence. Missing numbers are summed out of every step, not filled; categorical columns have
    shares per component, and a missing, rare or unseen category says nothing. Only where that would
    cost too much (many columns with gaps, see `estimators.cells`) are numbers filled with medians
    and categories with the most frequent one, with a `MissingValuesWarning`. Source of the layers:
    ours, see `docs/` for the ancestors.
    """

    labels_: Int[np.ndarray, " n"]
    _origin: fitting.Origin

    def __init__(
        self,
        n_components: int | None = None,
        *,
        weights: str | Path = "pretrained",
        effort: str = "balanced",
        fallback: str = "warn",
        n_init: int | None = None,
        max_components: int = 20,
        max_context: int = 4096,
        max_features: int = 32,
        categorical_features: Any = "auto",
        random_state: Any = None,
        device: Any = None,
    ) -> None:
        self.n_components = n_components
        self.weights = weights
        self.effort = effort
        self.fallback = fallback
        self.n_init = n_init
        self.max_components = max_components
        self.max_context = max_context
        self.max_features = max_features
        self.categorical_features = categorical_features
        self.random_state = random_state
        self.device = device

    def fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        like: AttentionMixture | None = None,
    ) -> AttentionMixture:
        """Cluster the rows of X.

        Parameters
        ----------
        X : array or DataFrame (n, m)
        y : ignored
        sample_weight : (n,) or None
            How often each row counts.
        like : fitted AttentionMixture or None
            A model of an earlier table of the same columns (it may be this one, or one that was
            loaded). The clusters are those that would be found without it; they take its numbers,
            as in `align_to`.

        Raises ValueError where a column holds infinity or no value at all, where n_components
        exceeds the number of distinct rows, or where an argument is out of range.
        """
        checkpoint, on = resolve_weights(self.weights), backend(self.device)
        previous = None if like is None else alignment.snapshot("like", like)
        effort = effort_of(self)
        prepared = fitting.prepare(self, X, sample_weight)
        if previous is not None:
            alignment.check_columns(self._encoder, previous._encoder)
        checkpoint = fathom(self, prepared.problem, checkpoint)
        (found,) = fitting.solve([prepared.problem], checkpoint, effort, self.max_components, on)
        self.weights_sha256_ = checkpoint.sha256
        fitting.finish(self, prepared, found, on)
        return self if previous is None else self.align_to(previous)

    def align_to(
        self, previous: AttentionMixture, X: Any = None, sample_weight: Any = None
    ) -> AttentionMixture:
        """Give each cluster the number of the cluster of `previous` that it matches best.

        Both models read the same rows; clusters are paired one to one so that the weighted Jaccard
        indices of their memberships sum to the most (`estimators.alignment`). A matched cluster
        takes its partner's number where that is below K; labels stay 0 to K - 1, so a number that
        a vanished cluster leaves may be taken by another. `matched_` and `cluster_names_` tell the
        two apart.

        Parameters
        ----------
        previous : fitted AttentionMixture
            Of a table of the same columns.
        X : array or DataFrame (n, m), or None
            The rows to compare on; None: the rows `context_` of this model's own fit.
        sample_weight : (n,) or None
            How often each row of X counts.

        Raises TypeError where `previous` is no AttentionMixture, NotFittedError where one of the
        two is not fitted, ValueError where their columns differ, and where X is None and this model
        was loaded from a file, which holds no rows.
        """
        previous = alignment.snapshot("previous", previous)
        check_is_fitted(self)
        if X is not None:
            X = self._check(X)
            alignment.align(self, previous, X, check_weights_of_rows(sample_weight, X.shape[0]))
        elif hasattr(self, "_context_table"):
            alignment.align(self, previous, *self._context_table)
        else:
            raise ValueError("a loaded model has no rows to compare on; give align_to the table X")
        return self

    def predict(self, X: Any) -> Int[np.ndarray, " n"]:
        """Most probable component of each row, by the last E layer."""
        return self._labels(self._check(X), warn=True)

    def predict_proba(self, X: Any) -> Float[np.ndarray, "n c"]:
        """Responsibilities of the components for each row, by the last E layer; rows sum to 1."""
        X, on = self._check(X), backend(self.device)
        proba = np.empty((X.shape[0], self.n_components_))
        for rows, matrix in self._encoded(X):
            proba[rows] = self._mixture.responsibilities(matrix, on)
        return proba

    def transform(self, X: Any) -> Float[np.ndarray, "n c"]:
        """The responsibilities, as `predict_proba`."""
        return self.predict_proba(X)

    def score_samples(self, X: Any) -> Float[np.ndarray, " n"]:
        """log p(x) of each row in nats, normalised in the caller's units."""
        X, on = self._check(X), backend(self.device)
        score = np.empty(X.shape[0])
        for rows, matrix in self._encoded(X):
            score[rows] = self._mixture.log_density(matrix, on)
        return score

    def score(self, X: Any, y: Any = None) -> float:
        """Mean of `score_samples`."""
        return float(self.score_samples(X).mean())

    def bic(self, X: Any) -> float:
        """-2 sum log p(x) + q log n; lower is better.

        q counts weights, means and full covariances. With weights="constructed" it counts the
        covariance type that was chosen. Learned regularisation ties covariances together by an
        amount that nobody can count; q is then an upper bound.
        """
        score = self.score_samples(X)
        return float(-2.0 * score.sum() + self._mixture.n_parameters * np.log(len(score)))

    def aic(self, X: Any) -> float:
        """-2 sum log p(x) + 2 q, q as in `bic`; lower is better."""
        return float(-2.0 * self.score_samples(X).sum() + 2.0 * self._mixture.n_parameters)

    def sample(self, n_samples: int = 1) -> tuple[Float[np.ndarray, "n d"], Int[np.ndarray, " n"]]:
        """Draw from the density: rows of the encoded matrix in the caller's units, and labels."""
        check_is_fitted(self)
        n_samples = check_count("n_samples", n_samples)
        return self._mixture.sample(n_samples, as_generator(self.random_state))

    def to_sklearn(self) -> GaussianMixture:
        """A fitted GaussianMixture with the same density; it reads the encoded matrix.

        Raises ValueError where the table has categorical columns.
        """
        check_is_fitted(self)
        return self._mixture.to_sklearn()

    def save(self, path: str | Path) -> None:
        """Write the fitted model (JSON and safetensors in one file); `load` reads it."""
        check_is_fitted(self)
        save_model(self, path)

    load = staticmethod(load)

    @property
    def covariances_(self) -> Float[np.ndarray, "c d d"]:
        """Covariances in the caller's units, computed when asked for."""
        return self._fitted("covariances_").covariances()

    @property
    def encoded_feature_names_(self) -> list[str]:
        """Names of the columns of `means_`: "column", or "column=category"."""
        self._fitted("encoded_feature_names_")
        return list(self._encoder.feature_names)

    @property
    def trace_(self) -> Float[np.ndarray, "l n c"]:
        """Responsibilities of the rows `context_` after each layer, computed when asked for.

        Before any doubt is spread over them; one entry where no layers ran (Lloyd, merged parts).

        Raises AttributeError for a model that was loaded (its rows are not in the file), and
        where the weight file is no longer the one that was fitted with.
        """
        self._fitted("trace_")
        if not hasattr(self, "_origin"):
            raise AttributeError("trace_ describes the fitted rows, which a saved model lacks")
        checkpoint = Checkpoint(CONSTRUCTED)
        if self.weights_sha256_ != CONSTRUCTED:  # else they were asked for, or the fallback
            checkpoint = resolve_weights(self.weights)
        if checkpoint.sha256 != self.weights_sha256_:
            raise AttributeError(f"trace_: weights={self.weights!r} changed since fit; fit again")
        on = backend(self.device)
        if self._origin.n_layers == 0:  # Lloyd and merged components: one reading, no layers
            certain = replace(self._mixture, doubt=0.0)
            r = certain.responsibilities(self._origin.rows.X, on)
            return r[None, self._origin.rows.place]
        return fitting.replay(self._origin, checkpoint, on)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.estimator_type = "clusterer"
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        return tags

    def _adopt(self, mixture: FrozenMixture) -> None:
        """Take a mixture as the fitted one."""
        self._mixture = mixture
        self.n_components_ = mixture.n_components
        self.weights_ = mixture.shares
        self.means_ = mixture.means()
        self._n_features_out = mixture.n_components
        self.cluster_names_ = np.arange(mixture.n_components)
        self._n_names = mixture.n_components
        for name in ("matched_", "match_overlap_"):
            if hasattr(self, name):
                delattr(self, name)

    def _renumber(self, order: Int[np.ndarray, " c"]) -> None:
        """The cluster `order[k]` becomes cluster k, in every attribute."""
        self._adopt(self._mixture.reordered(order))
        if hasattr(self, "labels_"):
            self.labels_ = np.argsort(order)[self.labels_]
        if hasattr(self, "_origin"):
            self._origin = replace(self._origin, order=self._origin.order[order])

    def _fitted(self, name: str) -> FrozenMixture:
        if not hasattr(self, "_mixture"):
            raise AttributeError(f"{type(self).__name__} has no {name} before fit")
        return self._mixture

    def _check(self, X: Any) -> Any:
        check_is_fitted(self)
        X = check_table(X, self)
        validate_data(self, X, reset=False, skip_check_array=True)
        return X

    def _encoded(self, X: Any, warn: bool = True) -> Any:
        """Chunks of rows and their matrices, NaN for cells nobody saw.

        A projection needs complete rows: gaps are then filled, with one warning at the end.
        """
        filled = Filled()
        for rows, part in chunks(X, self._mixture.n_rows_per_chunk):
            if not self._mixture.needs_complete_rows:
                yield rows, self._encoder.encode_cells(part)
                continue
            matrix, here = self._encoder.encode(part)
            filled = filled + here
            yield rows, matrix
        if warn and filled.n_cells:
            warnings.warn(filled.message(), MissingValuesWarning, stacklevel=3)

    def _labels(self, X: Any, warn: bool = False) -> Int[np.ndarray, " n"]:
        """`predict` without checks; silent about filled cells while fitting."""
        return self._claims(X, warn)[0]

    def _claims(self, X: Any, warn: bool = False) -> tuple[Int[np.ndarray, " n"], bool]:
        """Labels, and whether two clusters claim some row alike, up to rounding."""
        on = backend(self.device)
        labels = np.empty(X.shape[0], dtype=np.int64)
        is_close = False
        for rows, matrix in self._encoded(X, warn):
            r = self._mixture.responsibilities(matrix, on)
            labels[rows] = r.argmax(axis=1)
            claims = r >= r.max(axis=1, keepdims=True) - ALIKE
            is_close = is_close or int(np.count_nonzero(claims)) > len(r)
        return labels, is_close
