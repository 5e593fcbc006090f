"""Planar clusters that are no clouds, from generators that no training prior shares.

Two come from scikit-learn, the others are ours. Every generator draws its own thickness, sizes and
arrangement; `shape_table` then turns the plane, stretches it a little and may lift it into more
columns. Axes: n points, d features.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int
from sklearn.datasets import make_circles, make_moons

Points = Float[np.ndarray, "n 2"]
Labels = Int[np.ndarray, " n"]
Shape = Callable[[np.random.Generator, int], tuple[Points, Labels]]

_LIFT = 0.3  # share of tables that live in three to six columns
_LEAST = 8  # points of a cluster


def shape_table(
    rng: np.random.Generator, n: int, name: str
) -> tuple[Float[np.ndarray, "n d"], Labels]:
    """n points of the shape `name`, rows in random order, seen under a random linear map.

    The map is a turn of the plane after a stretch of one axis by 1 to 1.6; three tables in ten are
    then lifted by a random frame into 3 to 6 columns with noise of 2 % of their spread.
    """
    X, y = SHAPES[name](rng, n)
    angle, stretch = rng.uniform(0.0, 2.0 * np.pi), rng.uniform(1.0, 1.6)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    X = (X - X.mean(axis=0)) @ np.diag([stretch, 1.0]) @ turn
    if rng.random() < _LIFT:
        d = int(rng.integers(3, 7))
        frame, _ = np.linalg.qr(rng.standard_normal((d, 2)))
        X = X @ frame.T + 0.02 * X.std() * rng.standard_normal((n, d))
    order = rng.permutation(n)
    return X[order], y[order]


def two_moons(rng: np.random.Generator, n: int) -> tuple[Points, Labels]:
    """scikit-learn's half circles, unequal in number."""
    first = int(n * rng.uniform(0.35, 0.65))
    X, y = make_moons((first, n - first), noise=rng.uniform(0.04, 0.12), random_state=_seed(rng))
    return X, y


def two_circles(rng: np.random.Generator, n: int) -> tuple[Points, Labels]:
    """scikit-learn's circle inside a circle."""
    factor, seed = rng.uniform(0.3, 0.6), _seed(rng)
    X, y = make_circles(n, factor=factor, noise=rng.uniform(0.02, 0.07), random_state=seed)
    return X, y


def arcs(rng: np.random.Generator, n: int) -> tuple[Points, Labels]:
    """2 to 4 arcs of 90 to 300 degrees around corners of a grid; radii differ by up to 2.5."""
    K = int(rng.integers(2, 5))
    y = _labels(rng, n, K)
    radius, start = rng.uniform(0.4, 1.0, K), rng.uniform(0.0, 2.0 * np.pi, K)
    extent = rng.uniform(np.pi / 2.0, 5.0 * np.pi / 3.0, K)
    t = start[y] + extent[y] * rng.random(n)
    X = _grid(rng, K, 1.8)[y] + radius[y, None] * np.column_stack([np.cos(t), np.sin(t)])
    return X + rng.uniform(0.03, 0.1, K)[y, None] * rng.standard_normal((n, 2)), y


def s_curves(rng: np.random.Generator, n: int) -> tuple[Points, Labels]:
    """2 or 3 letters S side by side, close enough that their bends interlock."""
    K = int(rng.integers(2, 4))
    y = _labels(rng, n, K)
    t = 3.0 * np.pi * (rng.random(n) - 0.5)
    X = np.column_stack([np.sin(t), np.sign(t) * (np.cos(t) - 1.0)])
    X[:, 0] += rng.uniform(2.2, 2.8) * y
    return X + rng.uniform(0.04, 0.12) * rng.standard_normal((n, 2)), y


def double_spiral(rng: np.random.Generator, n: int) -> tuple[Points, Labels]:
    """2 or 3 arms r = a + b t of an Archimedean spiral; they grow thicker outwards in half."""
    K = int(rng.integers(2, 4))
    y = _labels(rng, n, K)
    turns = rng.uniform(0.8, 1.6)
    t = 2.0 * np.pi * turns * np.sqrt(rng.random(n))
    at = t + 2.0 * np.pi * y / K
    X = (0.8 + t)[:, None] * np.column_stack([np.cos(at), np.sin(at)])
    gap = 2.0 * np.pi / K  # between neighbouring arms, along a ray
    width = gap * rng.uniform(0.04, 0.12) * np.ones(n)
    if rng.random() < 0.5:
        width *= 0.5 + t / t.max()
    return X + width[:, None] * rng.standard_normal((n, 2)), y


