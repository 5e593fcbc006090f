"""Where the original images lie, what they must look like, and how their files are read.

MNIST: the four gzipped IDX files. CIFAR-10: the archive of plain records ("binary version"); the
other archive holds pickles and is never read. Sizes and SHA-256 are those that several independent
public projects list alike, of the files at these addresses.
"""

from __future__ import annotations

import gzip
import io
import math
import tarfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from statformer.images import npz

Arrays = dict[str, np.ndarray]

_COLOURS, _SIDE = 3, 32


@dataclass(frozen=True)
class Original:
    """A file: where it is found (tried in this order), its bytes, and their SHA-256."""

    urls: tuple[str, ...]
    n_bytes: int
    sha256: str


@dataclass(frozen=True)
class Source:
    """A data set: its files, and how their contents become the four arrays of `ImageArrays`."""

    files: Mapping[str, Original]
    parse: Callable[[Mapping[str, bytes]], Arrays]


def parse_idx(content: bytes, n_axes: int) -> UInt8[np.ndarray, "..."]:
    """The array of a gzipped IDX file of bytes: 0, 0, 8, n_axes, the lengths (big-endian), bytes.

    Raises ValueError where the file is not of this form or too large.
    """
    try:
        with gzip.open(io.BytesIO(content)) as file:
            data = file.read(npz.MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"not a gzip file ({error})") from None
    head = 4 + 4 * n_axes
    if len(data) < head or data[:4] != bytes((0, 0, 8, n_axes)):
        raise ValueError(f"not an IDX file of bytes with {n_axes} axes")
    shape = [int.from_bytes(data[4 + 4 * i : 8 + 4 * i], "big") for i in range(n_axes)]
    if math.prod(shape) != len(data) - head:
        raise ValueError(f"its header promises {shape} bytes where there are {len(data) - head}")
    return np.frombuffer(data, np.uint8, offset=head).reshape(shape).copy()


def parse_mnist(contents: Mapping[str, bytes]) -> Arrays:
    """MNIST from its four files."""
    return {
        name: parse_idx(content, 3 if name.endswith("images") else 1)
        for name, content in contents.items()
    }


def parse_cifar10(contents: Mapping[str, bytes]) -> Arrays:
    """CIFAR-10 from its archive: records of a label and 3 x 32 x 32 bytes, colour by colour.

    Members are read by their exact names into memory; no other member is looked at and nothing is
    written. Raises ValueError where one is missing, no plain file, or of another length.
    """
    (content,) = contents.values()
    batches = {"train": [f"data_batch_{i}" for i in range(1, 6)], "test": ["test_batch"]}
    arrays = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
            for part, names in batches.items():
                records = np.concatenate([_records(archive, name) for name in names])
                arrays[f"{part}_labels"] = records[:, 0].copy()
                images = records[:, 1:].reshape(-1, _COLOURS, _SIDE, _SIDE)
                arrays[f"{part}_images"] = np.ascontiguousarray(images.transpose(0, 2, 3, 1))
    except (tarfile.TarError, OSError, EOFError, zlib.error, KeyError) as error:
        raise ValueError(f"not the archive of CIFAR-10 ({error})") from None
    return arrays


def _records(archive: tarfile.TarFile, name: str) -> UInt8[np.ndarray, "n 3073"]:
    member = archive.getmember(f"cifar-10-batches-bin/{name}.bin")
    width = 1 + _COLOURS * _SIDE**2
    if not member.isreg() or member.size % width or not 0 < member.size <= npz.MAX_BYTES:
        raise ValueError(f"{member.name} is not a plain file of records of {width} bytes")
    file = archive.extractfile(member)
    data = file.read(member.size) if file is not None else b""
    if len(data) != member.size:
        raise ValueError(f"{member.name} ends after {len(data)} of {member.size} bytes")
    return np.frombuffer(data, np.uint8).reshape(-1, width)


_MNIST_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)


def _mnist(file: str, n_bytes: int, sha256: str) -> Original:
    return Original(tuple(f"{mirror}{file}" for mirror in _MNIST_MIRRORS), n_bytes, sha256)


SOURCES: dict[str, Source] = {
    "mnist": Source(
        {
            "train_images": _mnist(
                "train-images-idx3-ubyte.gz",
                9_912_422,
                "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            ),
            "train_labels": _mnist(
                "train-labels-idx1-ubyte.gz",
                28_881,
                "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            ),
            "test_images": _mnist(
                "t10k-images-idx3-ubyte.gz",
                1_648_877,
                "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            ),
            "test_labels": _mnist(
                "t10k-labels-idx1-ubyte.gz",
                4_542,
                "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            ),
        },
        parse_mnist,
    ),
    "cifar10": Source(
        {
            "cifar-10-binary": Original(
                ("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",),
                170_052_171,
                "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            )
        },
        parse_cifar10,
    ),
}
