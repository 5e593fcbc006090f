"""Starts for centre tokens: greedy k-means++ from the caller's numbers, then Lloyd steps.

All starts of all tables in one batch; rows count by their weight. The only randomness is
`uniforms`, so the answer depends on the order of rows only through them.

Axes: b tables, B runs (the s starts of a table side by side), n points, d features,
c components, t trials of one greedy step.
"""

from __future__ import annotations

import math
from typing import Any

from array_api_compat import array_namespace, device

from statformer.batch import Array, Tables

LLOYD_STEPS = 10


def n_trials(n_components: int) -> int:
    """Candidates per greedy step, 2 + floor(log c): scikit-learn's rule."""
    return 2 + int(math.log(max(n_components, 1)))


def kmeans_plus_plus(tables: Tables, n_components: Array, uniforms: Array) -> Array:
    """Greedy k-means++: means "B c d"; means beyond a run's n_components "B" are zero.

    uniforms "B c t" in [0, 1): step j draws t candidates by inverting the cumulative weight of
    w_i D_i^2 and keeps the one that leaves the smallest sum of w_i D_i^2.
    """
    xp = array_namespace(tables.X)
    runs, c, t = uniforms.shape
    _, n, d = tables.X.shape
    X = _as_runs(tables.X, runs)
    w = _as_runs(tables.weight, runs)
    norm = _as_runs(xp.sum(tables.X**2, axis=-1), runs)  # B n
    index = _invert(w, uniforms[:, 0, :1])
    means = [xp.take_along_axis(X, index[:, :, None], axis=1)]
    distance = _squared(X, norm, means[0])[:, 0, :]  # B n
    for j in range(1, c):
        mass = w * distance
        # every point already is a centre: draw by weight, the component stays empty later
        mass = xp.where(xp.sum(mass, axis=-1, keepdims=True) > 0, mass, w)
        index = _invert(mass, uniforms[:, j, :])  # B t
        candidates = xp.take_along_axis(X, xp.broadcast_to(index[:, :, None], (runs, t, d)), axis=1)
        left = xp.minimum(distance[:, None, :], _squared(X, norm, candidates))  # B t n
        best = xp.argmin(xp.sum(w[:, None, :] * left, axis=-1), axis=1)  # B
        pick = best[:, None, None]
        means.append(xp.take_along_axis(candidates, xp.broadcast_to(pick, (runs, 1, d)), axis=1))
        distance = xp.take_along_axis(left, xp.broadcast_to(pick, (runs, 1, n)), axis=1)[:, 0, :]
    stacked = xp.concat(means, axis=1)
    keep = is_component(n_components, c, like=stacked)
    return xp.where(keep[:, :, None], stacked, xp.zeros_like(stacked))


def lloyd(tables: Tables, means: Array, is_there: Array, n_steps: int = LLOYD_STEPS) -> Array:
    """Responsibilities "B n c" (one-hot) after `n_steps` of Lloyd's algorithm.

    z_i = argmin_k |x_i - mu_k|^2, mu_k = weighted mean of its points; a centre that lost all its
    points stays where it is.
    """
    xp = array_namespace(tables.X)
    runs, c, _ = means.shape
    X = _as_runs(tables.X, runs)
    w = _as_runs(tables.weight, runs)
    labels = _nearest(X, means, is_there)
    for _ in range(n_steps):
        hot = _one_hot(labels, c, means) * w[:, None, :]  # B c n
        mass = xp.sum(hot, axis=-1)[..., None]
        moved = xp.matmul(hot, X) / xp.where(mass > 0, mass, xp.ones_like(mass))
        means = xp.where(mass > 0, moved, means)
        before, labels = labels, _nearest(X, means, is_there)
        if bool(xp.all(before == labels)):
            break
    return xp.permute_dims(_one_hot(labels, c, means), (0, 2, 1))


def lloyd_starts(tables: Tables, n_components: Array, uniforms: Array) -> Array:
    """Responsibilities "B n c" of k-means++ centres after Lloyd steps; uniforms "B c t"."""
    means = kmeans_plus_plus(tables, n_components, uniforms)
    there = is_component(n_components, uniforms.shape[1], like=means)
    return lloyd(tables, means, there, LLOYD_STEPS)


def is_component(n_components: Array, c: int, like: Array) -> Array:
    """Mask "B c": the first n_components centre tokens of each run."""
    xp = array_namespace(like)
    position = xp.arange(c, device=device(like))
    return position[None, :] < xp.asarray(n_components, device=device(like))[:, None]


def _as_runs(per_table: Array, runs: int) -> Array:
    xp = array_namespace(per_table)
    b, *rest = per_table.shape
    if runs == b:
        return per_table
    wide = xp.broadcast_to(per_table[:, None, ...], (b, runs // b, *rest))
    return xp.reshape(wide, (runs, *rest))


def _invert(mass: Array, u: Array) -> Array:
    """Index "B t" of the first point whose cumulative mass exceeds u times the total."""
    xp = array_namespace(mass)
    reached = xp.cumulative_sum(mass, axis=-1)  # B n
    goal = u * reached[:, -1:]
    below = xp.astype(reached[:, None, :] <= goal[:, :, None], xp.int64)
    index = xp.sum(below, axis=-1)
    # rounding may carry the goal to the very end: step back to the last point that has mass
    last = xp.max(
        xp.where(mass > 0, xp.arange(mass.shape[-1], device=device(mass))[None, :], 0), axis=-1
    )
    return xp.minimum(index, last[:, None])


def _squared(X: Array, norm: Array, points: Array) -> Array:
    """Squared distances "B t n" of X "B n d" to points "B t d"."""
    xp = array_namespace(X)
    inner = xp.matmul(points, xp.permute_dims(X, (0, 2, 1)))
    squares = norm[:, None, :] - 2.0 * inner + xp.sum(points**2, axis=-1)[:, :, None]
    return xp.where(squares > 0, squares, xp.zeros_like(squares))


def _nearest(X: Array, means: Array, is_there: Array) -> Array:
    xp = array_namespace(X)
    inner = xp.matmul(means, xp.permute_dims(X, (0, 2, 1)))
    cost = xp.sum(means**2, axis=-1)[:, :, None] - 2.0 * inner  # B c n
    cost = xp.where(is_there[:, :, None], cost, xp.full_like(cost, float("inf")))
    return xp.argmin(cost, axis=1)


def _one_hot(labels: Array, c: int, like: Any) -> Array:
    xp = array_namespace(labels)
    position = xp.arange(c, device=device(like))
    return xp.astype(labels[:, None, :] == position[None, :, None], like.dtype)
