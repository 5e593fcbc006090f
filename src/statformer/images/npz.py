"""Arrays of an .npz file that nobody has to trust: each is checked before it is read.

Nothing in the file is ever executed. The header of an array is compared with what is there and with
`MAX_BYTES` before anything is allocated.
"""

from __future__ import annotations

import math
import tokenize
import zipfile
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

MAX_BYTES = 2**29  # of one array; MNIST has 47 million, CIFAR-10 has 154 million
PARTS = ("train", "test")
# what a damaged or foreign zip can raise; RuntimeError: encrypted, or compressed in another way;
# TokenError: NumPy meets a header that is no Python literal
_UNREADABLE = (
    KeyError,
    ValueError,
    OSError,
    EOFError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
    tokenize.TokenError,
)


def read_splits(
    path: str | Path,
) -> dict[str, tuple[Shaped[np.ndarray, "n ..."], Shaped[np.ndarray, " n"]]]:
    """The images and labels of "train" and of "test", as they lie in an .npz file.

    The file holds `train_images` and `test_images` (uint8, first axis n) and `train_labels` and
    `test_labels` (uint8).

    Raises FileNotFoundError, and ValueError where the file is not of this form or an array has
    more than `MAX_BYTES` bytes.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; pass an .npz with {PARTS} images")
    splits = {}
    for part in PARTS:
        images, labels = read_array(path, f"{part}_images"), read_array(path, f"{part}_labels")
        if images.ndim < 2 or labels.shape != images.shape[:1]:
            raise ValueError(
                f"{path}: {part}_images has shape {images.shape} and {part}_labels "
                f"{labels.shape}; one label per image is expected"
            )
        splits[part] = (images, labels)
    return splits


def array_names(path: Path) -> set[str]:
    """The names of the arrays in an .npz file. Raises ValueError where it is no such file."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {name.removesuffix(".npy") for name in archive.namelist()}
    except _UNREADABLE as error:
        raise ValueError(f"{path}: not an .npz file ({error})") from None


def read_array(path: Path, name: str, kind: str = "uint8") -> Shaped[np.ndarray, "..."]:
    """One array; its header is compared with what is there before it is read.

    `kind` is the name of the dtype, or "text" for strings.

    Raises ValueError where there is no such array, or not one of this kind, length or size.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            size = archive.getinfo(f"{name}.npy").file_size
            with archive.open(f"{name}.npy") as member:
                version = np.lib.format.read_magic(member)
                if version != (1, 0):
                    raise ValueError(f"format version {version} is not the usual (1, 0)")
                shape, _, dtype = np.lib.format.read_array_header_1_0(member)
                header = member.tell()
        if (dtype.kind != "U") if kind == "text" else (dtype != np.dtype(kind)):
            raise ValueError(f"its type is {dtype}, expected {kind}")
        promised = math.prod(shape) * dtype.itemsize
        if promised > MAX_BYTES or promised != size - header:
            raise ValueError(
                f"its header promises {promised} bytes where there are {size - header} "
                f"and at most {MAX_BYTES} are read"
            )
        with np.load(path, allow_pickle=False) as arrays:
            return arrays[name]
    except _UNREADABLE as error:
        raise ValueError(f"{path}: {name} cannot be read ({error})") from None
