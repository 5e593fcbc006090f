"""Standardised tables for the tests of what is read off them: plain ones and ugly ones."""

from __future__ import annotations

import numpy as np


def clusters(
    seed: int, n: int = 90, d: int = 3, k: int = 3, apart: float = 2.0
) -> tuple[np.ndarray, np.ndarray]:
    """k clusters of unequal sizes and covariances that overlap, and their labels."""
    rng = np.random.default_rng([seed, n, d, k])
    y = np.concatenate(
        [np.arange(k), rng.choice(k, n - k, p=np.arange(1, k + 1) / (k * (k + 1) / 2))]
    )
    A = np.eye(d) + 0.4 * rng.normal(size=(k, d, d)) / np.sqrt(d)
    X = apart * rng.normal(size=(k, d))[y] + np.einsum("nij,nj->ni", A[y], rng.normal(size=(n, d)))
    return X, y


def labelings(seed: int, y: np.ndarray, m: int = 4) -> np.ndarray:
    """The labels, and m - 1 others of different numbers of clusters; some rows are noise."""
    rng = np.random.default_rng(seed)
    found = [y]
    for i in range(m - 1):
        moved = np.where(rng.random(len(y)) < 0.2 * (i + 1), rng.integers(0, 2 + i, len(y)), y)
        found.append(np.where(rng.random(len(y)) < 0.05, -1, moved))
    return np.stack(found)


def ugly() -> dict[str, np.ndarray]:
    """Tables that are allowed and that nobody would choose."""
    rng = np.random.default_rng(0)
    normal = rng.normal(size=(30, 4))
    return {
        "one row": normal[:1],
        "two rows": normal[:2],
        "four rows": normal[:4],
        "one column": normal[:, :1],
        "one column of one value": np.zeros((12, 1)),
        "constant columns": normal * [1.0, 0.0, 0.0, 1.0],
        "copies of two rows": normal[np.arange(30) % 2],
        "a column of two values": np.sign(normal),
        "more columns than rows": rng.normal(size=(12, 40)),
        "more columns than rows, few apart": rng.normal(size=(12, 1)) * np.ones((1, 40)),
        "many columns": rng.normal(size=(60, 24)),
        "equal columns": normal[:, [0] * 20],
        "far apart": np.where(np.arange(30)[:, None] < 3, 1e6, normal),
        "tiny": 1e-150 * normal,
        "huge": 1e100 * normal,
    }
