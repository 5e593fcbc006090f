"""k nearest neighbours of scikit-learn, tuned by cross-validation; neighbours are sought only once.

scikit-learn's GridSearchCV over k, weights and rows of prior fits and asks anew for every
candidate. All candidates read the same sorted neighbours, so they are found once per inner fold,
and the choice is the same (`tests/benchmarks/test_neighbors_tuned.py`).

Axes: n rows, d columns, q queries, k neighbours, c classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int
from sklearn.model_selection import StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

NEIGHBORS = (1, 2, 3, 4, 5, 7, 10, 15, 20, 30, 50)
WEIGHTS = ("uniform", "distance")
N_FOLDS = 5
LEAST = float(np.finfo(np.float64).eps)

Matrix = Float[np.ndarray, "n d"]
Labels = Int[np.ndarray, " n"]
Proba = Float[np.ndarray, "q c"]


class TunedNeighbors:
    """KNeighborsClassifier whose k and weights, and rows of prior, won an inner cross-validation.

        p = (k share + prior_rows prior) / (k + prior_rows),   prior the shares of the classes

    by          "accuracy" or "log loss" (p clipped at 2.2e-16), the mean over the inner folds
    prior_rows  candidates; (0,) leaves scikit-learn's probabilities as they are
    seed        of the division into inner folds

    Labels are 0, ..., c - 1. Of equal candidates the first wins, as in GridSearchCV.
    """

    def __init__(
        self,
        by: Literal["accuracy", "log loss"],
        *,
        prior_rows: tuple[float, ...] = (0.0,),
        seed: int = 0,
    ) -> None:
        self.by, self.prior_rows, self.seed = by, prior_rows, seed

    def fit(self, X: Matrix, y: Labels) -> TunedNeighbors:
        """Choose among the candidates by cross-validation, then remember all rows."""
        sizes = [k for k in NEIGHBORS if k <= len(y) - len(y) // N_FOLDS - 1]
        candidates = list(product(sizes, self.prior_rows, WEIGHTS))
        scores = []
        for train, test in StratifiedKFold(N_FOLDS, shuffle=True, random_state=self.seed).split(
            X, y
        ):
            found = _answers(X[train], y[train], X[test], int(y.max()) + 1, candidates)
            scores.append([_score(self.by, proba, y[test]) for proba in found])
        self.scores_ = np.mean(scores, axis=0)
        k, self.rows_, weights = candidates[int(self.scores_.argmax())]
        self.best_params_: dict[str, Any] = {"n_neighbors": k, "weights": weights}
        if self.prior_rows != (0.0,):
            self.best_params_["prior_rows"] = self.rows_
        self.model_ = KNeighborsClassifier(k, weights=weights).fit(X, y)
        self.classes_ = self.model_.classes_
        self.prior_ = np.bincount(np.searchsorted(self.classes_, y)) / len(y)
        return self

    def predict_proba(self, X: Matrix) -> Proba:
        """Probabilities of `classes_`."""
        k = self.model_.n_neighbors
        found: Proba = _mixed(self.model_.predict_proba(X), k, self.rows_, self.prior_)
        return found


def _answers(
    X: Matrix, y: Labels, queries: Matrix, n_classes: int, candidates: list[tuple[int, float, str]]
) -> Iterator[Proba]:
    """What each candidate (k, rows of prior, weights), fitted on X and y, says of the queries."""
    prior = np.bincount(y, minlength=n_classes) / len(y)
    most = max(k for k, _, _ in candidates)
    distance, place = NearestNeighbors(n_neighbors=most).fit(X).kneighbors(queries)
    onehot = np.eye(n_classes)[y[place]]
    weight = {"uniform": np.ones_like(distance), "distance": _inverse(distance)}
    sums = {name: (onehot * one[..., None]).cumsum(axis=1) for name, one in weight.items()}
    for k, rows, name in candidates:
        share = sums[name][:, k - 1]
        yield _mixed(share / share.sum(axis=1, keepdims=True), k, rows, prior)


def _inverse(distance: Float[np.ndarray, "q k"]) -> Float[np.ndarray, "q k"]:
    """1 / distance; beside neighbours at no distance the others do not count."""
    is_same = distance == 0.0
    weight = 1.0 / np.where(is_same, 1.0, distance)
    some = is_same.any(axis=1)
    weight[some] = is_same[some]
    return weight


def _mixed(share: Proba, k: int, rows: float, prior: Float[np.ndarray, " c"]) -> Proba:
    return (k * share + rows * prior) / (k + rows)


def _score(by: str, proba: Proba, y: Labels) -> float:
    if by == "accuracy":
        return float((proba.argmax(axis=1) == y).mean())
    own = np.clip(proba[np.arange(len(y)), y], LEAST, 1.0)
    return float(np.log(own).mean())
