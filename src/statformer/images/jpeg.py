"""Images kept as JPEG files side by side in one array of bytes."""

from __future__ import annotations

import math
import warnings
from io import BytesIO
from typing import Any

import numpy as np
from jaxtyping import Int64, UInt8

from statformer._extras import require
from statformer.images import npz


def decode_images(
    content: UInt8[np.ndarray, " b"], offsets: Int64[np.ndarray, " n1"]
) -> UInt8[np.ndarray, "n h w 3"]:
    """Image i is the JPEG in content[offsets[i]:offsets[i + 1]]; all have the size of the first.

    Raises ValueError where the offsets do not cut `content` into pieces or a piece is no JPEG of
    that size, MissingExtraError without Pillow.
    """
    n = len(offsets) - 1
    in_order = n > 0 and content.ndim == 1 and offsets[0] == 0 and offsets[-1] == len(content)
    if not (in_order and bool((np.diff(offsets) > 0).all())):
        raise ValueError("the offsets must rise from 0 to the number of bytes")
    pillow = require("PIL.Image", "robust")
    data = content.tobytes()
    width, height = _open(pillow, data, 0, int(offsets[1])).size
    shape = (n, height, width, 3)
    if math.prod(shape) > npz.MAX_BYTES:
        raise ValueError(f"{n} images of {height} x {width} are more than {npz.MAX_BYTES} bytes")
    images = np.empty(shape, np.uint8)
    for i in range(n):
        picture = _open(pillow, data, int(offsets[i]), int(offsets[i + 1]))
        if picture.size != (width, height):
            raise ValueError(f"image {i} has size {picture.size}, image 0 {(width, height)}")
        try:
            images[i] = np.asarray(picture.convert("RGB"))
        except OSError as error:
            raise ValueError(f"image {i} is damaged ({error})") from None
    return images


def _open(pillow: Any, data: bytes, first: int, last: int) -> Any:
    """The header of a picture; its pixels are not read yet."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", pillow.DecompressionBombWarning)  # MAX_BYTES decides
            return pillow.open(BytesIO(data[first:last]), formats=["JPEG"])
    except (OSError, pillow.DecompressionBombError) as error:
        raise ValueError(f"bytes {first} to {last} are no JPEG ({error})") from None
