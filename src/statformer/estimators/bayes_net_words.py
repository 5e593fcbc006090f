"""Numbers for the cells of a column of text, by something cheaper to compare than text.

A word of at most 8 bytes is itself a whole number, and objects that are the same object are equal.
What is neither is left to pandas.

Axes: n rows, k distinct cells.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int

Array = np.ndarray

MOST_BYTES = 8
SAMPLE, MOST_OBJECTS = 1024, 64  # rows looked at, and objects among them, for a column worth it
_MASKS = np.array([(1 << (8 * length)) - 1 for length in range(MOST_BYTES + 1)], dtype="<u8")


def short_words(column: pd.Series) -> tuple[Int[Array, " n"], list[str]] | None:
    """Codes, and the distinct words in ascending order; None for columns of another kind.

    The column must be text that pyarrow holds, without missing cells, and of short words.
    """
    if getattr(column.dtype, "storage", "") != "pyarrow" or not len(column):
        return None
    held: Any = column.array.__arrow_array__()  # pyarrow's own protocol; it is there already
    held = held.chunk(0) if held.num_chunks == 1 else held.combine_chunks()
    width = {"string": "<i4", "large_string": "<i8"}.get(str(held.type))
    if width is None or held.null_count:
        return None
    _, ends, text = held.buffers()
    edges = np.frombuffer(ends, dtype=width)[held.offset : held.offset + len(held) + 1]
    lengths = np.diff(edges)
    if lengths.max() > MOST_BYTES or text is None:
        return None
    used = np.frombuffer(text, dtype=np.uint8)[edges[0] : edges[-1]]
    if not used.all():  # a zero byte could be mistaken for the end of a word
        return None
    padded = np.concatenate([used, np.zeros(MOST_BYTES, dtype=np.uint8)])
    windows = np.ndarray(len(used) + 1, dtype="<u8", buffer=padded, strides=(1,))
    codes, distinct = pd.factorize(windows[edges[:-1] - edges[0]] & _MASKS[lengths])
    words = [int(key).to_bytes(MOST_BYTES, "little").rstrip(b"\0").decode() for key in distinct]
    order = sorted(range(len(words)), key=words.__getitem__)
    rank = np.empty(len(words), dtype=np.int8 if len(words) <= 2**7 else np.intp)
    rank[order] = np.arange(len(words))
    return rank[codes], [words[i] for i in order]


def same_objects(cells: Array) -> tuple[Int[Array, " n"], Any] | None:
    """Codes (-1 where missing) and distinct values of Python objects, if few objects recur.

    Raises TypeError for objects that cannot be hashed.
    """
    if cells.dtype != object or not len(cells):
        return None
    cells = np.ascontiguousarray(cells)
    addresses = np.ndarray(len(cells), dtype=np.intp, buffer=cells.data)
    if len(np.unique(addresses[:SAMPLE])) > MOST_OBJECTS:
        return None
    codes, distinct = pd.factorize(addresses)
    if len(distinct) > SAMPLE:
        return None
    first = np.empty(len(distinct), dtype=np.intp)
    first[codes[::-1]] = np.arange(len(codes))[::-1]
    places, values = pd.factorize(cells[first])
    return places[codes], values
