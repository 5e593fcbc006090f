"""Tables in every format read the same; what is no table is refused in one line."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from statformer.cli.errors import CommandError
from statformer.cli.reading import Table, read_table


def read(tmp_path: Path, content: bytes | str, name: str = "t.csv", **options: str) -> Table:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_table(str(path), **options)


def refusal(tmp_path: Path, content: bytes | str, name: str = "t.csv", **options: str) -> str:
    with pytest.raises(CommandError) as caught:
        read(tmp_path, content, name, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.fixture
def frame() -> pd.DataFrame:
    return pd.DataFrame({"a": [1.5, 2.5, np.nan], "b": [1, 2, 3], "c": ["x", "y", "é"]})


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("t.csv", {}),
        ("t.tsv", {"sep": "\t"}),
        ("semicolon.csv", {"sep": ";"}),
        ("pipe.txt", {"sep": "|"}),
        ("german.csv", {"sep": ";", "decimal": ","}),
        ("t.csv.gz", {}),
    ],
)
def test_delimited_formats_read_alike(
    frame: pd.DataFrame, tmp_path: Path, name: str, options: dict[str, str]
) -> None:
    frame.to_csv(tmp_path / name, index=False, **options)
    table = read_table(str(tmp_path / name))
    pd.testing.assert_frame_equal(table.frame, frame)


def test_parquet_reads_alike(frame: pd.DataFrame, tmp_path: Path) -> None:
    frame.to_parquet(tmp_path / "t.parquet")
    table = read_table(str(tmp_path / "t.parquet"))
    assert table.kind == "parquet"
    pd.testing.assert_frame_equal(table.frame, frame)


def test_parquet_keeps_a_named_index_as_a_column(frame: pd.DataFrame, tmp_path: Path) -> None:
    frame.set_index("c").to_parquet(tmp_path / "t.parquet")
    table = read_table(str(tmp_path / "t.parquet"))
    assert set(table.frame.columns) == {"a", "b", "c"}


@pytest.mark.parametrize("shape", [(4,), (4, 3)])
def test_npy(tmp_path: Path, shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    np.save(tmp_path / "t.npy", array)
    table = read_table(str(tmp_path / "t.npy"))
    assert list(table.frame.columns) == [f"x{j}" for j in range(table.frame.shape[1])]
    np.testing.assert_array_equal(table.frame.to_numpy(), array.reshape(4, -1))


def test_structured_npy_keeps_its_names(tmp_path: Path) -> None:
    array = np.array([(1.0, 2), (3.0, 4)], dtype=[("u", "f8"), ("v", "i4")])
    np.save(tmp_path / "t.npy", array)
    assert list(read_table(str(tmp_path / "t.npy")).frame.columns) == ["u", "v"]


def test_blanks_may_part_the_cells(tmp_path: Path) -> None:
    table = read(tmp_path, "u  v\n1.0   2.0\n3.0 4.5\n", "t.txt")
    np.testing.assert_array_equal(table.frame.to_numpy(), [[1.0, 2.0], [3.0, 4.5]])


@pytest.mark.parametrize("ending", ["\r\n", "\r"])
def test_line_ends_of_other_systems(tmp_path: Path, ending: str) -> None:
    table = read(tmp_path, ending.join(["a,b", "1,x", "2,y", ""]))
    assert table.frame["a"].tolist() == [1, 2]
    assert table.original()["b"].tolist() == ["x", "y"]


def test_a_table_of_one_column(tmp_path: Path) -> None:
    table = read(tmp_path, "body mass\n1\n2\n30\n")
    assert list(table.frame.columns) == ["body mass"]
    assert table.frame["body mass"].tolist() == [1, 2, 30]


def test_no_header_is_noticed(tmp_path: Path) -> None:
    table = read(tmp_path, "1.5,2\n3.5,4\n")
    assert table.frame.shape == (2, 2)
    assert any("x0 to x1" in note for note in table.notes)


def test_columns_of_the_same_name_are_told_apart(tmp_path: Path) -> None:
    table = read(tmp_path, "a,a,a.1\n1,2,3\n4,5,6\n")
    assert len(set(table.frame.columns)) == 3
    assert any("second column 'a'" in note for note in table.notes)


def test_decimal_comma_is_guessed_and_noted_and_may_be_given(tmp_path: Path) -> None:
    text = "a;b\n1,5;x\n2,25;y\n"
    guessed = read(tmp_path, text)
    assert guessed.frame["a"].tolist() == [1.5, 2.25]
    assert any("decimal mark" in note for note in guessed.notes)
    assert read(tmp_path, text, decimal=",").frame["a"].tolist() == [1.5, 2.25]
    assert read(tmp_path, text, decimal=".").frame["a"].tolist() == ["1,5", "2,25"]


def test_thousands_are_not_taken_for_decimals(tmp_path: Path) -> None:
    table = read(tmp_path, "a;b\n1,500;3\n2,250;4\n")
    assert table.frame["a"].tolist() == ["1,500", "2,250"]


def test_quoted_delimiters_and_line_breaks(tmp_path: Path) -> None:
    table = read(tmp_path, 'a,b\n"x, y",1\n"two\nlines",2\n')
    assert table.frame["a"].tolist() == ["x, y", "two\nlines"]


def test_question_marks_are_missing_cells(tmp_path: Path) -> None:
    table = read(tmp_path, "a,b\n1,2\n?,3\nNA,4\n,5\n")
    assert int(table.frame["a"].isna().sum()) == 3


def test_original_cells_stay_as_written(tmp_path: Path) -> None:
    table = read(tmp_path, "code,mass\n007,1.50\n010,2.0\n")
    assert table.original()["code"].tolist() == ["007", "010"]
    assert table.original()["mass"].tolist() == ["1.50", "2.0"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1"])
def test_encodings(frame: pd.DataFrame, tmp_path: Path, encoding: str) -> None:
    data = frame.to_csv(index=False).encode(encoding)
    options = {"encoding": "latin-1"} if encoding == "latin-1" else {}
    pd.testing.assert_frame_equal(read(tmp_path, data, **options).frame, frame)


def test_wrong_encoding_names_the_byte_the_line_and_the_remedy(tmp_path: Path) -> None:
    message = refusal(tmp_path, "a,b\n1,2\n3,é\n".encode("latin-1"))
    assert "0xe9" in message
    assert "line 3" in message
    assert "--encoding latin-1" in message


def test_unknown_encoding(tmp_path: Path) -> None:
    assert "klingon" in refusal(tmp_path, "a\n1\n", encoding="klingon")


@pytest.mark.parametrize("row", ["1,2,3", "1"])
def test_ragged_rows_name_the_line(tmp_path: Path, row: str) -> None:
    message = refusal(tmp_path, f"a,b\n1,2\n{row}\n3,4\n")
    assert "ragged" in message
    assert "line 3" in message


@pytest.mark.parametrize("content", ["", "\n \n", "\ufeff\n"])
def test_empty_files(tmp_path: Path, content: str) -> None:
    assert "empty" in refusal(tmp_path, content)


def test_header_without_rows(tmp_path: Path) -> None:
    assert "no rows" in refusal(tmp_path, "a,b\n")


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("t.parquet", b"hello", ".parquet"),
        ("t.parquet", b"PAR1 and then nothing of use", "damaged"),
        ("t.npy", b"hello", ".npy"),
        ("t.npy", b"\x93NUMPY\x01\x00", ".npy"),
        ("t.xlsx", b"PK\x03\x04rest", "spreadsheet"),
        ("t.csv", b"\x00\x01\x02\x03", "not text"),
        ("t.csv.gz", gzip.compress(b"a,b\n1,2\n" * 99, mtime=0)[:-9], "gzip"),
        ("t.csv", b'a,b\n"1,2\n3,4\n', "ragged"),
    ],
)
def test_files_that_are_no_tables(tmp_path: Path, name: str, content: bytes, word: str) -> None:
    assert word in refusal(tmp_path, content, name)


@pytest.mark.parametrize("array", [np.zeros((2, 2, 2)), np.zeros((2, 0)), np.array([1j])])
def test_arrays_that_are_no_tables(tmp_path: Path, array: np.ndarray) -> None:
    stream = io.BytesIO()
    np.save(stream, array)
    refusal(tmp_path, stream.getvalue(), "t.npy")


def test_pickled_arrays_are_never_opened(tmp_path: Path) -> None:
    stream = io.BytesIO()
    np.save(stream, np.array([{"a": 1}]), allow_pickle=True)
    assert "allow_pickle" in refusal(tmp_path, stream.getvalue(), "t.npy")


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="no file"):
        read_table(str(tmp_path / "nowhere.csv"))
    with pytest.raises(CommandError, match="folder"):
        read_table(str(tmp_path))


@pytest.mark.parametrize("delimiter", ["", "ab", '"', "x"])
def test_marks_that_cannot_part_cells(tmp_path: Path, delimiter: str) -> None:
    assert "--delimiter" in refusal(tmp_path, "a,b\n1,2\n", delimiter=delimiter)


@pytest.mark.parametrize("decimal", [";", "", ","])
def test_marks_that_cannot_be_decimals(tmp_path: Path, decimal: str) -> None:
    assert "--decimal" in refusal(tmp_path, "a,b\n1,2\n", decimal=decimal)
