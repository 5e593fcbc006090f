from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from statformer.runs.record import Record, plain, write_json


def test_a_record_goes_on_where_it_ended(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "numbers.json"
    first = Record(path, {"sizes": (1, 2)})
    first.put("cell", {"x": np.float64(0.5), "y": np.arange(3)})
    second = Record(path, {"sizes": [1, 2]})
    assert "cell" in second
    assert second.cells["cell"] == {"x": 0.5, "y": [0, 1, 2]}
    assert [p.name for p in path.parent.iterdir()] == ["numbers.json"]


def test_another_measurement_is_refused_unless_forced(tmp_path: Path) -> None:
    path = tmp_path / "numbers.json"
    Record(path, {"sizes": 1}).put("cell", {"x": 1})
    with pytest.raises(FileExistsError, match=r"numbers.json holds another measurement"):
        Record(path, {"sizes": 2})
    assert "cell" not in Record(path, {"sizes": 2}, force=True)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"cells": {}}'])
def test_a_foreign_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "notes.json"
    path.write_text(text)
    with pytest.raises(FileExistsError):
        Record(path, {"sizes": 1})
    assert path.read_text() == text


def test_what_cannot_be_written_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "numbers.json"
    write_json(path, {"x": 1})
    with pytest.raises(TypeError):
        write_json(path, {"x": object()})
    assert json.loads(path.read_text()) == {"x": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["numbers.json"]


def test_numbers_on_one_line_and_the_same_value(tmp_path: Path) -> None:
    data = {
        "a": [1, 2.5, None],
        "b": ["x [\n 1 ]"],
        "c": [[1, 2], [3]],
        "d": [],
        "e": {"f": [True]},
    }
    path = tmp_path / "numbers.json"
    write_json(path, data)
    assert json.loads(path.read_text()) == data
    assert '"a": [1, 2.5, null]' in path.read_text()


def test_json_has_no_infinity() -> None:
    assert plain({"x": [np.inf, float("nan"), np.int64(3)], "p": Path("a")}) == {
        "x": [None, None, 3],
        "p": "a",
    }
