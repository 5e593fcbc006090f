"""Whatever the bytes, a table is read or one line says why not."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from statformer.cli.columns import select_columns
from statformer.cli.errors import CommandError
from statformer.cli.reading import read_table

CELLS = st.sampled_from(
    ["", "1", "-2.5", "1,5", "1e400", "inf", "nan", "?", "x", "é", '"', "'", "a b", "2020-01-01",
     "TRUE", "0x1F", "1_000", " 3 ", "#", "\\", "\x0b", "９", "1;2"]
)  # fmt: skip
TEXTS = st.builds(
    lambda delimiter, rows, ending: ending.join(delimiter.join(row) for row in rows),
    st.sampled_from([",", ";", "\t", "|", " "]),
    st.lists(st.lists(CELLS, min_size=1, max_size=4), max_size=6),
    st.sampled_from(["\n", "\r\n", "\r"]),
)


@settings(max_examples=300, deadline=None)
@given(st.one_of(TEXTS.map(lambda text: text.encode()), st.binary(max_size=60)))
@example(b'a,b\n"1"x,2\n')
@example(b"PAR1")
@example(b"\x93NUMPY\x01\x00\x10\x00{'descr': 'O'}   ")
@example(b"\x1f\x8b\x08")
@example(b"\xff\xfea")
def test_read_or_refused(data: bytes) -> None:
    with tempfile.NamedTemporaryFile(suffix=".csv") as file:
        Path(file.name).write_bytes(data)
        with contextlib.suppress(CommandError):
            table = read_table(file.name)
            assert table.frame.shape[0] > 0
            assert list(table.original().columns) == list(table.frame.columns)
            assert len(table.original()) == len(table.frame)
            assert select_columns(table.frame).frame.shape[1] > 0
