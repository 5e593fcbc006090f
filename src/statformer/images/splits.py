"""MNIST and CIFAR-10 by name: from a folder of yours, else the cache, else the internet, once."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np

from statformer.images.arrays import ImageArrays, read_images
from statformer.images.download import DownloadError, fetch
from statformer.images.originals import SOURCES, Arrays

FOLDER_VARIABLE = "STATFORMER_IMAGES"
N_CLASSES = 10


def image_splits(name: str) -> ImageArrays:
    """The images called "mnist" (n, 28, 28) or "cifar10" (n, 32, 32, 3), labels 0 to 9.

    They are read from <name>.npz, in the form of `read_images`: in the folder that the environment
    variable STATFORMER_IMAGES names, else in the cache (statformer/images in $XDG_CACHE_HOME, else
    in ~/.cache). Where neither has it, the originals are downloaded, compared with their SHA-256
    and kept in the cache.

    Raises ValueError for another name, for a STATFORMER_IMAGES that is no folder and for a file of
    another form; DownloadError (an OSError) where nothing is here and nothing can be fetched.
    """
    if name not in SOURCES:
        raise ValueError(f"name={name!r}: pass one of {', '.join(map(repr, SOURCES))}")
    kept = cache_folder() / f"{name}.npz"
    for path in (_own_file(name), kept):
        if path is not None and path.is_file():
            return _checked(name, path)
    try:
        contents = {key: fetch(file) for key, file in SOURCES[name].files.items()}
    except DownloadError as error:
        raise DownloadError(
            f"{name}: no {name}.npz in ${FOLDER_VARIABLE} or in {kept.parent}, and the originals "
            f"could not be downloaded ({error}); put {name}.npz into a folder and set "
            f"{FOLDER_VARIABLE} to it, or try again with a connection"
        ) from None
    _write(kept, SOURCES[name].parse(contents))
    return _checked(name, kept)


def cache_folder() -> Path:
    """Where downloaded images are kept."""
    base = os.environ.get("XDG_CACHE_HOME")
    # the specification of XDG asks that a relative path is ignored
    root = Path(base) if base and Path(base).is_absolute() else Path.home() / ".cache"
    return root / "statformer" / "images"


def _own_file(name: str) -> Path | None:
    folder = os.environ.get(FOLDER_VARIABLE)
    if not folder:
        return None
    if not Path(folder).is_dir():
        raise ValueError(f"{FOLDER_VARIABLE}={folder}: no such folder; name one with {name}.npz")
    return Path(folder) / f"{name}.npz"


def _checked(name: str, path: Path) -> ImageArrays:
    """The images of a file that must look like those called `name`."""
    images = read_images(path)
    shape = {"mnist": (28, 28), "cifar10": (32, 32, 3)}[name]
    if images.train_images.shape[1:] != shape or images.n_classes > N_CLASSES:
        raise ValueError(
            f"{path}: images of shape {images.train_images.shape[1:]} with {images.n_classes} "
            f"classes; {name} has {shape} and {N_CLASSES}"
        )
    return images


def _write(path: Path, arrays: Arrays) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
