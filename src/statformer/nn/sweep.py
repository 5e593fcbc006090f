"""The mixture network at every number of components, in a few padded batches.

The same code makes the training data of `ComponentCount` and answers for users, so that both see
the same features.

Axes: b tables, k numbers of components (token j is K = j + 1), s starts, B = b k s runs of a
bucket, n points, d features, c components, t trials.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from array_api_compat import array_namespace, device

from statformer.batch import Array, Tables, Trace
from statformer.nn.component_count import run_features, tokens
from statformer.nn.em_network import EMNetwork
from statformer.nn.seeding import is_component, kmeans_plus_plus, lloyd, n_trials

# K of one bucket share a batch padded to its largest K: padding costs at most a third.
BUCKETS = ((1, 2), (3, 5), (6, 10), (11, 20), (21, 40), (41, 80))
LLOYD_STEPS = 10

Draw = Callable[[int, int, int], Array]
"""draw(runs, c, t) -> uniforms "b runs c t" in [0, 1), one block per table."""


@dataclass(frozen=True)
class Sweep:
    """The best of the starts at each K: mean log density "b k", tokens "b k f", mask "b k"."""

    density: Array
    tokens: Array
    is_possible: Array


def lloyd_starts(tables: Tables, n_components: Array, uniforms: Array) -> Array:
    """Responsibilities "B n c" of k-means++ centres after Lloyd steps; uniforms "B c t"."""
    means = kmeans_plus_plus(tables, n_components, uniforms)
    there = is_component(n_components, uniforms.shape[1], like=means)
    return lloyd(tables, means, there, LLOYD_STEPS)


def sweep(
    network: EMNetwork, tables: Tables, max_components: int, draw: Draw, n_starts: int = 2
) -> Sweep:
    """Run K = 1..max_components with `n_starts` Lloyd starts each and keep the densest per K.

    K is possible up to the number of rows that have weight.
    """
    xp = array_namespace(tables.X)
    b, _, d = tables.X.shape
    densities, features = [], []
    for low, top in BUCKETS:
        if low > max_components:
            break
        high = min(top, max_components)
        density, feature = _bucket(network, tables, low, high, draw, n_starts)
        densities.append(density)
        features.append(feature)
    density, feature = xp.concat(densities, axis=1), xp.concat(features, axis=1)
    n_points = xp.sum(tables.weight, axis=-1)
    if tables.is_feature is None:
        width = xp.full((b,), float(d), dtype=density.dtype, device=device(density))
    else:
        width = xp.sum(xp.astype(tables.is_feature, density.dtype), axis=-1)
    rows = xp.sum(xp.astype(tables.weight > 0, xp.int64), axis=-1)
    K = xp.arange(1, max_components + 1, device=device(density))
    possible = K[None, :] <= rows[:, None]
    return Sweep(density, tokens(density, feature, n_points, width), possible)


def _bucket(
    network: EMNetwork, tables: Tables, low: int, high: int, draw: Draw, n_starts: int
) -> tuple[Array, Array]:
    xp = array_namespace(tables.X)
    where = device(tables.X)
    b = tables.X.shape[0]
    n_k = high - low + 1
    per_table = xp.repeat(xp.arange(low, high + 1, device=where), n_starts)  # k s
    K = xp.tile(per_table, (b,))
    c, t = high, n_trials(high)
    uniforms = xp.reshape(draw(n_k * n_starts, c, t), (b * n_k * n_starts, c, t))
    start = lloyd_starts(tables, K, xp.astype(uniforms, tables.X.dtype))
    trace: Trace = network(tables, start, record="last")
    density, feature = run_features(tables, trace)
    density = xp.reshape(density, (b, n_k, n_starts))
    feature = xp.reshape(feature, (b, n_k, n_starts, feature.shape[-1]))
    best = xp.argmax(density, axis=2)[:, :, None]
    width = feature.shape[-1]
    at = xp.broadcast_to(best[..., None], (b, n_k, 1, width))
    return (
        xp.take_along_axis(density, best, axis=2)[:, :, 0],
        xp.take_along_axis(feature, at, axis=2)[:, :, 0, :],
    )
