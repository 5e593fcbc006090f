from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from statformer.runs.rows import RowStore, job_key


def test_rows_come_back_as_they_were_put(tmp_path: Path) -> None:
    store = RowStore(tmp_path / "rows")
    rows = [
        {"n": 3, "x": 0.1, "name": "ä", "flag": True},
        {"n": 4, "x": math.nan, "name": "", "flag": False, "more": -math.inf},
    ]
    assert "k" not in store
    store.put("k", rows, {"seconds": 1.5})
    assert "k" in store
    first, second = store.get("k")
    assert first == rows[0]
    assert math.isnan(second.pop("x"))
    assert second == {"n": 4, "name": "", "flag": False, "more": -math.inf}
    assert store.about("k") == {"seconds": 1.5}
    assert [path.name for path in store.folder.iterdir()] == ["k.parquet"]


def test_numbers_of_numpy_are_numbers(tmp_path: Path) -> None:
    store = RowStore(tmp_path)
    store.put("k", [{"x": np.float32(0.5), "y": np.int64(3), "z": np.bool_(True)}], {})
    assert store.get("k") == [{"x": 0.5, "y": 3, "z": True}]


def test_what_is_not_written_whole_is_not_there(tmp_path: Path) -> None:
    store = RowStore(tmp_path)
    with pytest.raises(ValueError, match="at least one row"):
        store.put("k", [], {})
    with pytest.raises((TypeError, ValueError)):
        store.put("k", [{"x": 1.0}, {"x": "text"}], {})
    with pytest.raises(TypeError):
        store.put("k", [{"x": 1.0}], {"not": object()})
    assert "k" not in store
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FileNotFoundError):
        store.get("k")


def test_a_key_knows_sources_cell_and_seed() -> None:
    key = job_key("s", {"a": 1, "b": "x"}, 0)
    assert len(key) == 64
    assert job_key("s", {"b": "x", "a": 1}, 0) == key
    others = [
        job_key("t", {"a": 1, "b": "x"}, 0),
        job_key("s", {"a": 2, "b": "x"}, 0),
        job_key("s", {"a": 1, "b": "y"}, 0),
        job_key("s", {"a": 1, "b": "x"}, 1),
    ]
    assert len({key, *others}) == 5
