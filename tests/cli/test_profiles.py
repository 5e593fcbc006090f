"""What sets clusters apart: the right columns, in the caller's units, largest effect first."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from statformer.cli.profiles import MOST_COLUMNS, profile
from statformer.cli.report import amount, bar, describe


def test_the_column_that_differs_is_named_with_its_means() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], [60, 40])
    frame = pd.DataFrame({"noise": rng.normal(size=100), "mass": 50.0 + 200.0 * labels})
    frame.loc[0, "mass"] = np.nan
    first, second = profile(frame, labels, 2)
    assert [d.column for d in first] == ["mass"]
    assert (first[0].here, first[0].elsewhere) == (50.0, 250.0)
    assert first[0].effect < 0 < second[0].effect
    assert describe(first[0]) == "mass 50 (others 250)"


def test_a_category_gives_its_most_telling_value_and_shares() -> None:
    labels = np.repeat([0, 1, 2], 20)
    island = np.repeat(["a", "b", "c"], 20)
    found = profile(pd.DataFrame({"island": island}), labels, 3)
    assert [d[0].value for d in found] == ["a", "b", "c"]
    assert describe(found[0][0]) == "island a 100% (others 0%)"


def test_at_most_a_few_columns_and_the_largest_first() -> None:
    labels = np.repeat([0, 1], 50)
    rng = np.random.default_rng(0)
    columns = {f"x{j}": j * labels + rng.normal(size=100) for j in range(8)}
    first = profile(pd.DataFrame(columns), labels, 2)[0]
    assert len(first) == MOST_COLUMNS
    assert first[0].column == "x7"
    assert sorted((abs(d.effect) for d in first), reverse=True) == [abs(d.effect) for d in first]


def test_one_cluster_differs_from_nothing() -> None:
    assert profile(pd.DataFrame({"a": [1.0, 2.0]}), np.zeros(2, dtype=int), 1) == [[]]


def test_values_near_the_end_of_the_range_do_not_overflow() -> None:
    labels = np.repeat([0, 1], 10)
    found = profile(pd.DataFrame({"a": np.where(labels, 1e300, -1e300)}), labels, 2)
    assert abs(found[0][0].effect) == pytest.approx(2.0)


def test_amounts_and_bars() -> None:
    assert [amount(v) for v in (0, 4207.4, 38.83, 217.04, 0.02134, 1e9, -5.0, 200.0)] == [
        "0", "4,207", "38.8", "217.0", "0.0213", "1e+09", "-5", "200",
    ]  # fmt: skip
    assert bar(0.5, width=4) == "██"
    assert bar(0.0) == ""
    assert bar(1 / 32, width=4) == "▏"
