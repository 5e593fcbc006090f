"""Many starts of many tables through one network, in batches of bounded size.

Runs are ordered table by table: run s of table t is at t S + s. Starts are hard labels from greedy
k-means++ and Lloyd steps; what comes back is the last layer of each run and its density.

Axes: b tables, s runs of a table, n points, p features, c components, t trials.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Int

from statformer.batch import Centres, Readout, Tables
from statformer.estimators.devices import Backend
from statformer.nn.em_network import EMNetwork, log_density
from statformer.nn.seeding import is_component, kmeans_plus_plus, lloyd, n_trials

# One layer holds about this many numbers per batch (runs x components x features x points): large
# enough to keep Python out of the time, small enough to stay in a processor's cache.
ELEMENTS = 2**19

Labels = Int[np.ndarray, "b s n"]
NetworkOf = Callable[[int, slice], EMNetwork]  # (number of tables, which runs) -> network


@dataclass(frozen=True)
class Candidates:
    """The last layer of every run.

    centres, readout  leading axis (b s)
    log_likelihood    "b s"  weighted sum of the normalised log density over the table's rows
    """

    centres: Centres
    readout: Readout
    log_likelihood: Float[np.ndarray, "b s"]


def pad_tables(
    X: Sequence[Float[np.ndarray, "n p"]], weight: Sequence[Float[np.ndarray, " n"]]
) -> Tables:
    """Tables of several sizes side by side; padding is zero and has weight 0."""
    n, p = max(len(x) for x in X), max(x.shape[1] for x in X)
    values, weights = np.zeros((len(X), n, p)), np.zeros((len(X), n))
    for i, (x, w) in enumerate(zip(X, weight, strict=True)):
        values[i, : len(x), : x.shape[1]], weights[i, : len(w)] = x, w
    widths = np.array([x.shape[1] for x in X])
    is_feature = None if (widths == p).all() else np.arange(p) < widths[:, None]
    return Tables(values, weights, is_feature)


def draw_uniforms(
    rng: np.random.Generator, n_starts: int, n_components: int
) -> Float[np.ndarray, "s c t"]:
    """What greedy k-means++ needs for the starts of one table."""
    return rng.random((n_starts, n_components, n_trials(n_components)))


def pad_uniforms(draws: Sequence[Float[np.ndarray, "s c t"]]) -> Float[np.ndarray, "b s c t"]:
    """Draws of several tables side by side. A padded trial repeats the first, and so changes
    nothing; a padded component is not read."""
    shape = [max(draw.shape[axis] for draw in draws) for axis in range(3)]
    padded = np.zeros((len(draws), *shape))
    for i, draw in enumerate(draws):
        s, c, t = draw.shape
        padded[i, :s, :c, :t] = draw
        padded[i, :s, :c, t:] = draw[:, :, :1]
    return padded


def seed(
    tables: Tables, uniforms: Float[np.ndarray, "b s c t"], on: Backend
) -> Float[np.ndarray, "b s c p"]:
    """k-means++ centres; the first k of them are the start for k components."""
    b, s, c, t = uniforms.shape
    n, p = tables.X.shape[1:]
    means = np.zeros((b, s, c, p))
    for rows, runs in batches(b, s, t * n * max(p, 4)):
        u = uniforms[rows, runs].reshape(-1, c, t)
        part = on.put_record(rows_of(tables, rows))
        found = kmeans_plus_plus(part, on.put(np.full(len(u), c)), on.put(u))
        means[rows, runs] = on.get(found).reshape(-1, runs.stop - runs.start, c, p)
    return means


def assign(
    tables: Tables,
    means: Float[np.ndarray, "b s c p"],
    n_components: Int[np.ndarray, "b s"],
    n_steps: int,
    on: Backend,
) -> Labels:
    """Labels after `n_steps` of Lloyd from the first `n_components` means of each run."""
    b, s, c, p = means.shape
    n = tables.X.shape[1]
    labels = np.zeros((b, s, n), dtype=np.int16)
    for rows, runs in batches(b, s, n * (c + p)):
        start = on.put(means[rows, runs].reshape(-1, c, p))
        keep = is_component(on.put(n_components[rows, runs].reshape(-1)), c, start)
        r = lloyd(on.put_record(rows_of(tables, rows)), start, keep, n_steps)
        found = on.get(r).argmax(axis=-1)
        labels[rows, runs] = found.reshape(-1, runs.stop - runs.start, n)
    return labels


def run(
    network_of: NetworkOf,
    tables: Tables,
    labels: Labels,
    n_components: int,
    on: Backend,
    *,
    tol: float | None = None,
) -> Candidates:
    """All runs through the network; `n_components` is the widest of them."""
    b, s, n = labels.shape
    p = tables.X.shape[2]
    parts = []
    order = []
    # the pairs of columns are laid out once per batch: a batch should not be smaller than they are
    for rows, runs in batches(b, s, n_components * p * n, max(ELEMENTS, n * p * p // 4)):
        part = rows_of(tables, rows)
        n_tables = len(part.X)
        network = network_of(n_tables, runs)
        network.weights = on.put_all(network.weights)
        moved = on.put_record(part)
        start = on.put(one_hot(labels[rows, runs].reshape(-1, n), n_components))
        with on.inference():
            trace = network(moved, start, tol=tol, record="last")
            density = on.get(log_density(moved, trace.centres[-1]))
        shape = (n_tables, runs.stop - runs.start)
        total = (density.reshape(*shape, n) * part.weight[:, None, :]).sum(axis=-1)
        order.append((rows, runs))
        parts.append(
            (
                on.get_record(trace.centres[-1]),
                on.get_record(trace.readouts[-1]),
                total,
            )
        )
    return _join(parts, order, b, s)


def one_hot(labels: Int[np.ndarray, "B n"], c: int) -> Float[np.ndarray, "B n c"]:
    """Responsibilities 0 and 1; stored component by component, as the network reads them."""
    hot = labels[:, None, :] == np.arange(c)[None, :, None]
    return hot.astype(np.float64).transpose(0, 2, 1)


def batches(b: int, s: int, elements: int, limit: int = ELEMENTS) -> Iterator[tuple[slice, slice]]:
    """Slices of tables and of runs whose product stays near `limit` numbers."""
    per_batch = max(1, limit // max(elements, 1))
    if per_batch >= s:
        step = max(1, per_batch // s)
        for first in range(0, b, step):
            yield slice(first, min(first + step, b)), slice(0, s)
    else:
        n_parts = math.ceil(s / per_batch)
        edges = [s * i // n_parts for i in range(n_parts + 1)]
        for row in range(b):
            for first, last in pairwise(edges):
                yield slice(row, row + 1), slice(first, last)


def rows_of(tables: Tables, rows: slice | Int[np.ndarray, " k"]) -> Tables:
    """Some of the tables."""
    mask = None if tables.is_feature is None else tables.is_feature[rows]
    return Tables(tables.X[rows], tables.weight[rows], mask)


def _join(
    parts: list[tuple[Centres, Readout, np.ndarray]],
    order: list[tuple[slice, slice]],
    b: int,
    s: int,
) -> Candidates:
    """Batches back in the order of runs."""

    def gather(arrays: list[np.ndarray]) -> np.ndarray:
        first = arrays[0]
        joined = np.empty((b, s, *first.shape[1:]), dtype=first.dtype)
        for (rows, runs), array in zip(order, arrays, strict=True):
            shape = (rows.stop - rows.start, runs.stop - runs.start, *first.shape[1:])
            joined[rows, runs] = array.reshape(shape)
        return joined.reshape(b * s, *first.shape[1:])

    def over(index: int, names: tuple[str, ...]) -> list[np.ndarray]:
        return [gather([getattr(part[index], name) for part in parts]) for name in names]

    likelihood = np.empty((b, s))
    for (rows, runs), part in zip(order, parts, strict=True):
        likelihood[rows, runs] = part[2]
    return Candidates(
        Centres(*over(0, ("weights", "means", "covariances", "is_component"))),
        Readout(*over(1, ("temperature", "strength", "rho", "nu"))),
        likelihood,
    )
