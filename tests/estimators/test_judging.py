"""`judge`: which labels it takes, what it hands to the network, how it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from statformer import judge
from statformer.estimators.judging import as_codes

LABELS = ["a", "b", "a", None, "c", "b"]
CODES = [0, 1, 0, -1, 2, 1]


@pytest.mark.parametrize(
    ("labels", "codes"),
    [
        (LABELS, CODES),
        (tuple(LABELS), CODES),
        (pd.Series(LABELS, index=range(10, 16)), CODES),
        (pd.Series(LABELS, dtype="category"), CODES),
        (pd.Series([5, 7, 5, None, 9, 7], dtype="Int64"), CODES),
        (np.array([5.0, 7.0, 5.0, np.nan, -3.0, 7.0]), CODES),
        (np.array([5, 7, 5, -1, 9, 7]), CODES),
        (pd.Index([5, 7, 5, -1, 9, 7]), CODES),
        ([(1, 2), (1, 3), (1, 2), None, (4,), (1, 3)], CODES),
        ([True, False, True, -1, "-1", False], CODES),
        ([1, "1", 1.0, float("nan"), b"1", "1"], CODES),
    ],
)
def test_any_hashable_labels(labels: Any, codes: list[int]) -> None:
    several, found = as_codes(labels, 6)
    assert not several
    np.testing.assert_array_equal(found, [codes])


@pytest.mark.parametrize(
    "labels",
    [
        [LABELS, [0] * 6],
        [np.array(LABELS, dtype=object), pd.Series([2] * 6)],
        np.array([[5, 7, 5, -1, 9, 7], [1] * 6]),
        pd.DataFrame({"mine": LABELS, "yours": 0}),
    ],
    ids=["lists", "arrays", "matrix", "frame"],
)
def test_several_labelings(labels: Any) -> None:
    several, found = as_codes(labels, 6)
    assert several
    np.testing.assert_array_equal(found, [CODES, [0] * 6])


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        ([0, 1], ValueError, "labels holds 2 labels, the table has 6 rows"),
        ([], ValueError, "labels holds 0 labels"),
        ([LABELS, [0, 1]], ValueError, r"labels\[1\] holds 2 labels"),
        (np.zeros((6, 2)), ValueError, r"labels\[0\] holds 2 labels.*one labeling each"),
        (pd.DataFrame({"a": [1, 2]}), ValueError, "column 'a' holds 2 labels"),
        ([None, -1, np.nan, -1.0, None, -1], ValueError, "calls every row noise"),
        ([0, 1, [2], 0, 1, 1], TypeError, "labels should hold hashable labels"),
        ("abcdef", TypeError, "labels='abcdef' should be a sequence"),
        (3, TypeError, "labels=3 should be a sequence"),
    ],
)
def test_bad_labels_are_named(labels: Any, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        as_codes(labels, 6)


def test_weights_without_a_judge(checkpoint: Path, overlapping: np.ndarray) -> None:
    for weights in (checkpoint, "constructed"):
        with pytest.raises(ValueError, match=r"weights=.* hold no judge"):
            judge(overlapping, np.zeros(90), weights=weights)
