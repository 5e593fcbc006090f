"""What a file of images holds: training and test arrays, plain or as JPEG copies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from statformer.images.jpeg import decode_images
from statformer.images.npz import PARTS, array_names, read_array, read_splits

LOSSY = "decoded from JPEG copies, which are lossy: not the original pixels"
_MAX_NOTE = 500


@dataclass(frozen=True)
class ImageArrays:
    """Images "n h w" (grey) or "n h w c" (colour) with labels "n".

    `note` is empty for originals. Else it says in what way the images are not the original ones,
    and every result that rests on them must repeat it.
    """

    train_images: UInt8[np.ndarray, "n h w *c"]
    train_labels: UInt8[np.ndarray, " n"]
    test_images: UInt8[np.ndarray, "m h w *c"]
    test_labels: UInt8[np.ndarray, " m"]
    note: str = ""

    def __post_init__(self) -> None:
        train, test = self.train_images.shape[1:], self.test_images.shape[1:]
        if train != test or len(train) not in (2, 3) or (len(train) == 3 and train[2] != 3):
            raise ValueError(
                f"train_images have shape (n, *{train}) and test_images (n, *{test}); pass grey "
                "images (n, rows, columns) or colour images (n, rows, columns, 3) of one size"
            )
        if not (len(self.train_images) and len(self.test_images)):
            raise ValueError("pass at least one training image and one test image")

    @property
    def n_classes(self) -> int:
        """One more than the largest training label."""
        return int(self.train_labels.max()) + 1


def read_images(path: str | Path) -> ImageArrays:
    """The images of an .npz file, plain or as JPEG copies.

    Plain: `train_images`, `train_labels`, `test_images`, `test_labels`, all uint8. As JPEG copies:
    `train_bytes` (uint8), `train_offsets` (int64, one more than images; image i is the JPEG in
    bytes[offsets[i]:offsets[i + 1]]) and `train_labels`, likewise `test_*`. Either may have a
    `note`, one string. Nothing is executed, and sizes are checked before memory is taken.

    Raises FileNotFoundError; ValueError where the file is not of this form, an array is too large
    or damaged, or a test label is not among those of the training images; MissingExtraError where
    JPEG copies meet no Pillow.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; pass an .npz with {PARTS} images")
    names = array_names(path)
    note = _note(path) if "note" in names else ""
    if "train_bytes" in names and "train_images" not in names:
        splits = {part: _decoded(path, part) for part in PARTS}
        note = note or LOSSY
    else:
        splits = read_splits(path)
    (train_images, train_labels), (test_images, test_labels) = (splits[part] for part in PARTS)
    try:
        arrays = ImageArrays(train_images, train_labels, test_images, test_labels, note)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    unknown = int(test_labels.max())
    if unknown >= arrays.n_classes:
        raise ValueError(
            f"{path}: test_labels has {unknown}, train_labels end at {arrays.n_classes - 1}"
        )
    return arrays


def _decoded(path: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    content = read_array(path, f"{part}_bytes")
    offsets = read_array(path, f"{part}_offsets", "int64")
    labels = read_array(path, f"{part}_labels")
    if labels.ndim != 1 or offsets.shape != (len(labels) + 1,):
        raise ValueError(
            f"{path}: {part}_offsets has shape {offsets.shape} and {part}_labels {labels.shape}; "
            "one label per image, and one offset more, are expected"
        )
    try:
        return decode_images(content, offsets), labels
    except ValueError as error:
        raise ValueError(f"{path}: {part}_bytes cannot be decoded ({error})") from None


def _note(path: Path) -> str:
    note = read_array(path, "note", "text")
    text = str(note) if note.shape == () else ""
    if not 0 < len(text) <= _MAX_NOTE or not text.isprintable():
        raise ValueError(f"{path}: note must be one string of 1 to {_MAX_NOTE} printable letters")
    return text
