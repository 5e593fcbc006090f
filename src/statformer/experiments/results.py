"""The folder of a run: a JSON file for each experiment and size, and the rows behind it.

FOLDER/NAME.SIZE.json           verdict, chart, provenance, and the keys of its rows
FOLDER/rows/NAME/KEY.parquet    the rows of one cell and seed
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from statformer.experiments.base import SIZES, Size
from statformer.experiments.running import table_of_rows
from statformer.runs.record import write_json
from statformer.runs.rows import RowStore

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["read_results", "read_table", "result_path", "row_store", "write_result"]


def row_store(folder: Path, name: str) -> RowStore:
    """The rows of the experiment called `name`."""
    return RowStore(folder / "rows" / name)


def result_path(folder: Path, name: str, size: Size) -> Path:
    """Where the result of an experiment at a size is."""
    return folder / f"{name}.{size}.json"


def write_result(folder: Path, result: Mapping[str, Any]) -> Path:
    """Write a result under its name and size; return the path."""
    path = result_path(folder, result["name"], result["size"])
    write_json(path, result)
    return path


def read_results(folder: Path) -> list[dict[str, Any]]:
    """All results in `folder`, by name, then tiny before quick before full.

    Raises FileNotFoundError where there is no such folder.
    """
    if not folder.is_dir():
        raise FileNotFoundError(
            f"there is no folder {folder}; `statformer experiments run` makes it"
        )
    paths = sorted(
        (path.name.removesuffix(f".{size}.json"), rank, path)
        for rank, size in enumerate(SIZES)
        for path in folder.glob(f"*.{size}.json")
        if not path.name.startswith(".")
    )
    return [json.loads(path.read_text(encoding="utf-8")) for _, _, path in paths]


def read_table(folder: Path, result: Mapping[str, Any]) -> pd.DataFrame:
    """The rows behind a result, in the order of its cells and seeds.

    Raises FileNotFoundError where a row was removed.
    """
    store = row_store(folder, result["name"])
    return table_of_rows(row for key in result["rows"] for row in store.get(key))
