"""Tables of all kinds to a matrix: categories, gaps, names, refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from statformer import AttentionMixture
from statformer.estimators.columns import MAX_CATEGORIES
from statformer.estimators.table import TableEncoder, learn_table, table_names


def encode(X: object, categorical: object = "auto", weight: object = None) -> tuple:
    w = np.ones(len(X)) if weight is None else np.asarray(weight, dtype=float)
    encoder = learn_table(X, w, categorical, table_names(X))
    return encoder, *encoder.encode(X)


def test_numbers_stay_what_they_are() -> None:
    X = np.arange(6.0).reshape(3, 2)
    encoder, matrix, filled = encode(X)
    assert matrix is X, "a plain float64 array is not copied"
    assert filled.n_cells == 0
    assert encoder.feature_names == ["x0", "x1"]


def test_categories_become_columns() -> None:
    frame = pd.DataFrame(
        {
            "size": [1.5, 2.5, 3.5, 4.5],
            "kind": ["b", "a", "b", "c"],
            "sex": pd.Categorical(["m", "f", "m", "m"]),
            "flag": [True, False, True, True],
            "count": pd.array([1, 2, 3, 4], dtype="Int64"),
        }
    )
    encoder, matrix, _ = encode(frame)
    assert encoder.feature_names == [
        "size", "kind=b", "kind=a", "kind=c", "sex=f", "flag", "count",
    ]  # fmt: skip
    np.testing.assert_array_equal(
        matrix,
        [
            [1.5, 1, 0, 0, 0, 1, 1],
            [2.5, 0, 1, 0, 1, 0, 2],
            [3.5, 1, 0, 0, 0, 1, 3],
            [4.5, 0, 0, 1, 0, 1, 4],
        ],
    )


def test_unseen_and_rare_categories_have_zeros() -> None:
    words = [f"w{j:02d}" for j in range(40)]
    frame = pd.DataFrame({"word": words + words[:5], "kind": list("abc") * 15})
    encoder, matrix, _ = encode(frame)
    assert matrix.shape == (45, MAX_CATEGORIES + 3)
    assert matrix[:, :MAX_CATEGORIES].sum() == MAX_CATEGORIES + 5
    later, filled = encoder.encode(pd.DataFrame({"word": ["new"], "kind": ["z"]}))
    assert later.sum() == 0
    assert filled.n_cells == 0


@pytest.mark.parametrize("chosen", [[1], ["x1"], [-1], [False, True], np.array([False, True])])
def test_named_categories(chosen: object) -> None:
    encoder, _, _ = encode(np.array([[1.0, 3.0], [2.0, 4.0], [3.0, 5.0]]), chosen)
    assert encoder.feature_names == ["x0", "x1=3", "x1=4", "x1=5"]
    again, _ = encoder.encode(np.array([[1, 4]]))  # as integers
    np.testing.assert_array_equal(again, [[1, 0, 1, 0]])


def test_text_that_is_numbers() -> None:
    mixed = np.array([["1", "a"], ["2", "b"], ["2.5", "b"]])
    encoder, matrix, _ = encode(mixed)
    assert encoder.feature_names == ["x0", "x1=a"]
    np.testing.assert_array_equal(matrix[:, 0], [1, 2, 2.5])
    frame = pd.DataFrame({"zip": ["01", "02", "03"]})  # text on purpose
    assert encode(frame)[0].feature_names == ["zip=01", "zip=02", "zip=03"]


def test_gaps_are_filled_and_counted() -> None:
    frame = pd.DataFrame(
        {
            "a": [1.0, np.nan, 3.0, 9.0],
            "b": ["x", None, "y", "x"],
            "c": pd.array([1, None, 1, 1], dtype="Int64"),
        }
    )
    _, matrix, filled = encode(frame)
    np.testing.assert_array_equal(matrix[1], [3.0, 0.0, 1.0])
    assert (filled.n_cells, filled.columns) == (3, ("a", "b", "c"))
    weighted, matrix, _ = encode(frame, weight=[5, 1, 1, 0])
    np.testing.assert_array_equal(matrix[1], [1.0, 0.0, 1.0])
    assert weighted.columns[0].fill == 1.0
    numbers = np.array([[1.0, 5.0], [np.nan, 6.0], [2.0, np.nan], [9.0, 7.0]])
    _, matrix, filled = encode(numbers)
    np.testing.assert_array_equal(matrix, [[1, 5], [2, 6], [2, 6], [9, 7]])
    assert filled.n_cells == 2


def test_cells_stay_unknown() -> None:
    """What the layers read: NaN for missing numbers, and for categories without a column."""
    words = [f"w{j:02d}" for j in range(40)]
    frame = pd.DataFrame({"a": [1.0, None] * 20, "word": words, "kind": ["x", None, "y", "x"] * 10})
    encoder, _, _ = encode(frame)
    matrix = encoder.encode_cells(frame)
    np.testing.assert_array_equal(np.isnan(matrix[:, 0]), [False, True] * 20)
    assert np.isnan(matrix[MAX_CATEGORIES:, 1 : MAX_CATEGORIES + 1]).all()
    np.testing.assert_array_equal(matrix[:4, -1], [0.0, np.nan, 1.0, 0.0])
    later = encoder.encode_cells(pd.DataFrame({"a": [2.0], "word": ["new"], "kind": ["z"]}))
    assert later[0, 0] == 2.0
    assert np.isnan(later[0, 1:]).all()
    plain = np.arange(6.0).reshape(3, 2)
    assert encode(plain)[0].encode_cells(plain) is plain


def test_frame_and_array_agree(weights: str | Path, blobs: tuple) -> None:
    frame = pd.DataFrame(blobs[0], columns=list("abcd"))
    frame["a"] = frame["a"].astype(object)
    one = AttentionMixture(3, weights=weights, random_state=0).fit(blobs[0])
    two = AttentionMixture(3, weights=weights, random_state=0).fit(frame)
    np.testing.assert_array_equal(one.means_, two.means_)


def test_categories_separate_clusters(weights: str | Path) -> None:
    """Two columns of words that agree. (One alone fits one component as well as it fits two.)"""
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], [60, 40])
    words = {"kind": np.array(["red", "blue"])[y], "form": np.array(["round", "square"])[y]}
    frame = pd.DataFrame({"x": rng.normal(size=100), **words})
    model = AttentionMixture(2, weights=weights, random_state=0).fit(frame)
    np.testing.assert_array_equal(model.labels_, y)
    assert model.means_.shape == (2, 3)


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        (np.array([[1.0], [np.inf]]), ValueError, "infinity: column 'x0', row 1"),
        (np.array([[1.0, -np.inf], [1, 2]]), ValueError, "infinity: column 'x1', row 0"),
        (np.array([[1.0], [1e200]]), ValueError, "beyond 1e\\+153"),
        (np.array([[np.nan], [np.nan]]), ValueError, "'x0' holds no value"),
        (pd.DataFrame({"k": [None, None]}), ValueError, "'k' holds no value"),
        (pd.DataFrame({"k": pd.to_datetime(["2020-01-01"] * 2)}), ValueError, "holds dates"),
        (np.array([["2020-01-01"]], dtype="datetime64[D]"), ValueError, "holds dates"),
        (pd.DataFrame({"k": [1 + 2j, 0]}), ValueError, "Complex data"),
        (np.array([[{}], [1]], dtype=object), TypeError, "must be a string or a number"),
        (pd.DataFrame({"k": [[1], [2]]}), TypeError, "must be a string or a number"),
        (pd.DataFrame({"k": []}), ValueError, "0 sample"),
        (pd.DataFrame(index=range(3)), ValueError, "0 feature"),
        (np.ones(3), ValueError, "Reshape your data"),
    ],
)
def test_refusals(X: object, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        AttentionMixture(1, weights="constructed").fit(X)


def test_text_is_refused_when_no_column_is_a_category() -> None:
    with pytest.raises(ValueError, match="'kind' holds text"):
        AttentionMixture(1, weights="constructed", categorical_features=None).fit(
            pd.DataFrame({"kind": ["a", "b"]})
        )


def test_infinity_is_refused_later_too(blobs: tuple) -> None:
    model = AttentionMixture(3, weights="constructed", random_state=0).fit(blobs[0])
    for method in (model.predict, model.predict_proba, model.score_samples):
        with pytest.raises(ValueError, match="infinity"):
            method(np.array([[0.0, 0.0, np.inf, 0.0]]))


def test_encoder_knows_its_width() -> None:
    encoder, matrix, _ = encode(pd.DataFrame({"a": [1, 2, 3], "b": ["x", "y", "z"]}))
    assert isinstance(encoder, TableEncoder)
    assert encoder.n_features == matrix.shape[1] == 4
