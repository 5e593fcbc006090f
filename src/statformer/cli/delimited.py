"""Delimited text as a table: which mark parts the cells, which is the decimal, is there a header.

Axes: lines are points n, cells of a line are features d.
"""

from __future__ import annotations

import csv
import io
import itertools
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import pandas as pd

from statformer.cli.errors import CommandError, one_line

# A comma comes last: in "1,5;2,5" it parts every line evenly too.
CANDIDATES = ("\t", ";", "|", ",")
NAMES_OF_DELIMITERS = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "space": " "}
WHITESPACE = " "
BLANKS = " \t\r\n"

# Cells that mean "missing" beyond the list of pandas (empty, NA, NaN, null, None, ...).
MISSING_MARKS = ["?", "-", "--", "."]

DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+(?:[eE][+-]?\d+)?")
THOUSANDS_COMMA = re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3})+")


@dataclass(frozen=True)
class Dialect:
    """How a delimited file is written. A delimiter of " " stands for any run of blanks."""

    delimiter: str
    decimal: str
    has_header: bool


def read_delimited(
    text: str, name: str, *, delimiter: str | None, decimal: str | None
) -> tuple[pd.DataFrame, Dialect, list[str]]:
    """The table in `text`, its dialect, and notes on what was guessed.

    Raises CommandError for ragged rows, a header without rows, and marks that cannot be marks.
    """
    delimiter = _checked_delimiter(delimiter) if delimiter is not None else _sniff(text)
    if decimal is not None and (decimal not in {".", ","} or decimal == delimiter):
        raise CommandError(f"--decimal {decimal!r} must be '.' or ',' and not the delimiter")
    first = _check_rows(text, delimiter, name)
    has_header = not all(_is_number(cell) for cell in first)
    columns, notes = _column_names(first, has_header)
    dialect = Dialect(delimiter, decimal or ".", has_header)
    frame = _parse(text, dialect, columns)
    if frame.empty:
        raise CommandError(f"{name} has a header but no rows")
    if decimal is None and delimiter != ",":
        commas = _decimal_commas(frame)
        if commas:
            dialect = Dialect(delimiter, ",", has_header)
            frame = _parse(text, dialect, columns)
            notes.append(f"read ',' as the decimal mark (in {commas[0]!r}; --decimal . undoes it)")
    return frame, dialect, notes


def read_delimited_as_text(text: str, dialect: Dialect, columns: list[str]) -> pd.DataFrame:
    """The same rows with every cell as it is written."""
    return _parse(text, dialect, columns, as_text=True)


def _parse(
    text: str, dialect: Dialect, columns: list[str], *, as_text: bool = False
) -> pd.DataFrame:
    try:
        return _parse_silently(
            io.StringIO(text),
            sep=r"\s+" if dialect.delimiter == WHITESPACE else dialect.delimiter,
            decimal=dialect.decimal,
            header=0 if dialect.has_header else None,
            names=columns,
            index_col=False,
            dtype=str if as_text else None,
            keep_default_na=not as_text,
            na_values=None if as_text else MISSING_MARKS,
            skipinitialspace=True,
            low_memory=False,
        )
    except (pd.errors.ParserError, pd.errors.ParserWarning, ValueError) as error:
        raise CommandError(f"the table cannot be read: {one_line(error)}") from None


def _parse_silently(stream: io.StringIO, **options: Any) -> pd.DataFrame:
    """Pandas warns of cells that it is about to lose; here that is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        return cast(pd.DataFrame, pd.read_csv(stream, **options))


def _rows(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """(line number, cells) of each row that is not blank."""
    if delimiter == WHITESPACE:
        for number, line in enumerate(io.StringIO(text), start=1):
            if line.strip(BLANKS):
                yield number, re.split(r"[ \t]+", line.strip(BLANKS))
        return
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True)
    for row in reader:
        if row and (len(row) > 1 or row[0].strip()):
            yield reader.line_num, row


def _check_rows(text: str, delimiter: str, name: str) -> list[str]:
    """The first row, once every row is known to have as many cells.

    Pandas fills short rows in silence, so the rows are counted here.
    """
    first: list[str] | None = None
    try:
        for number, row in _rows(text, delimiter):
            if first is None:
                first = row
            elif len(row) != len(first):
                raise CommandError(
                    f"{name} is ragged: line {number} has {len(row)} cells where the first row has "
                    f"{len(first)} (cells parted by {_spelled(delimiter)}; --delimiter changes it)"
                )
    except csv.Error as error:
        raise CommandError(f"{name} cannot be read: {one_line(error)}") from None
    if first is None:
        raise CommandError(f"{name} is empty: there is no table to cluster")
    return first


def _sniff(text: str) -> str:
    """The candidate that parts the first lines into equally many cells, more than one."""
    head = "".join(itertools.islice(io.StringIO(text), 50))
    fallback = ","
    for delimiter in (*CANDIDATES, WHITESPACE):
        try:
            widths = [len(row) for _, row in _rows(head, delimiter)]
        except csv.Error:
            continue
        # A quoted cell may run over the end of the head: its last row is not trusted.
        widths = widths[:-1] if len(widths) > 2 else widths
        if widths and min(widths) == max(widths) > 1:
            return delimiter
        if widths and widths[0] > 1 and fallback == "," and delimiter in ";\t|":
            fallback = delimiter
    return fallback


def _checked_delimiter(delimiter: str) -> str:
    delimiter = NAMES_OF_DELIMITERS.get(delimiter, delimiter)
    if len(delimiter) != 1 or delimiter in '"\n\r' or delimiter.isalnum():
        raise CommandError(
            f"--delimiter {delimiter!r} must be one mark such as ',' or ';', or the word tab"
        )
    return delimiter


def _spelled(delimiter: str) -> str:
    return {"\t": "tabs", " ": "blanks"}.get(delimiter, repr(delimiter))


def _column_names(first: list[str], has_header: bool) -> tuple[list[str], list[str]]:
    if not has_header:
        names = [f"x{j}" for j in range(len(first))]
        return names, ["the first row holds numbers, so the columns are called " + _span(names)]
    notes, names, seen = [], [], set[str]()
    for position, cell in enumerate(first):
        name = cell.strip() or f"unnamed_{position}"
        unique, copy = name, 1
        while unique in seen:
            unique, copy = f"{name}.{copy}", copy + 1
        if unique != name:
            notes.append(f"a second column {name!r} is called {unique!r}")
        seen.add(unique)
        names.append(unique)
    return names, notes


def _span(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"


def _is_number(cell: str) -> bool:
    cell = cell.strip()
    if DECIMAL_COMMA.fullmatch(cell):
        return True
    try:
        float(cell)
    except ValueError:
        return False
    return cell.lower() not in {"nan", "inf", "infinity"}


def _decimal_commas(frame: pd.DataFrame) -> list[str]:
    """Text columns whose cells are numbers with a decimal comma, and not all with thousands."""
    found = []
    for name in frame.columns:
        column = frame[name]
        if pd.api.types.is_numeric_dtype(column):
            continue
        cells = [str(cell).strip() for cell in column.dropna()]
        with_comma = [cell for cell in cells if DECIMAL_COMMA.fullmatch(cell)]
        whole = [cell for cell in cells if cell.lstrip("+-").isdigit()]
        if (
            with_comma
            and len(with_comma) + len(whole) == len(cells)
            and not all(THOUSANDS_COMMA.fullmatch(cell) for cell in with_comma)
        ):
            found.append(str(name))
    return found
