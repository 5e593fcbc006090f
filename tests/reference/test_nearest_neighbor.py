"""One nearest neighbour by brute force, beside scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from statformer.reference.nearest_neighbor import nearest_index, nearest_labels, tied_neighbors


@pytest.mark.parametrize(("n", "d"), [(1, 1), (5, 2), (60, 7)])
def test_equals_scikit_learn(n: int, d: int) -> None:
    rng = np.random.default_rng([n, d])
    X, queries = rng.normal(size=(n, d)), rng.normal(size=(20, d))
    found = NearestNeighbors(n_neighbors=1).fit(X).kneighbors(queries, return_distance=False)
    np.testing.assert_array_equal(nearest_index(X, queries), found[:, 0])
    labels = rng.normal(size=(n, 2))
    np.testing.assert_array_equal(nearest_labels(X, labels, queries), labels[found[:, 0]])


def test_on_the_sphere_it_is_the_largest_inner_product() -> None:
    rng = np.random.default_rng(0)
    X, queries = rng.normal(size=(40, 4)), rng.normal(size=(30, 4))
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    np.testing.assert_array_equal(nearest_index(X, queries), (queries @ X.T).argmax(axis=1))


def test_of_ties_the_index_is_the_first_and_the_label_is_the_mean() -> None:
    X = np.array([[3.0], [1.0], [-1.0], [1.0]])
    query = np.array([[0.0]])
    assert nearest_index(X, query).tolist() == [1]
    assert tied_neighbors(X, query[0]).tolist() == [False, True, True, True]
    labels = np.array([[9.0], [1.0], [2.0], [6.0]])
    assert nearest_labels(X, labels, query).tolist() == [[3.0]]


def test_no_point_no_neighbour() -> None:
    with pytest.raises(ValueError, match="at least one context point"):
        nearest_index(np.zeros((0, 2)), np.zeros((1, 2)))
