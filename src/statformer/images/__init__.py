"""Images with labels, as uint8 arrays: read from a file, or the originals fetched once.

Axes: n images, h rows, w columns of pixels, c colours.
"""

from __future__ import annotations

from statformer.images.arrays import ImageArrays, read_images
from statformer.images.npz import read_splits
from statformer.images.splits import image_splits

__all__ = ["ImageArrays", "image_splits", "read_images", "read_splits"]
