"""Tables from files: CSV, TSV, Parquet, .npy or standard input, as a frame of typed columns.

Axes: rows of the file are points n, its columns are features d. Delimiter, decimal mark and header
are guessed where the caller does not give them, and every guess that changes a value is noted.
"""

from __future__ import annotations

import gzip
import io
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from statformer._extras import require
from statformer.cli.delimited import Dialect, read_delimited, read_delimited_as_text
from statformer.cli.errors import CommandError, one_line

Kind = Literal["csv", "tsv", "parquet", "npy"]


@dataclass(frozen=True)
class Table:
    """A table as read, and what is needed to write its rows out again as they were."""

    source: str
    kind: Kind
    frame: pd.DataFrame
    notes: tuple[str, ...] = ()
    text: str | None = None
    dialect: Dialect | None = None

    @property
    def name(self) -> str:
        """How messages call the table."""
        return "standard input" if self.source == "-" else self.source

    def original(self) -> pd.DataFrame:
        """The rows as written: cells of a delimited file stay text, so 007 stays 007."""
        if self.text is None or self.dialect is None:
            return self.frame.copy()
        return read_delimited_as_text(self.text, self.dialect, list(self.frame.columns))


def read_table(
    source: str,
    *,
    delimiter: str | None = None,
    decimal: str | None = None,
    encoding: str | None = None,
) -> Table:
    """Read the table at `source` ("-": standard input).

    Raises CommandError where it is missing, empty, not a table, ragged, or not in `encoding`.
    """
    data = _read_bytes(source)
    name = "standard input" if source == "-" else source
    if data[:4] == b"PAR1":
        return Table(source, "parquet", _read_parquet(data, name))
    if data[:6] == b"\x93NUMPY":
        return Table(source, "npy", _read_npy(data, name))
    _refuse_other_formats(data, source, name)
    text = _decode(data, encoding, name)
    if not text.strip():
        raise CommandError(f"{name} is empty: there is no table to cluster")
    if delimiter is None and _ending(source) == ".tsv":
        delimiter = "\t"
    frame, dialect, notes = read_delimited(text, name, delimiter=delimiter, decimal=decimal)
    kind: Kind = "tsv" if dialect.delimiter == "\t" else "csv"
    return Table(source, kind, frame, tuple(notes), text, dialect)


def _ending(source: str) -> str:
    return Path(source.lower().removesuffix(".gz")).suffix


def _read_bytes(source: str) -> bytes:
    try:
        data = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
    except FileNotFoundError:
        raise CommandError(f"there is no file {source!r}") from None
    except IsADirectoryError:
        raise CommandError(f"{source!r} is a folder; give the path of a table") from None
    except (EOFError, zlib.error) as error:
        raise CommandError(f"{source!r} is a damaged gzip file: {one_line(error)}") from None
    except OSError as error:
        raise CommandError(f"cannot read {source!r}: {error.strerror or one_line(error)}") from None
    if not data:
        name = "standard input" if source == "-" else source
        raise CommandError(f"{name} is empty: there is no table to cluster")
    return data


def _refuse_other_formats(data: bytes, source: str, name: str) -> None:
    ending = _ending(source)
    if ending in {".parquet", ".npy"}:
        raise CommandError(f"{name} ends in {ending} but does not hold that format")
    if data[:4] == b"PK\x03\x04":
        raise CommandError(f"{name} is a zip archive or a spreadsheet; save the sheet as CSV")
    if b"\0" in data[:4096] and data[:2] not in {b"\xff\xfe", b"\xfe\xff"}:
        raise CommandError(f"{name} is not text; tables are read as CSV, TSV, Parquet or .npy")


def _decode(data: bytes, encoding: str | None, name: str) -> str:
    if encoding is None:
        encoding = "utf-16" if data[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-8"
    try:
        text = data.decode(encoding).removeprefix("\ufeff")
    except LookupError:
        raise CommandError(f"--encoding {encoding!r} is not known; try utf-8 or latin-1") from None
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        other = "utf-8" if encoding.lower().startswith("latin") else "latin-1"
        raise CommandError(
            f"{name} is not {encoding}: byte 0x{data[error.start]:02x} in line {line}; "
            f"try --encoding {other}"
        ) from None
    except UnicodeError as error:
        raise CommandError(f"{name} is not {encoding}: {one_line(error)}") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _read_parquet(data: bytes, name: str) -> pd.DataFrame:
    require("pyarrow", "parquet")
    try:
        frame = pd.read_parquet(io.BytesIO(data))
    except (OSError, ValueError) as error:
        raise CommandError(f"{name} is a damaged Parquet file: {one_line(error)}") from None
    frame = frame.reset_index(drop=isinstance(frame.index, pd.RangeIndex))
    frame.columns = pd.Index([str(column) for column in frame.columns])
    return _not_empty(frame, name)


def _read_npy(data: bytes, name: str) -> pd.DataFrame:
    try:
        array = np.load(io.BytesIO(data), allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise CommandError(f"{name} cannot be read as a .npy array: {one_line(error)}") from None
    if array.dtype.names:
        return _not_empty(pd.DataFrame.from_records(array.ravel()), name)
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2 or array.dtype.kind not in "biufUS":
        raise CommandError(
            f"{name} holds an array of shape {array.shape} and type {array.dtype}; "
            "a table has two axes and holds numbers or text"
        )
    columns = [f"x{j}" for j in range(array.shape[1])]
    return _not_empty(pd.DataFrame(array, columns=pd.Index(columns)), name)


def _not_empty(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    if frame.shape[0] == 0 or frame.shape[1] == 0:
        raise CommandError(f"{name} holds {frame.shape[0]} rows and {frame.shape[1]} columns")
    return frame
