"""Damaged and foreign files are refused before anything is allocated or run."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from statformer.weights import WeightsError, read_safetensors

LIMIT = 2**20


def with_header(header: object, body: bytes = b"\0" * 16) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def entry(shape: object = (4,), offsets: object = (0, 16), dtype: object = "F32") -> dict:
    return {"a": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}


GOOD = save({"a": np.arange(6.0).reshape(2, 3), "b": np.ones((), np.float32)}, {"note": "x"})

HOSTILE: dict[str, bytes] = {
    "empty": b"",
    "short": b"\1\0\0",
    "cut header": GOOD[:40],
    "cut body": GOOD[:-1],
    "longer": GOOD + b"\0",
    "huge header": (2**62).to_bytes(8, "little") + b"{}",
    "pickle": pickle.dumps({"a": 1}),
    "zip": b"PK\x03\x04" + b"\0" * 60,
    "npy": b"\x93NUMPY" + b"\0" * 60,
    "hdf5": b"\x89HDF" + b"\0" * 60,
    "text": b"weights\n" * 10,
    "no object": with_header([1, 2]),
    "no JSON": with_header(b"{not json"),
    "deep JSON": with_header(b"[" * 100_000),
    "twice": with_header(b'{"a": 1, "a": 2}'),
    "no entry": with_header({"a": 3}),
    "extra field": with_header({"a": {**entry()["a"], "code": "x"}}),
    "dtype": with_header(entry(dtype="F7")),
    "dtype kind": with_header(entry(dtype=["F32"])),
    "negative shape": with_header(entry(shape=[-4])),
    "float shape": with_header(entry(shape=[4.0])),
    "true shape": with_header(entry(shape=[True, 4])),
    "overflowing shape": with_header(entry(shape=[2**40, 2**40])),
    "wrong shape": with_header(entry(shape=[5])),
    "many axes": with_header(entry(shape=[1] * 40 + [4])),
    "offsets beyond": with_header(entry(shape=[2**20], offsets=[0, 2**22])),
    "offsets reversed": with_header(entry(offsets=[16, 0])),
    "three offsets": with_header(entry(offsets=[0, 8, 16])),
    "gap": with_header(entry(shape=[2], offsets=[8, 16])),
    "overlap": with_header({**entry(), "b": entry(shape=[2], offsets=[8, 16])["a"]}),
    "unclaimed": with_header(entry(shape=[2], offsets=[0, 8])),
    "metadata": with_header({**entry(), "__metadata__": {"a": 1}}),
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_hostile_file_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(data)
    with pytest.raises(WeightsError, match=r"x\.safetensors"):
        read_safetensors(path, LIMIT)


def test_good_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(GOOD)
    tensors, metadata, data = read_safetensors(path, LIMIT)
    assert metadata == {"note": "x"}
    assert data == GOOD
    np.testing.assert_array_equal(tensors["a"], np.arange(6.0).reshape(2, 3))
    assert tensors["b"].shape == ()


def test_no_length_of_the_header_looks_like_a_pickle(tmp_path: Path) -> None:
    for length in range(600, 700):
        path = tmp_path / f"{length}.safetensors"
        path.write_bytes(save({"a": np.ones(1)}, {"note": "x" * length}))
        read_safetensors(path, LIMIT)


def test_size_is_checked_before_reading(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(GOOD)
    with pytest.raises(WeightsError, match="more than the 10 expected"):
        read_safetensors(path, 10)
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_safetensors(tmp_path / "y.safetensors", 10)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_disturbed_bytes_never_escape(tmp_path_factory: Callable, data: st.DataObject) -> None:
    """Any edit of the bytes is refused with a WeightsError, or gives tensors of a sane size."""
    path = tmp_path_factory.mktemp("x") / "x.safetensors"
    edited = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 4))):
        edited[data.draw(st.integers(0, len(GOOD) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(edited[: data.draw(st.integers(0, len(GOOD)))]) or b"\0")
    try:
        tensors, _, _ = read_safetensors(path, LIMIT)
    except WeightsError:
        return
    assert sum(value.nbytes for value in tensors.values()) <= len(GOOD)
