"""Measured rows as Parquet, one small file per finished job, under the key of what made them.

A key hashes the sources, the cell and the seed, so rows of other sources are never taken for those
of these, and a run that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from statformer._extras import require

__all__ = ["RowStore", "job_key"]

_ABOUT = b"statformer"


def job_key(sources: str, cell: Mapping[str, Any], seed: int) -> str:
    """SHA-256 over the key of the sources, the cell (its axes in any order) and the seed."""
    text = json.dumps([sources, dict(cell), seed], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


class RowStore:
    """The rows in a folder: `KEY.parquet` for each finished job."""

    def __init__(self, folder: Path) -> None:
        """Raises MissingExtraError where pyarrow is not installed."""
        self.folder = folder
        require("pyarrow", "parquet")

    def __contains__(self, key: str) -> bool:
        return self.path(key).is_file()

    def path(self, key: str) -> Path:
        """Where the rows of a job are."""
        return self.folder / f"{key}.parquet"

    def put(self, key: str, rows: Sequence[Mapping[str, Any]], about: Mapping[str, Any]) -> None:
        """Write the rows of a job, and what is known about it, to a temporary file; rename it.

        The values are numbers, text and booleans; a column a row lacks is empty there. Raises
        ValueError without rows, and pyarrow's errors for a column of mixed kinds.
        """
        if not rows:
            raise ValueError("rows is empty; a job has at least one row")
        import pyarrow as pa
        import pyarrow.parquet as pq

        names = list(dict.fromkeys(name for row in rows for name in row))
        table = pa.table({name: [_plain(row.get(name)) for row in rows] for name in names})
        table = table.replace_schema_metadata({_ABOUT: json.dumps(dict(about))})
        self.folder.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(dir=self.folder, prefix=f".{key[:8]}.", suffix=".part")
        os.close(handle)
        try:
            pq.write_table(table, part)
            Path(part).chmod(0o644)
            Path(part).replace(self.path(key))
        except BaseException:
            Path(part).unlink(missing_ok=True)
            raise

    def get(self, key: str) -> list[dict[str, Any]]:
        """The rows of a job as they were put. Raises FileNotFoundError where there are none."""
        import pyarrow.parquet as pq

        rows = pq.read_table(self.path(key), partitioning=None).to_pylist()
        return [{name: value for name, value in row.items() if value is not None} for row in rows]

    def about(self, key: str) -> dict[str, Any]:
        """What was said about a job. Raises FileNotFoundError where it is not there."""
        import pyarrow.parquet as pq

        about: dict[str, Any] = json.loads(pq.read_schema(self.path(key)).metadata[_ABOUT])
        return about


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
