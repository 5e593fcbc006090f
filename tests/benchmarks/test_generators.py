from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from statformer.benchmarks.linkage import genie
from statformer.benchmarks.missing_cells import MECHANISMS, with_missing_cells
from statformer.benchmarks.mixed_columns import mixed_table
from statformer.benchmarks.rivals import k_means, z_scores
from statformer.benchmarks.shapes import SHAPES, shape_table
from statformer.benchmarks.single_clusters import KINDS, single_cluster
from statformer.benchmarks.sources import Source, Table


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_are_tables_of_every_cluster(name: str) -> None:
    widths = set()
    for seed in range(12):
        X, y = shape_table(np.random.default_rng(seed), 150, name)
        assert X.shape[0] == len(y) == 150
        assert np.isfinite(X).all()
        assert (np.bincount(y) >= 8).all()
        widths.add(X.shape[1])
    assert 2 in widths
    assert max(widths) > 2
    again, _ = shape_table(np.random.default_rng(0), 150, name)
    np.testing.assert_array_equal(again, shape_table(np.random.default_rng(0), 150, name)[0])


def test_shapes_are_for_neighbours_and_not_for_centres() -> None:
    def mean_ari(rival, name: str) -> float:
        found = []
        for seed in range(8):
            X, y = shape_table(np.random.default_rng(seed), 300, name)
            found.append(adjusted_rand_score(y, rival(z_scores(X), int(y.max()) + 1, 0)))
        return float(np.mean(found))

    for name in ("two moons", "two circles", "chained blobs"):
        assert mean_ari(genie, name) > 0.8
        assert mean_ari(k_means, name) < 0.6


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("rate", [0.2, 0.4])
def test_cells_go_missing_at_the_rate(mechanism: str, rate: float) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 6))
    lost = np.isnan(with_missing_cells(X, mechanism, rate, rng))
    assert lost.mean() == pytest.approx(rate, abs=0.02)
    assert not lost.all(axis=1).any()
    kept = ~lost
    assert (kept.sum(axis=0) >= 2).all()


def test_mechanisms_differ_in_what_decides() -> None:
    """MAR: complete columns decide. MNAR: the value itself does. MCAR: nothing does."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(4000, 4))
    gap = {}
    for mechanism in MECHANISMS:
        lost = np.isnan(with_missing_cells(X, mechanism, 0.3, rng))
        some = lost.any(axis=0)
        shift = [X[lost[:, j], j].mean() - X[~lost[:, j], j].mean() for j in np.flatnonzero(some)]
        gap[mechanism] = float(np.abs(shift).mean())
        assert some.all() == (mechanism != "MAR")
        if mechanism == "MAR":
            (driver,) = np.flatnonzero(~some)
            j = int(np.flatnonzero(some)[0])
            assert abs(X[lost[:, j], driver].mean() - X[~lost[:, j], driver].mean()) > 0.5
    assert gap["MNAR"] > 0.8
    assert gap["MCAR"] < 0.15
    assert gap["MAR"] < 0.15


def test_impossible_missing_cells_are_refused() -> None:
    X, rng = np.zeros((9, 3)), np.random.default_rng(0)
    with pytest.raises(ValueError, match="mechanism='MAYBE' is unknown"):
        with_missing_cells(X, "MAYBE", 0.2, rng)
    with pytest.raises(ValueError, match="use a lower rate or more columns"):
        with_missing_cells(X, "MAR", 0.8, rng)


def test_mixed_tables_tell_classes_apart_in_both_kinds_of_columns() -> None:
    rng = np.random.default_rng(0)
    numbers, codes, y = mixed_table(rng, 3000, 12, 3)
    assert numbers.shape[1] + codes.shape[1] == 12
    assert min(numbers.shape[1], codes.shape[1]) >= 3
    assert codes.min() == 0
    assert codes.max() <= 5
    apart = [
        max(abs((codes[y == a, j] == 0).mean() - (codes[y == b, j] == 0).mean()) for a, b in pairs)
        for j in range(codes.shape[1])
        for pairs in [((0, 1), (0, 2), (1, 2))]
    ]
    assert max(apart) > 0.2
    with pytest.raises(ValueError, match="use at least 2"):
        mixed_table(rng, 50, 1, 2)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("d", [1, 4])
def test_single_clusters_are_finite_clouds(kind: str, d: int) -> None:
    X = single_cluster(np.random.default_rng(0), 80, d, kind)
    assert X.shape == (80, d)
    assert np.isfinite(X).all()
    assert (X.std(axis=0) > 0).all()


def test_a_table_is_given_as_text_and_filled_for_others() -> None:
    X = np.array([[1.0, np.nan], [3.0, 4.0], [np.nan, 8.0]])
    table = Table(X, np.array([0, 1, 1]), 2, codes=np.array([[2], [-1], [2]]))
    frame = table.given()
    assert list(frame.columns) == ["x0", "x1", "c0"]
    assert frame["c0"][0] == "level 2"
    assert frame["c0"].isna().tolist() == [False, True, False]
    np.testing.assert_array_equal(
        table.plain(), [[1.0, 6.0, 1.0], [3.0, 4.0, 1.0], [2.0, 8.0, 1.0]]
    )


@pytest.mark.parametrize(
    "family", ["wide", "left out shapes", "left out categorical", "MNAR 0.4", "mixed columns"]
)
def test_blocks_repeat(family: str) -> None:
    source = Source("t", family, ((40, 3), (50, 4)), (2.0, 4.0), (2, 4))
    for index in (1, 2):
        first, again = source.block(index, 3), source.block(index, 3)
        for a, b in zip(first, again, strict=True):
            np.testing.assert_array_equal(a.plain(), b.plain())
            np.testing.assert_array_equal(a.y, b.y)
            assert np.isfinite(a.plain()).all()
            assert 2 <= a.n_components <= 4


def test_one_cluster_is_one_cluster() -> None:
    for family in ("one cluster", "wide"):
        source = Source("t", family, ((40, 3),), (2.0, 4.0), (1, 1))
        assert [table.n_components for table in source.block(0, 9)] == [1] * 9
