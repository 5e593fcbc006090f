"""A JSON file that grows cell by cell: written whole each time, so a stopped run can go on."""

from __future__ import annotations

import json
import math
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

# Lists of numbers go on one line; a list that holds a string, a list or an object keeps its own.
_LIST = re.compile(r"\[\n\s*([^\[\]{}\"]*?)\n\s*\]")


class Record:
    """Results under "cells", and beside them what was measured with.

    The fingerprint says what must be equal for stored cells to be used again: sizes, weights,
    commit. A file with another fingerprint is refused.
    """

    def __init__(self, path: Path | None, fingerprint: Mapping[str, Any], force: bool = False):
        """path None keeps everything in memory; `force` begins anew over an existing file.

        Raises FileExistsError where `path` holds another measurement and `force` is False.
        """
        self.path = path
        self.data: dict[str, Any] = {"fingerprint": plain(fingerprint), "cells": {}}
        if path is None or force or not path.exists():
            return
        try:
            stored = json.loads(path.read_text())
            same = stored["fingerprint"] == self.data["fingerprint"]
        except (ValueError, KeyError, TypeError):
            same = False
        if not same:
            raise FileExistsError(
                f"{path} holds another measurement (other sizes, weights or commit); "
                "pass --force to replace it, or another path"
            )
        self.data = stored

    def __contains__(self, key: str) -> bool:
        return key in self.cells

    @property
    def cells(self) -> dict[str, Any]:
        """Finished cells by key."""
        cells: dict[str, Any] = self.data["cells"]
        return cells

    def put(self, key: str, cell: Mapping[str, Any]) -> None:
        """Store a finished cell and write the file."""
        self.cells[key] = plain(cell)
        self.write()

    def update(self, **entries: Any) -> None:
        """Set entries beside the cells and write the file."""
        self.data.update({name: plain(value) for name, value in entries.items()})
        self.write()

    def write(self) -> None:
        """Write the file, if there is one."""
        if self.path is not None:
            write_json(self.path, self.data)


def write_json(path: Path, data: Any) -> None:
    """Write `data` to a temporary file in the same folder, then rename it to `path`."""
    text = json.dumps(plain(data), indent=1, allow_nan=False) + "\n"
    text = _LIST.sub(lambda found: "[" + " ".join(found[1].split()) + "]", text)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def plain(value: Any) -> Any:
    """The same with numpy turned to Python and NaN and infinity to None (JSON has neither)."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Path):
        return str(value)
    return value
