"""What a table looks like: distances, neighbours and the tree are those of scipy and sklearn."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.spatial.distance import pdist, squareform
from sklearn.neighbors import NearestNeighbors

from proposals.tables import clusters, ugly
from statformer.proposals.view import N_DIRECTIONS, N_NEIGHBOURS, TableView


def view_of(X: np.ndarray, weight: np.ndarray | None = None) -> TableView:
    return TableView(X, np.ones(len(X)) if weight is None else weight)


@pytest.mark.parametrize("d", [1, 3, 20])
def test_rows_are_in_units_of_the_root_mean_variance(d: int) -> None:
    X, _ = clusters(0, d=d)
    weight = np.random.default_rng(0).uniform(0.5, 3.0, len(X))
    view = view_of(X, weight)
    mean = np.average(X, axis=0, weights=weight)
    unit = np.sqrt(np.average((X - mean) ** 2, axis=0, weights=weight).mean())
    np.testing.assert_allclose(view.X, (X - mean) / unit, atol=1e-12)
    assert view.share.sum() == pytest.approx(1.0)
    assert view.size == pytest.approx(weight.sum())


def test_distances_neighbours_and_sparsity() -> None:
    X, _ = clusters(1)
    view = view_of(X)
    expected = squareform(pdist(view.X))
    np.testing.assert_allclose(view.distances, expected, atol=1e-7)
    assert np.isinf(np.diagonal(view.squared)).all()
    near = NearestNeighbors(n_neighbors=N_NEIGHBOURS).fit(view.X)
    lengths, places = near.kneighbors()
    np.testing.assert_array_equal(view.neighbours, places)
    logs = np.log(lengths[:, -1])
    np.testing.assert_allclose(view.sparsity, (logs - logs.mean()) / logs.std(), rtol=1e-6)


@pytest.mark.parametrize(("n", "d"), [(2, 1), (5, 2), (60, 3), (40, 50)])
def test_the_tree_is_a_shortest_one(n: int, d: int) -> None:
    X, _ = clusters(2, n=n, d=d, k=2)
    view = view_of(X)
    ends, logs = view.tree
    assert ends.shape == (n - 1, 2)
    lengths = view.distances[ends[:, 0], ends[:, 1]]
    shortest = minimum_spanning_tree(squareform(pdist(view.X)))
    assert lengths.sum() == pytest.approx(shortest.sum(), rel=1e-6)
    reached = {0}
    for a, b in ends:  # every edge takes one new row in
        assert a in reached
        assert b not in reached
        reached.add(int(b))
    assert len(reached) == n
    raw = np.log(lengths)
    np.testing.assert_allclose(logs, (raw - raw.mean()) / (raw.std() + 1e-6), atol=1e-6)


@pytest.mark.parametrize(("n", "d"), [(90, 16), (90, 30), (20, 60), (10, 60)])
def test_directions_are_the_leading_principal_ones(n: int, d: int) -> None:
    X, _ = clusters(3, n=n, d=d)
    view = view_of(X)
    values = np.sort(np.linalg.svd(view.X, compute_uv=False) ** 2)[::-1]
    if d <= N_DIRECTIONS:
        assert view.Z is view.X
        return
    p = min(N_DIRECTIONS, n - 1)
    assert view.Z.shape == (n, p)
    inner = view.Z.T @ view.Z
    np.testing.assert_allclose(np.diagonal(inner)[::-1], values[:p], rtol=1e-8)
    np.testing.assert_allclose(inner - np.diag(np.diagonal(inner)), 0.0, atol=1e-8 * values[0])


def test_a_weight_turns_the_directions() -> None:
    """Two rows count as often as they weigh."""
    X, _ = clusters(4, n=60, d=20)
    times = np.random.default_rng(0).integers(1, 4, 60)
    one, two = view_of(X, times.astype(float)), view_of(np.repeat(X, times, axis=0))
    first = np.cumsum(times) - times
    np.testing.assert_allclose(np.abs(one.Z), np.abs(two.Z[first]), atol=1e-9)
    assert not np.allclose(np.abs(one.Z), np.abs(view_of(X).Z), atol=1e-3)


def test_products() -> None:
    view = view_of(clusters(5, d=3)[0])
    z = view.Z[7]
    upper = [z[i] * z[j] for i in range(3) for j in range(i, 3)]
    np.testing.assert_allclose(view.products[7], [1.0, *z, *upper])


@pytest.mark.parametrize("name", ugly())
def test_ugly_tables_have_a_view(name: str) -> None:
    X = ugly()[name]
    view = view_of(X)
    ends, logs = view.tree
    for found in (view.X, view.Z, view.distances, view.sparsity, view.products, logs):
        assert np.isfinite(found).all()
    assert view.Z.shape == (len(X), view.p)
    assert 1 <= view.p <= min(N_DIRECTIONS, X.shape[1])
    assert ends.shape == (len(X) - 1, 2)
    assert len(np.unique(ends)) == (len(X) if len(X) > 1 else 0)
    assert view.neighbours.shape == (len(X), min(N_NEIGHBOURS, len(X) - 1))