def c_around_blob(rng: np.random.Generator, n: int) -> tuple[Points, Labels]:
    """A letter C, open by 60 to 120 degrees, around one or two Gaussian clouds."""
    n_blobs = int(rng.integers(1, 3))
    y = _labels(rng, n, 1 + n_blobs)
    opening = rng.uniform(np.pi / 3.0, 2.0 * np.pi / 3.0)
    t = opening / 2.0 + (2.0 * np.pi - opening) * rng.random(n)
    C = np.column_stack([np.cos(t), np.sin(t)])
    centres = np.array([[0.0, 0.28], [0.0, -0.28]]) if n_blobs == 2 else np.zeros((1, 2))
    spread = rng.uniform(0.05, 0.1) if n_blobs == 2 else rng.uniform(0.1, 0.2)
    blob = centres[np.maximum(y - 1, 0)] + spread * rng.standard_normal((n, 2))
    C = C + rng.uniform(0.03, 0.1) * rng.standard_normal((n, 2))
    return np.where((y == 0)[:, None], C, blob), y


def sine_bands(rng: np.random.Generator, n: int) -> tuple[Points, Labels]:
    """2 to 4 parallel bands along a sine wave."""
    K = int(rng.integers(2, 5))
    y = _labels(rng, n, K)
    t = rng.uniform(0.0, 2.0 * np.pi * rng.uniform(0.8, 1.6), n)
    gap = rng.uniform(0.7, 1.2)
    height = rng.uniform(0.5, 1.0) * np.sin(t) + gap * y
    X = np.column_stack([t, height])
    return X + gap * rng.uniform(0.04, 0.1) * rng.standard_normal((n, 2)), y


def chained_blobs(rng: np.random.Generator, n: int) -> tuple[Points, Labels]:
    """2 or 3 rows of 4 to 7 overlapping clouds each; a row is one cluster."""
    K = int(rng.integers(2, 4))
    y = _labels(rng, n, K)
    links = rng.integers(4, 8, K)
    link = (rng.random(n) * links[y]).astype(np.int64)
    phase = rng.uniform(0.0, 2.0 * np.pi, K)
    X = np.column_stack([0.9 * link, 0.4 * np.sin(0.9 * link + phase[y]) + 2.6 * y])
    return X + rng.uniform(0.2, 0.32) * rng.standard_normal((n, 2)), y


def crosses(rng: np.random.Generator, n: int) -> tuple[Points, Labels]:
    """3 or 4 plus signs on a grid, each with its own turn and arm length."""
    K = int(rng.integers(3, 5))
    y = _labels(rng, n, K)
    arm, turn = rng.uniform(0.7, 1.3, K), rng.uniform(0.0, np.pi / 2.0, K)
    t = turn[y] + (np.pi / 2.0) * rng.integers(0, 4, n)
    X = (arm[y] * rng.random(n))[:, None] * np.column_stack([np.cos(t), np.sin(t)])
    X = X + _grid(rng, K, 1.9)[y]
    return X + rng.uniform(0.04, 0.1) * rng.standard_normal((n, 2)), y


def dense_beside_thin(rng: np.random.Generator, n: int) -> tuple[Points, Labels]:
    """A wide uniform disc with one or two small dense discs at its rim; densities differ 10-fold
    and more."""
    n_small = int(rng.integers(1, 3))
    y = _labels(rng, n, 1 + n_small)
    radius = np.concatenate([[1.0], rng.uniform(0.12, 0.25, n_small)])
    side = rng.uniform(0.0, 2.0 * np.pi) + np.pi * np.arange(n_small)
    away = 1.0 + radius[1:] + rng.uniform(0.08, 0.25, n_small)
    small = away[:, None] * np.column_stack([np.cos(side), np.sin(side)])
    centres = np.concatenate([np.zeros((1, 2)), small])
    t, r = rng.uniform(0.0, 2.0 * np.pi, n), np.sqrt(rng.random(n)) * radius[y]
    return centres[y] + r[:, None] * np.column_stack([np.cos(t), np.sin(t)]), y


SHAPES: dict[str, Shape] = {
    "two moons": two_moons,
    "two circles": two_circles,
    "arcs": arcs,
    "S-curves": s_curves,
    "double spiral": double_spiral,
    "C around a blob": c_around_blob,
    "sine bands": sine_bands,
    "chained blobs": chained_blobs,
    "crosses": crosses,
    "dense beside thin": dense_beside_thin,
}


def _labels(rng: np.random.Generator, n: int, n_components: int) -> Labels:
    """Shares Dirichlet(6), every cluster with at least `_LEAST` points."""
    if n < _LEAST * n_components:
        raise ValueError(
            f"n={n} points cannot give {n_components} clusters {_LEAST} points each; "
            f"use at least {_LEAST * n_components}"
        )
    y = rng.choice(n_components, size=n, p=rng.dirichlet(np.full(n_components, 6.0)))
    y[: _LEAST * n_components] = np.repeat(np.arange(n_components), _LEAST)
    return y


def _grid(rng: np.random.Generator, n_places: int, step: float) -> Float[np.ndarray, "c 2"]:
    """Corners of a 2 x 2 grid in random order, shaken by 5 % of its step."""
    corners = step * np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    shaken = corners + 0.05 * step * rng.standard_normal((4, 2))
    found: Float[np.ndarray, "c 2"] = shaken[rng.permutation(4)[:n_places]]
    return found


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**31))
