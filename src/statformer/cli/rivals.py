"""The usual methods on the same table, run with care: k-means and EM as scikit-learn has them.

Axes: points n, features d, components c. Every rival is given the K that AttentionMixture settled
on, sees the columns with missing cells filled and unit variance, and has at least ten starts.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score
from sklearn.mixture import GaussianMixture
from threadpoolctl import threadpool_limits

from statformer.cli.errors import CommandError, listing, nearest_name, one_line

N_STARTS = 10
N_STARTS_PER_TYPE = 5
COVARIANCE_TYPES = ("full", "tied", "diag", "spherical")
# On columns of unit variance; scikit-learn's 1e-6 lets one-hot columns collapse.
REG_COVAR = 1e-4
# Beyond this many rows a rival is fitted on a random part of them and then labels all.
MOST_ROWS = 20_000
SMALL_TABLE = 200_000


@dataclass(frozen=True)
class Rival:
    """What one method made of the table; `failure` says why there is nothing."""

    name: str
    labels: Int[np.ndarray, " n"] | None = None
    proba: Float[np.ndarray, " n"] | None = None
    model: GaussianMixture | KMeans | None = None
    seconds: float = 0.0
    failure: str | None = None


def run_rivals(
    names: Sequence[str], X: Float[np.ndarray, "n d"], n_clusters: int, seed: int
) -> list[Rival]:
    """Fit each rival of `names` to the standardised table X with `n_clusters` clusters."""
    return [_run(RIVALS[name], X, n_clusters, seed) for name in names]


def checked_rivals(names: Sequence[str]) -> list[str]:
    """`names`, once each; CommandError for a method that is not known."""
    for name in names:
        if name not in RIVALS:
            guess = nearest_name(name, RIVALS)
            remedy = f"did you mean {guess!r}?" if guess else f"known are {listing(list(RIVALS))}"
            raise CommandError(f"--versus names {name!r}, which is not a method; {remedy}")
    return list(dict.fromkeys(names))


def agreement(truth: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """(ARI, AMI) of two labellings: 1 is the same partition, 0 is what chance gives."""
    return (
        float(adjusted_rand_score(truth, labels)),
        float(adjusted_mutual_info_score(truth, labels)),
    )


def threads_for(n_cells: int) -> threadpool_limits:
    """One thread for a small table, whose threads would only wait for each other."""
    return threadpool_limits(1 if n_cells <= SMALL_TABLE else None)


Fit = Callable[[Float[np.ndarray, "n d"], int, int], Rival]


def _run(fit: Fit, X: Float[np.ndarray, "n d"], n_clusters: int, seed: int) -> Rival:
    started = time.perf_counter()
    rows = X
    if len(X) > MOST_ROWS:
        rows = X[np.random.default_rng(seed).choice(len(X), MOST_ROWS, replace=False)]
    with warnings.catch_warnings(), threads_for(X.size):
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted = fit(rows, n_clusters, seed)
        if fitted.model is None:
            return fitted
        labels = np.asarray(fitted.model.predict(X))
    proba = None
    if isinstance(fitted.model, GaussianMixture):
        proba = fitted.model.predict_proba(X).max(axis=1)
    name = fitted.name if rows is X else f"{fitted.name}, {MOST_ROWS:,} rows"
    seconds = time.perf_counter() - started
    return replace(fitted, name=name, labels=labels, proba=proba, seconds=seconds)


def _kmeans(X: Float[np.ndarray, "n d"], n_clusters: int, seed: int) -> Rival:
    model = KMeans(n_clusters, n_init=N_STARTS, random_state=seed).fit(X)
    return Rival(f"k-means, {N_STARTS} starts", model=model)


def _em(X: Float[np.ndarray, "n d"], n_clusters: int, seed: int) -> Rival:
    name = f"EM, full covariances, {N_STARTS} starts"
    return _fit_em(name, X, n_clusters, seed, types=("full",), n_starts=N_STARTS)


def _em_bic(X: Float[np.ndarray, "n d"], n_clusters: int, seed: int) -> Rival:
    name = f"EM, covariances by BIC, 4 x {N_STARTS_PER_TYPE} starts"
    return _fit_em(name, X, n_clusters, seed, types=COVARIANCE_TYPES, n_starts=N_STARTS_PER_TYPE)


def _fit_em(
    name: str,
    X: Float[np.ndarray, "n d"],
    n_clusters: int,
    seed: int,
    *,
    types: Sequence[str],
    n_starts: int,
) -> Rival:
    models, failure = [], "no start ended"
    for covariance_type in types:
        model = GaussianMixture(
            n_clusters,
            covariance_type=covariance_type,
            n_init=n_starts,
            reg_covar=REG_COVAR,
            random_state=seed,
        )
        try:
            models.append(model.fit(X))
        except ValueError as error:
            failure = one_line(error)
    if not models:
        return Rival(name, failure=failure)
    return Rival(name, model=min(models, key=lambda model: float(model.bic(X))))


RIVALS: dict[str, Fit] = {"em": _em, "em-bic": _em_bic, "kmeans": _kmeans}
