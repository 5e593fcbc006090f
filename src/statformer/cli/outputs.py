"""Files that a command writes: all of them complete, or none.

Each is written under a temporary name in its own folder and renamed when all are ready.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from statformer._extras import require
from statformer.cli.errors import CommandError, listing
from statformer.cli.reading import Table

TABLE_ENDINGS = (".csv", ".tsv", ".parquet")
PROBABILITY_DIGITS = 6
ADDED = ("cluster", "cluster_probability")


class Outputs:
    """The files of one command: checked at the start, put in place together at the end.

    Used as a context: leaving it by an exception removes every temporary file.
    """

    def __init__(self, *, force: bool) -> None:
        self.force = force
        self._staged: list[tuple[Path, Path]] = []

    def check(self, option: str, path: Path, endings: Sequence[str] = ()) -> None:
        """Refuse a path that could not be written, before any work is done."""
        if endings and path.suffix.lower() not in endings:
            raise CommandError(f"{option} {str(path)!r} must end in {listing(list(endings))}")
        if not path.parent.is_dir():
            raise CommandError(f"{option}: there is no folder {str(path.parent)!r}; make it first")
        if path.is_dir():
            raise CommandError(f"{option} {str(path)!r} is a folder; give the path of a file")
        if path.exists() and not self.force:
            raise CommandError(f"{option} {str(path)!r} exists; --force replaces it")
        if not os.access(path.parent, os.W_OK):
            raise CommandError(f"{option}: the folder {str(path.parent)!r} cannot be written")

    def stage(self, path: Path) -> Path:
        """A temporary path beside `path` that takes its place on commit."""
        handle, name = tempfile.mkstemp(
            prefix=f".{path.stem}.", suffix=path.suffix, dir=path.parent
        )
        os.close(handle)
        temporary = Path(name)
        # mkstemp makes private files; a result deserves the permissions of any other new file.
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        self._staged.append((temporary, path))
        return temporary

    def commit(self) -> None:
        """Rename every staged file to its own name."""
        while self._staged:
            temporary, path = self._staged[0]
            temporary.replace(path)
            self._staged.pop(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for temporary, _ in self._staged:
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            what = error.strerror or str(error)
            raise CommandError(f"an output could not be written: {what}") from None


def refuse_taken_names(table: Table) -> None:
    """Refuse a table that has one of our columns of its own; all of an earlier run's are replaced.

    Raises CommandError.
    """
    taken = [str(name) for name in table.frame.columns if _is_added(str(name))]
    if taken and not set(ADDED) <= set(taken):
        raise CommandError(
            f"--out adds a column {taken[0]!r}, which the table has; rename it in the table"
        )


def labelled_rows(
    table: Table,
    labels: Int[np.ndarray, " n"],
    proba: Float[np.ndarray, "n c"],
    names: Int[np.ndarray, " c"],
    *,
    typed: bool,
) -> pd.DataFrame:
    """The rows of the table with `cluster`, `cluster_probability` and one probability per cluster.

    Clusters go by their `names`, which are 0, 1, ... but for a model that is like an earlier one.
    The input's cells are as they were written, or of the type they were read as where `typed`.
    """
    rows = table.frame.copy() if typed else table.original()
    rows = rows.drop(columns=[name for name in rows.columns if _is_added(str(name))])
    new = [*ADDED, *(f"probability_{name}" for name in names)]
    added = pd.DataFrame(
        np.round(np.column_stack([proba.max(axis=1), proba]), PROBABILITY_DIGITS),
        columns=pd.Index(new[1:]),
        index=rows.index,
    )
    added.insert(0, "cluster", names[labels])
    return pd.concat([rows, added], axis=1)


def _is_added(name: str) -> bool:
    return name in ADDED or (name.startswith("probability_") and name[12:].isdigit())


def write_table(
    table: Table,
    labels: Int[np.ndarray, " n"],
    proba: Float[np.ndarray, "n c"],
    path: Path,
    names: Int[np.ndarray, " c"] | None = None,
) -> None:
    """Write the labelled rows as `write_rows` does."""
    names = np.arange(proba.shape[1]) if names is None else names
    typed = path.suffix.lower() == ".parquet"
    write_rows(table, labelled_rows(table, labels, proba, names, typed=typed), path)


def write_rows(table: Table, rows: pd.DataFrame, path: Path) -> None:
    """Write rows that `table` gave rise to, in the format that the ending of `path` names.

    Delimited text keeps the decimal mark of the input, and its delimiter where the ending allows.
    """
    ending = path.suffix.lower()
    if ending == ".parquet":
        require("pyarrow", "parquet")
        rows.to_parquet(path, index=False)
        return
    decimal = table.dialect.decimal if table.dialect is not None else "."
    delimiter = "\t" if ending == ".tsv" else _delimiter_of_csv(table)
    rows.to_csv(path, index=False, sep=delimiter, decimal=decimal)


def _delimiter_of_csv(table: Table) -> str:
    if table.dialect is None:
        return ","
    if table.dialect.delimiter in {";", "|"}:
        return table.dialect.delimiter
    return ";" if table.dialect.decimal == "," else ","
