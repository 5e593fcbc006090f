"""The power method with deflation, one symmetric matrix at a time, written to be read.

Axes: n points, d features, k components.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

Array = np.ndarray


class Eigenpairs(NamedTuple):
    """lambda_1 >= lambda_2 >= ..., and v_1, v_2, ... as rows, each with an arbitrary sign."""

    values: Float[Array, "k"]
    vectors: Float[Array, "k d"]


def covariance(X: Float[Array, "n d"], *, centre: bool = True) -> Float[Array, "d d"]:
    """sum_i (x_i - mean)(x_i - mean)' / (n - 1); without `centre` sum_i x_i x_i', no factor.

    Raises ValueError for fewer than two centred points.
    """
    if not centre:
        return np.asarray(X.T @ X)
    if len(X) < 2:
        raise ValueError(f"X has {len(X)} rows; a centred covariance needs at least 2")
    centred = X - X.mean(axis=0)
    return np.asarray(centred.T @ centred / (len(X) - 1))


def power_step(
    S: Float[Array, "d d"], v: Float[Array, "d"], found: Eigenpairs
) -> tuple[float, Float[Array, "d"]]:
    """y = S v - sum_l lambda_l <v_l, v> v_l over the pairs found; (|y|, y / |y|).

    Where y = 0 nothing is left to find: (0, 0).
    """
    y = S @ v - (found.values * (found.vectors @ v)) @ found.vectors
    length = float(np.linalg.norm(y))
    return length, y / length if length > 0 else np.zeros_like(y)


def power_iteration(
    S: Float[Array, "d d"], starts: Float[Array, "k d"], n_steps: int
) -> Eigenpairs:
    """The k leading eigenpairs of a positive semidefinite S: for each component in turn

        v <- start / |start|
        `n_steps` times:  y = S v - sum_l lambda_l <v_l, v> v_l,  v <- y / |y|
        lambda = |y| of the last step

    where l runs over the components already found.

    Source: He et al. 2025 (arXiv 2501.01312), the algorithm that their Transformer imitates.

    Raises ValueError for fewer than one step.
    """
    if n_steps < 1:
        raise ValueError(f"n_steps={n_steps}: pass at least 1; without a step there is no value")
    d = S.shape[0]
    found = Eigenpairs(np.zeros(0), np.zeros((0, d)))
    for start in starts:
        v = start / np.linalg.norm(start)
        for _ in range(n_steps):
            length, v = power_step(S, v, found)
        found = Eigenpairs(np.append(found.values, length), np.vstack([found.vectors, v]))
    return found


def exact_eigenpairs(S: Float[Array, "d d"], n_components: int) -> Eigenpairs:
    """The leading eigenpairs by LAPACK: what the power method tends to."""
    values, columns = np.linalg.eigh(S)
    return Eigenpairs(values[::-1][:n_components], columns.T[::-1][:n_components])
