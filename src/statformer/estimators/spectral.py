"""`AttentionSpectralClustering`: classes from the leading principal scores.

Axes: n rows, d columns, c classes, k components.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.cluster import KMeans
from sklearn.metrics import pairwise_distances_argmin
from sklearn.utils.validation import check_is_fitted, validate_data

from statformer.estimators.base import as_generator, check_count, check_weights_of_rows
from statformer.estimators.decomposition import AttentionPCA

N_INIT = 10  # starts of k-means on the scores


class AttentionSpectralClustering(ClusterMixin, BaseEstimator):
    """Spectral clustering of rows: the power-iteration network, then the sign of the first score.

    Two classes are told apart as in He et al. (arXiv 2501.01312; the form here is derived, the
    paper's own is not known to us): with v the leading principal direction of the centred table,

        label_i = [<x_i - mean, v> > 0].

    More than two classes are found by k-means (scikit-learn's, 10 starts) on the leading
    min(c - 1, d) scores, for c means lie in a plane of c - 1 dimensions. k-means, because it parts
    spherical classes at the best rate there is from these scores (Löffler, Zhang and Zhou 2021),
    and every class keeps its rows; that it follows the sign here is ours.

    Parameters
    ----------
    n_clusters : int
        c. 1 gives all rows one label.
    weights, robust, max_context, random_state
        As in `AttentionPCA`; random_state is also the source of the starts of k-means.

    Attributes
    ----------
    labels_ : (n,) int; 0 is the largest class. Equals `predict(X)`.
    cluster_centers_ : (c, d), mean of the rows of each class under the weights of the rows, missing
        and doubtful cells where they are expected. In the caller's units.
    embedding_ : fitted `AttentionPCA` of the leading scores.
    row_weights_ : (n,), its weights of the rows. Outlying rows are labelled, but move nothing.
    n_features_in_, feature_names_in_ : as in scikit-learn.

    The sign cuts at the mean, so of two classes of very unequal sizes the larger is cut into.
    Columns are not scaled: those of large variance decide, as in any principal component analysis.
    """

    labels_: Int[np.ndarray, " n"]

    def __init__(
        self,
        n_clusters: int = 2,
        *,
        weights: str | Path = "pretrained",
        robust: str = "cells",
        max_context: int = 4096,
        random_state: Any = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.weights = weights
        self.robust = robust
        self.max_context = max_context
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> AttentionSpectralClustering:
        """Cluster the rows of X.

        Parameters
        ----------
        X : array or DataFrame (n, d) of numbers, NaN where missing
        y : ignored
        sample_weight : (n,) or None
            How often each row counts.

        Raises ValueError for what `AttentionPCA.fit` refuses, and where n_clusters exceeds the
        number of rows.
        """
        n_clusters = check_count("n_clusters", self.n_clusters)
        X = validate_data(
            self,
            X,
            dtype=[np.float64, np.float32],
            ensure_all_finite="allow-nan",
            ensure_min_samples=2,
        )
        weight = check_weights_of_rows(sample_weight, len(X))
        n_rows = int((weight > 0).sum())
        if n_clusters > n_rows:
            raise ValueError(f"n_clusters={n_clusters} exceeds the number of rows, {n_rows}")
        rng = as_generator(self.random_state)
        k = max(1, min(n_clusters - 1, X.shape[1], n_rows - 1))
        self.embedding_ = AttentionPCA(
            k,
            weights=self.weights,
            robust=self.robust,
            max_context=self.max_context,
            random_state=rng,
        )
        scores = self.embedding_.fit_transform(X, sample_weight=weight).astype(np.float64)
        self.row_weights_ = self.embedding_.row_weights_
        self._heads = self._learn(scores, weight * self.row_weights_, n_clusters, rng)
        self.labels_ = _nearest(scores, self._heads)
        self.cluster_centers_ = self._centres(X, weight * self.row_weights_)
        return self

    def predict(self, X: Any) -> Int[np.ndarray, " n"]:
        """The class of each row, read alone."""
        check_is_fitted(self)
        X = validate_data(
            self, X, dtype=[np.float64, np.float32], ensure_all_finite="allow-nan", reset=False
        )
        return _nearest(self.embedding_.transform(X).astype(np.float64), self._heads)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def _learn(
        self,
        scores: Float[np.ndarray, "n k"],
        weight: Float[np.ndarray, " n"],
        n_clusters: int,
        rng: np.random.Generator,
    ) -> Float[np.ndarray, "c k"]:
        """A point per class in the plane of the scores, the largest class first."""
        if n_clusters == 1:
            return np.zeros((1, scores.shape[1]))
        if n_clusters == 2:  # the nearer of two opposite points is the sign
            size = float(weight @ np.abs(scores[:, 0])) / float(weight.sum())
            heads = np.array([[size], [-size]])
        else:
            seed = int(rng.integers(2**31))
            means = KMeans(n_clusters, n_init=N_INIT, random_state=seed)
            heads = means.fit(scores, sample_weight=weight).cluster_centers_
        sizes = np.bincount(_nearest(scores, heads), weights=weight, minlength=n_clusters)
        return np.asarray(heads[np.argsort(-sizes, kind="stable")])

    def _centres(self, X: Any, weight: Float[np.ndarray, " n"]) -> Float[np.ndarray, "c d"]:
        """Weighted mean of the rows of each class; where that is empty, its point of the plane."""
        model = self.embedding_._model
        sums, sizes = np.zeros((len(self._heads), X.shape[1])), np.zeros(len(self._heads))
        for rows, centred in self.embedding_._centred(X):
            member = (self.labels_[rows, None] == np.arange(len(sizes))) * weight[rows, None]
            sums += member.T @ centred
            sizes += member.sum(axis=0)
        found = model.restored(self._heads)
        found[sizes > 0] = model.mean + sums[sizes > 0] / sizes[sizes > 0, None]
        return found.astype(self.embedding_.mean_.dtype)


def _nearest(
    scores: Float[np.ndarray, "n k"], heads: Float[np.ndarray, "c k"]
) -> Int[np.ndarray, " n"]:
    found: Int[np.ndarray, " n"] = pairwise_distances_argmin(scores, heads)
    return found
