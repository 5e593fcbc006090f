"""The blocked search is brute force in float64: near ties, far origins, copies, overflow."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from statformer.estimators import nearest_rows as search
from statformer.estimators.nearest_rows import nearest_rows
from statformer.reference.nearest_neighbor import tied_neighbors

SIZES = [(1, 1, 3), (5, 2, 7), (17, 3, 200), (5000, 4, 150), (4097, 1, 130), (9000, 30, 140)]


def check(X: np.ndarray, queries: np.ndarray) -> None:
    found = nearest_rows(X, queries)
    assert len(found.start) == len(queries) + 1
    for i, query in enumerate(queries):
        expected = np.flatnonzero(tied_neighbors(X.astype(np.float64), query.astype(np.float64)))
        np.testing.assert_array_equal(found.row[found.start[i] : found.start[i + 1]], expected)


def drawn(n: int, d: int, q: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng([n, d])
    return rng.normal(size=(n, d)), rng.normal(size=(q, d))


@pytest.mark.parametrize(("n", "d", "q"), SIZES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_is_brute_force(n: int, d: int, q: int, dtype: type) -> None:
    X, queries = drawn(n, d, q)
    check(X.astype(dtype), queries.astype(dtype))


@pytest.mark.parametrize(("n", "d", "q"), SIZES)
def test_ties_are_all_found(n: int, d: int, q: int) -> None:
    X, queries = drawn(n, d, q)
    check(np.round(2.0 * X), np.round(2.0 * queries))


@pytest.mark.parametrize(
    ("far", "scale"), [(1e7, 1.0), (0.0, 1e30), (0.0, 1e-30), (1e5, 1e-4), (0.0, 1e180)]
)
def test_far_origins_and_extreme_scales(far: float, scale: float) -> None:
    X, queries = drawn(700, 3, 40)
    with np.errstate(over="ignore"):
        check(far + scale * X, far + scale * queries)


def test_differences_below_float32_are_told_apart() -> None:
    rng = np.random.default_rng(0)
    centre = rng.normal(size=5)
    X = centre + 1e-9 * rng.normal(size=(300, 5))
    check(np.vstack([X, rng.normal(size=(3000, 5))]), centre + 1e-9 * rng.normal(size=(20, 5)))


def test_one_row_far_away_does_not_hide_the_others() -> None:
    X, queries = drawn(6000, 4, 50)
    X[3] = 1e30
    check(X, queries)


def test_a_slack_that_is_too_small_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Float32 scores alone, without the room for their rounding, pick wrong rows."""
    rng = np.random.default_rng(0)
    X, queries = 1.0 + 1e-3 * rng.random((4000, 2)), 1.0 + 1e-3 * rng.random((200, 2))
    X[0] = -50.0
    check(X, queries)
    exact = nearest_rows(X, queries)

    class NoRounding:
        """What numpy says of float32, if it did not round."""

        eps, tiny, max = 0.0, 0.0, 3e38

    monkeypatch.setattr(np, "finfo", lambda _: NoRounding)
    guessed = nearest_rows(X, queries)
    assert (guessed.row[guessed.start[:-1]] != exact.row[exact.start[:-1]]).sum() > 5


def test_few_and_hopeless_queries_go_to_brute_force(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(
        search,
        "_by_brute_force",
        lambda X, queries, original=search._by_brute_force: (
            asked.append(len(queries)) or original(X, queries)
        ),
    )
    X, queries = drawn(3000, 2, 20)
    check(X, queries)
    assert asked == []
    check(X, queries[:1])
    check(np.zeros((3000, 2)), queries)
    assert asked == [1, 20]


def test_memory_is_some_blocks() -> None:
    X, queries = (part.astype(np.float32) for part in drawn(200_000, 8, 500))
    nearest_rows(X[:100], queries)
    tracemalloc.start()
    nearest_rows(X, queries)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10e6  # the matrix of distances would take 400e6
