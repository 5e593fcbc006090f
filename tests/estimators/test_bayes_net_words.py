"""Columns of text are numbered as pandas numbers them, however that is done."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from statformer.estimators import bayes_net_words
from statformer.estimators.bayes_net_columns import CategoryColumn
from statformer.estimators.bayes_net_words import same_objects, short_words

pytest.importorskip("pyarrow")
TEXT = pd.StringDtype("pyarrow", na_value=np.nan)
RNG = np.random.default_rng(0)


def drawn(words: list[str], n: int = 400) -> pd.Series:
    return pd.Series(RNG.permutation(np.resize(np.array(words, dtype=object), n)), dtype=TEXT)


@pytest.mark.parametrize(
    "words",
    [
        ["low", "medium", "high"],
        ["", "a", "ab", "abcdefgh", "bcdefgh"],
        ["ä", "日本", "a", "Z", "é" * 4],
        [f"w{k}" for k in range(300)],
    ],
    ids=str,
)
@pytest.mark.parametrize("cut", [slice(None), slice(7, 390), slice(1, None, 2)])
def test_short_words_are_those_of_pandas(words: list[str], cut: slice) -> None:
    column = drawn(words)[cut]
    found = short_words(column)
    assert found is not None
    codes, distinct = found
    assert distinct == sorted(set(column))
    assert [distinct[code] for code in codes] == column.tolist()


@pytest.mark.parametrize(
    "column",
    [
        pd.Series(["a", "ninebytes"], dtype=TEXT),
        pd.Series(["a", "a\0"], dtype=TEXT),
        pd.Series(["a", None], dtype=TEXT),
        pd.Series([], dtype=TEXT),
        pd.Series(["", ""], dtype=TEXT),
        pd.Series(["a", "b"], dtype=object),
        pd.Series([1, 2]),
    ],
    ids=repr,
)
def test_other_columns_are_numbered_all_the_same(column: pd.Series) -> None:
    found = short_words(column)
    if column.tolist() == ["", ""]:
        assert found is None or found[1] == [""]
    else:
        assert found is None
    if len(column):
        made, codes = CategoryColumn.of(column)
        back = made.decode(np.maximum(codes, 0)).tolist()
        assert [b for b, c in zip(back, codes, strict=True) if c >= 0] == column.dropna().tolist()
        assert (codes < 0).tolist() == column.isna().tolist()


def test_pieces_of_a_column_are_one() -> None:
    first, second = drawn(["x", "yy"]), drawn(["zzz", "x"])
    column = pd.concat([first, second], ignore_index=True)
    codes, words = short_words(column) or (None, [])
    assert words == ["x", "yy", "zzz"]
    assert [words[code] for code in codes] == column.tolist()


def test_objects_that_recur_are_equal_where_their_values_are() -> None:
    parts = ["ab", bytes([97, 98]).decode(), None, np.nan, "c", 1]  # two objects, one value
    cells = np.array([parts[k] for k in RNG.integers(len(parts), size=300)], dtype=object)
    codes, values = same_objects(cells) or (None, None)
    expected_codes, expected = pd.factorize(cells)
    np.testing.assert_array_equal(codes, expected_codes)
    assert list(values) == list(expected)
    turned = cells[::-2]
    np.testing.assert_array_equal(same_objects(turned)[0], pd.factorize(turned)[0])


def test_objects_that_do_not_recur_are_left_to_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    assert same_objects(np.array([str(k) for k in range(200)], dtype=object)) is None
    late = np.array(["a"] * 100 + [str(k) for k in range(100)], dtype=object)
    monkeypatch.setattr(bayes_net_words, "SAMPLE", 50)
    assert same_objects(late) is None
    with pytest.raises(TypeError, match="unhashable"):
        same_objects(np.array([[1], [2], None], dtype=object))
