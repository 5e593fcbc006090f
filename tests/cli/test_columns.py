"""Which columns are clustered: identifiers, dates and constants are set aside, and it is said."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from statformer.cli.columns import select_columns
from statformer.cli.errors import CommandError

N = 40


@pytest.fixture
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame({"mass": rng.normal(size=N), "size": rng.integers(0, 900, N)})


def reason(frame: pd.DataFrame, name: str, values: object) -> str | None:
    frame = frame.copy()
    frame[name] = values
    return select_columns(frame).dropped.get(name)


@pytest.mark.parametrize(
    "name", ["id", "ID", "customer_id", "customerId", "id_no", "Index", "uuid"]
)
def test_whole_numbers_under_the_name_of_an_identifier(frame: pd.DataFrame, name: str) -> None:
    values = np.random.default_rng(1).integers(0, 10**6, N)
    assert "identifier" in str(reason(frame, name, values))


@pytest.mark.parametrize("name", ["width", "humid", "grid", "liquid_idle", "paid", "key_length"])
def test_names_that_only_look_similar_are_kept(frame: pd.DataFrame, name: str) -> None:
    assert reason(frame, name, np.random.default_rng(1).integers(0, 10**6, N)) is None


def test_measurements_called_id_with_fractions_are_kept(frame: pd.DataFrame) -> None:
    assert reason(frame, "id", np.random.default_rng(1).normal(size=N)) is None


@pytest.mark.parametrize("start", [0, 1, 1000])
def test_a_count_of_the_rows_in_any_order(frame: pd.DataFrame, start: int) -> None:
    values = np.random.default_rng(2).permutation(np.arange(start, start + N))
    assert "counts the rows" in str(reason(frame, "number", values))


def test_a_short_run_is_a_measurement() -> None:
    frame = pd.DataFrame({"dose": [1, 2, 3, 4], "effect": [0.1, 0.4, 2.0, 3.5]})
    assert select_columns(frame).dropped == {}


def test_texts_that_tell_rows_apart(frame: pd.DataFrame) -> None:
    assert "identifier" in str(reason(frame, "person", [f"person {i}" for i in range(N)]))


@pytest.mark.parametrize(
    "values",
    [
        pd.date_range("2020-01-01", periods=N),
        pd.timedelta_range("1h", periods=N),
        pd.period_range("2020-01", periods=N, freq="M"),
        [f"2020-03-{1 + i % 28:02d}" for i in range(N)],
        [f"{1 + i % 28}.3.2020" for i in range(N)],
        [f"3/{1 + i % 28}/20 12:30" for i in range(N)],
        [f"2020-03-{1 + i % 28:02d}T10:00:00Z" for i in range(N)],
        [f"{1 + i % 28} March 2020" for i in range(N)],
        [f"Mar {1 + i % 28}, 2020" for i in range(N)],
        [f"{i % 24:02d}:15" for i in range(N)],
    ],
    ids=str,
)
def test_dates_in_every_dress(frame: pd.DataFrame, values: object) -> None:
    assert reason(frame, "when", values) == "dates"


def test_dates_as_whole_numbers(frame: pd.DataFrame) -> None:
    assert reason(frame, "visit_date", 20200101 + np.arange(N) * 7) == "dates"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([np.nan] * N, "empty"),
        ([3.0] * N, "constant (3)"),
        (["same"] * N, "constant ('same')"),
        ([np.inf] * N, "no finite number"),
        ([[1, 2]] * N, "neither numbers nor text"),
        (np.arange(N) * 1j, "complex numbers"),
    ],
)
def test_columns_with_nothing_to_say(frame: pd.DataFrame, values: object, expected: str) -> None:
    assert reason(frame, "extra", values) == expected


def test_texts_become_categories_and_missing_cells_are_counted(frame: pd.DataFrame) -> None:
    frame["sex"] = ["m", "f", None, "m"] * (N // 4)
    frame.loc[:2, "mass"] = np.nan
    chosen = select_columns(frame)
    assert chosen.encoded == {"sex": 2}
    assert chosen.missing == {"mass": 3, "sex": N // 4}
    assert chosen.frame["mass"].isna().sum() == 3


@pytest.mark.parametrize("dtype", ["bool", "boolean", "object"])
def test_truth_values_are_numbers(frame: pd.DataFrame, dtype: str) -> None:
    frame["grown"] = pd.Series([True, False] * (N // 2), dtype=dtype)
    assert select_columns(frame).frame["grown"].tolist() == [1.0, 0.0] * (N // 2)


@pytest.mark.parametrize("dtype", ["Int64", "Float32", "int8"])
def test_number_types(frame: pd.DataFrame, dtype: str) -> None:
    frame["u"] = pd.Series([1, 5] * (N // 2), dtype=dtype)
    assert select_columns(frame).frame["u"].dtype == np.float64


def test_a_few_spoilt_cells_count_as_missing_and_are_mentioned(frame: pd.DataFrame) -> None:
    cells: list[object] = [str(v) for v in range(100, 100 + 3 * N, 3)]
    cells[7] = "about 9"
    frame["mixed"] = cells
    chosen = select_columns(frame)
    assert chosen.missing == {"mixed": 1}
    assert any("mixed" in line for line in chosen.warnings)


def test_infinite_cells_count_as_missing_and_are_mentioned(frame: pd.DataFrame) -> None:
    frame.loc[3, "mass"] = np.inf
    chosen = select_columns(frame)
    assert chosen.missing == {"mass": 1}
    assert any("'mass'" in line for line in chosen.warnings)


@pytest.mark.parametrize("name", ["label", "Class", "LABEL"])
def test_a_column_that_looks_like_the_answer(frame: pd.DataFrame, name: str) -> None:
    frame[name] = [0, 1] * (N // 2)
    assert any(f"--label-column {name}" in line for line in select_columns(frame).warnings)
    assert select_columns(frame, label_column=name).warnings == []
    assert select_columns(frame, drop=[name]).warnings == []
    assert name not in select_columns(frame, label_column=name).frame


def test_columns_and_drop(frame: pd.DataFrame) -> None:
    frame["id"] = np.arange(N)
    assert list(select_columns(frame, drop=["size"]).frame) == ["mass"]
    assert list(select_columns(frame, columns=["mass"]).frame) == ["mass"]
    assert list(select_columns(frame, columns=["id", "mass"]).frame) == ["mass", "id"]


def test_columns_of_an_earlier_run_are_set_aside(frame: pd.DataFrame) -> None:
    frame["cluster"] = [0, 1] * (N // 2)
    assert "cluster" in select_columns(frame).frame
    frame["cluster_probability"] = 0.9 + 0.001 * np.arange(N)
    frame["probability_0"] = 0.9 + 0.001 * np.arange(N)
    dropped = select_columns(frame).dropped
    assert set(dropped) == {"cluster", "cluster_probability", "probability_0"}


@pytest.mark.parametrize("option", ["columns", "drop", "label_column"])
def test_an_unknown_column_is_named_with_the_nearest(frame: pd.DataFrame, option: str) -> None:
    wanted = "Mas" if option == "label_column" else ["Mas"]
    with pytest.raises(CommandError, match=r"'Mas'.*did you mean 'mass'"):
        select_columns(frame, **{option: wanted})


def test_nothing_left_is_an_error_that_says_why(frame: pd.DataFrame) -> None:
    with pytest.raises(CommandError, match=r"no usable column.*mass: --drop"):
        select_columns(frame, drop=["mass", "size"])


def test_asking_for_a_text_that_is_different_in_every_row(frame: pd.DataFrame) -> None:
    frame["person"] = [f"person {i}" for i in range(N)]
    with pytest.raises(CommandError, match="all differ"):
        select_columns(frame, columns=["person", "mass"])
