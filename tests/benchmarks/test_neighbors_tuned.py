"""The tuned rival is scikit-learn's own search, with neighbours sought only once."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier

from statformer.benchmarks.neighbors_tuned import N_FOLDS, NEIGHBORS, WEIGHTS, TunedNeighbors


def rows(name: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    if name == "digits":
        X, y = load_digits(return_X_y=True)
        return X[::6] + 1e-3 * rng.normal(size=X[::6].shape), y[::6]  # no two are equally near
    y = rng.integers(0, 3, 150)
    return np.round(rng.normal(size=(150, 2)) + y[:, None], 1), y  # rounded: some rows coincide


@pytest.mark.parametrize("by", ["accuracy", "log loss"])
@pytest.mark.parametrize("name", ["digits", "noisy"])
def test_it_chooses_as_scikit_learns_search(name: str, by: Literal["accuracy", "log loss"]) -> None:
    X, y = rows(name)
    found = TunedNeighbors(by, seed=1).fit(X, y)
    theirs = GridSearchCV(
        KNeighborsClassifier(),
        {"n_neighbors": list(NEIGHBORS), "weights": list(WEIGHTS)},
        scoring="accuracy" if by == "accuracy" else "neg_log_loss",
        cv=StratifiedKFold(N_FOLDS, shuffle=True, random_state=1),
    ).fit(X, y)
    scores = theirs.cv_results_["mean_test_score"]
    if name == "noisy":  # of neighbours that tie, another search may take others
        np.testing.assert_allclose(found.scores_, scores, atol=0.02 if by == "accuracy" else 0.5)
        return
    np.testing.assert_allclose(found.scores_, scores, rtol=1e-6)
    assert found.best_params_ == theirs.best_params_
    np.testing.assert_allclose(found.predict_proba(X), theirs.predict_proba(X))


def test_rows_of_prior_are_chosen_and_mixed_in() -> None:
    X, y = rows("noisy")
    found = TunedNeighbors("log loss", prior_rows=(0.1, 2.0)).fit(X, y)
    chosen: dict[str, Any] = found.best_params_
    k, weights, mixed = (chosen[name] for name in ("n_neighbors", "weights", "prior_rows"))
    share = KNeighborsClassifier(k, weights=weights).fit(X, y).predict_proba(X)
    expected = (k * share + mixed * np.bincount(y) / len(y)) / (k + mixed)
    np.testing.assert_allclose(found.predict_proba(X), expected)
    assert found.predict_proba(X).min() > 0.0
