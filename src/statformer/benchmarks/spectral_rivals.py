"""Leading singular vectors by SciPy and scikit-learn, with the products they take counted.

A product is X'(X v) for one vector v. Axes: n points, d features, k components.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.sparse.linalg import ArpackError, LinearOperator, svds
from sklearn.utils.extmath import randomized_svd

from statformer.reference.power_iteration import Eigenpairs

TOLERANCES = (0.0, 1e-8, 1e-4, 1e-2, 0.1, 0.5)
OVERSAMPLES = (10, 5, 2, 0)

Matrix = Float[np.ndarray, "n d"]


@dataclass(frozen=True)
class Counted:
    """Eigenpairs of X'X and the number of products that were spent."""

    pairs: Eigenpairs
    products: float


def by_svds(X: Matrix, n_components: int, seed: int, tolerance: float, n_lanczos: int) -> Counted:
    """ARPACK's Lanczos through `scipy.sparse.linalg.svds`; raises ArpackError without an answer."""
    count = 0

    def forward(v: Float[np.ndarray, " d"]) -> Float[np.ndarray, " n"]:
        nonlocal count
        count += 1
        product: Float[np.ndarray, " n"] = X @ v
        return product

    counted = LinearOperator(
        X.shape, matvec=forward, rmatvec=lambda u: X.T @ u, dtype=np.dtype(np.float64)
    )
    v0 = np.random.default_rng(seed).standard_normal(min(X.shape))
    _, s, Vt = svds(counted, n_components, ncv=n_lanczos, tol=tolerance, v0=v0)
    order = np.argsort(-s)
    # svds multiplies once more per component to return the left vectors
    return Counted(Eigenpairs(s[order] ** 2, Vt[order]), max(count - n_components, 1))


def by_random_projection(
    X: Matrix, n_components: int, seed: int, n_iter: int, n_oversamples: int
) -> Counted:
    """scikit-learn's `randomized_svd`: n_iter + 1 products of each of k + n_oversamples columns."""
    _, s, Vt = randomized_svd(
        X,
        n_components,
        n_oversamples=n_oversamples,
        n_iter=n_iter,
        power_iteration_normalizer="QR",
        random_state=seed,
    )
    products = (n_components + n_oversamples) * (n_iter + 1)
    return Counted(Eigenpairs(s**2, Vt), products)


def svds_within(X: Matrix, n_components: int, seed: int, budget: float) -> Iterator[Counted]:
    """Answers of `svds` for at most `budget` products, over its tolerances and Lanczos vectors."""
    least, most = n_components + 1, min(X.shape) - 1
    for n_lanczos in sorted({least, 2 * n_components + 1, 20, most}):
        if not least <= n_lanczos <= min(most, budget):
            continue
        for tolerance in TOLERANCES:
            try:
                found = by_svds(X, n_components, seed, tolerance, n_lanczos)
            except ArpackError:
                continue
            if found.products <= budget:
                yield found


def random_projections_within(
    X: Matrix, n_components: int, seed: int, budget: float
) -> Iterator[Counted]:
    """Answers of `randomized_svd` for at most `budget` products, by several oversamplings."""
    for n_oversamples in OVERSAMPLES:
        n_iter = int(budget // (n_components + n_oversamples)) - 1
        if n_iter >= 0:
            yield by_random_projection(X, n_components, seed, n_iter, n_oversamples)
