from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from statformer.benchmarks.batteries import MISSING, SINGLE, batteries, table_shapes
from statformer.benchmarks.settings import FULL, LEAST_TABLES, LEFT_OUT, QUICK
from statformer.benchmarks.sources import Source

SHAPES = ((30, 2), (50, 3))


@pytest.mark.parametrize("family", ["prior", "only outliers", "with skew", "copula", "curves"])
def test_blocks_repeat_and_take_turns_with_shapes(family: str) -> None:
    source = Source("t", family, SHAPES, (2.0, 4.0), (2, 4))
    first, again = source.block(1, 4), source.block(1, 4)
    assert [t.X.shape for t in first] == [(50, 3)] * 4
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a.X, b.X)
        np.testing.assert_array_equal(a.y, b.y)
        assert a.n_components == b.n_components == len(set(a.y[a.y >= 0].tolist()))
        assert 2 <= a.n_components <= 4
    assert not np.array_equal(first[0].X[:30, :2], source.block(0, 4)[0].X)


def test_an_ingredient_is_in_every_table_where_it_is_forced() -> None:
    for how in ("only", "with"):
        source = Source("t", f"{how} outliers", ((200, 2),), (2.0, 4.0))
        assert all((table.y == -1).any() for table in source.block(0, 10))
    none = Source("t", "only discrete", ((200, 2),), (2.0, 4.0)).block(0, 10)
    assert not any((table.y == -1).any() for table in none)


def test_bayes_is_known_for_gaussian_tables_alone() -> None:
    tables = Source("t", "prior", ((100, 2),), (6.0, 8.0)).block(0, 30)
    known = [t for t in tables if t.bayes is not None]
    assert 0 < len(known) < 30
    right = [np.mean(t.bayes == t.y) for t in known if len(set(t.y.tolist())) == t.y.max() + 1]
    assert all(t.bayes is None for t in Source("t", "only skew", ((50, 2),), (6, 8)).block(0, 9))
    assert len(right) > 0


def test_single_components_are_there_where_they_are_asked_for() -> None:
    assert {t.n_components for t in Source("t", "prior", SHAPES, (2, 4), (1, 1)).block(0, 5)} == {1}
    some = Source("t", "prior", SHAPES, (2, 4), (1, 10)).block(0, 60)
    assert min(t.n_components for t in some) == 1


def test_an_unknown_family_is_refused() -> None:
    with pytest.raises(ValueError, match="family='nearly skew' is unknown"):
        Source("t", "nearly skew", SHAPES, (2, 4)).block(0, 1)
    with pytest.raises(ValueError, match="unknown pieces"):
        Source("t", "with salt", SHAPES, (2, 4)).block(0, 1)


@pytest.mark.parametrize("sizes", [QUICK, FULL])
def test_batteries_cover_what_was_asked(sizes) -> None:
    found = batteries(sizes)
    names = [battery.name for battery in found]
    assert len(set(names)) == len(names)
    assert {battery.family for battery in found} >= {*LEFT_OUT, "copula", "curves", None}
    assert sum(battery.group == MISSING for battery in found) == 6
    assert {"shapes", "mixed columns", "wide prior"} <= set(names)
    assert not any(battery.group == SINGLE for battery in found)
    unknown = batteries(sizes, (1, 10))
    assert sum(battery.group == SINGLE for battery in unknown) == 2
    seeds = [battery.source.seed for battery in (*found, *unknown) if battery.name != "shapes"]
    assert len(set(seeds)) == len(seeds)  # no table serves both with K given and unknown
    assert FULL.tables >= LEAST_TABLES
    assert FULL.lossy_tables >= LEAST_TABLES


def test_consecutive_blocks_differ_in_rows_and_columns() -> None:
    shapes = table_shapes(FULL)
    assert len(shapes) == len(FULL.rows) * len(FULL.columns)
    assert all(
        a != b for first, second in pairwise(shapes) for a, b in zip(first, second, strict=True)
    )


def test_a_left_out_family_comes_alone_and_in_company() -> None:
    long = ((150, 2), (200, 3))
    source = Source("t", "left out outliers", long, (2.0, 4.0))
    assert all((table.y == -1).any() for i in range(6) for table in source.block(i, 4))
    both = [source.block(i, 4) for i in range(4)]
    alone = Source("t", "only outliers", long, (2.0, 4.0))
    same = [
        all(np.array_equal(a.X, b.X) for a, b in zip(tables, alone.block(i, 4), strict=True))
        for i, tables in enumerate(both)
    ]
    assert 0 < sum(same) < 4
