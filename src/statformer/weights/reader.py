"""Read a safetensors file that nobody has to trust: everything is checked before it is used.

The format is eight bytes (the length of the header, little-endian), a JSON header, and the tensors
side by side. Sizes are compared with the length of the file before anything is allocated; nothing
in the file is ever executed. The format is described at github.com/huggingface/safetensors.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

MAX_HEADER_BYTES = 2**20
_DTYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}
_FOREIGN = {
    b"PK\x03\x04": "a zip archive (torch.save writes those, with pickles inside)",
    b"\x93NUM": "a .npy file",
    b"\x89HDF": "an HDF5 file",
}


class WeightsError(ValueError):
    """A weight or model file is missing a part, damaged, foreign, or not the one expected."""


def read_safetensors(
    path: Path, max_bytes: int
) -> tuple[dict[str, Shaped[np.ndarray, "..."]], dict[str, str], bytes]:
    """Tensors, metadata and raw bytes of the safetensors file `path`.

    Raises FileNotFoundError where there is no such file, WeightsError where it is larger than
    `max_bytes`, truncated, corrupted or in another format.
    """
    data = read_bytes(path, max_bytes)
    header, start = _header(path, data)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise WeightsError(f"{path}: the metadata of the header is not a table of strings")
    body = memoryview(data)[start:]
    spans = {name: _span(path, name, entry, len(body)) for name, entry in header.items()}
    _check_spans_tile(path, spans, len(body))
    tensors = {}
    for name, (dtype, shape, first, last) in spans.items():
        tensors[name] = np.frombuffer(body[first:last], dtype=dtype).reshape(shape).copy()
    return tensors, metadata, data


def read_bytes(path: Path, max_bytes: int) -> bytes:
    """The bytes of `path`, refused before reading when there are more than `max_bytes`."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    size = path.stat().st_size
    if size > max_bytes:
        raise WeightsError(
            f"{path}: {size} bytes, more than the {max_bytes} expected at most; is it another file?"
        )
    with path.open("rb") as file:
        return file.read(max_bytes)


def read_json(path: Path, max_bytes: int) -> dict[str, Any]:
    """The JSON object in `path`; WeightsError where there is none."""
    return parse_object(path, read_bytes(path, max_bytes))


def parse_object(path: Path, text: str | bytes) -> dict[str, Any]:
    """The JSON object in `text`, which came from `path`."""
    try:
        value = json.loads(text, object_pairs_hook=_no_duplicates)
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: not readable as JSON ({error})") from None
    if not isinstance(value, dict):
        raise WeightsError(f"{path}: holds a JSON {type(value).__name__}, not an object")
    return value


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key occurs twice")
    return result


def _header(path: Path, data: bytes) -> tuple[dict[str, Any], int]:
    for magic, kind in _FOREIGN.items():
        if data.startswith(magic):
            raise WeightsError(f"{path}: {kind}, not safetensors; it was not opened")
    # a header of 0x0280 to 0x05ff bytes begins alike, but goes on with zeros
    if data[:1] == b"\x80" and data[1:2] in {b"\2", b"\3", b"\4", b"\5"} and any(data[2:8]):
        raise WeightsError(f"{path}: a pickle, not safetensors; it was not opened")
    if len(data) < 8:
        raise WeightsError(f"{path}: {len(data)} bytes, too short for a safetensors file")
    length = int.from_bytes(data[:8], "little")
    if length > min(MAX_HEADER_BYTES, len(data) - 8):
        raise WeightsError(
            f"{path}: the header should have {length} bytes, the file has {len(data)}; "
            "it is truncated or in another format"
        )
    return parse_object(path, data[8 : 8 + length]), 8 + length


Span = tuple[np.dtype[Any], tuple[int, ...], int, int]


def _span(path: Path, name: str, entry: object, n_bytes: int) -> Span:
    """dtype, shape, first and last byte of one tensor, checked against the length of the file."""
    if not isinstance(entry, Mapping) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise WeightsError(f"{path}: the header entry of {name!r} is not dtype, shape, offsets")
    dtype = _DTYPES.get(entry["dtype"]) if isinstance(entry["dtype"], str) else None
    if dtype is None:
        raise WeightsError(
            f"{path}: {name!r} has dtype {entry['dtype']!r}; known are {sorted(_DTYPES)}"
        )
    shape, offsets = entry["shape"], entry["data_offsets"]
    if not _are_counts(shape) or len(shape) > 8 or not _are_counts(offsets) or len(offsets) != 2:
        raise WeightsError(f"{path}: {name!r} has shape {shape!r} and offsets {offsets!r}")
    first, last = offsets
    if not first <= last <= n_bytes:
        raise WeightsError(
            f"{path}: {name!r} should end at byte {last} of {n_bytes}; the file is truncated"
        )
    if prod(shape) * dtype.itemsize != last - first:
        raise WeightsError(
            f"{path}: {name!r} of shape {shape} and dtype {entry['dtype']} does not fit into "
            f"{last - first} bytes"
        )
    return dtype, tuple(shape), first, last


def _are_counts(value: object) -> bool:
    return isinstance(value, list) and all(type(v) is int and v >= 0 for v in value)


def _check_spans_tile(path: Path, spans: Mapping[str, Span], n_bytes: int) -> None:
    """Tensors must lie side by side from the first byte to the last."""
    at = 0
    for name, (_, _, first, last) in sorted(spans.items(), key=lambda item: item[1][2:]):
        if first != at:
            raise WeightsError(f"{path}: {name!r} begins at byte {first}, expected {at}")
        at = last
    if at != n_bytes:
        raise WeightsError(f"{path}: {n_bytes - at} bytes belong to no tensor")
