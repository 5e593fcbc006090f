"""What `statformer robust train` and `evaluate` take alike, and its checks."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from statformer.cli.errors import CommandError, one_line
from statformer.images import ImageArrays, image_splits, read_images

NAMED = ("mnist", "cifar10")

Data = Annotated[
    str,
    typer.Option(
        metavar="FILE.npz|mnist|cifar10",
        help="Images: train_images, train_labels, test_images, test_labels, all uint8.",
    ),
]
Device = Annotated[str, typer.Option(metavar="cpu|cuda", help="Where to compute.")]
Eps = Annotated[
    float, typer.Option(metavar="N", help="Largest change of a pixel, in 1/255: 8 means 8/255.")
]


def images_of(data: str) -> ImageArrays:
    """The images of a file, or the named ones."""
    try:
        return image_splits(data) if data in NAMED else read_images(data)
    except (ValueError, OSError) as error:
        raise CommandError(f"--data: {one_line(error)}") from error


def first_images(first: int | None, there: int) -> int:
    """How many images --first asks for."""
    if first is not None and not 1 <= first <= there:
        raise CommandError(f"--first is {first}; pass 1 to {there}, the number of images")
    return there if first is None else first


def check_device(device: str) -> None:
    """Raise CommandError where there is no such device."""
    import torch

    try:
        asked = torch.device(device)
    except RuntimeError:
        asked = torch.device("meta")
    if asked.type not in ("cpu", "cuda"):
        raise CommandError(f"--device is {device!r}; pass cpu or cuda")
    n_gpus = torch.cuda.device_count()
    if asked.type == "cuda" and (asked.index or 0) >= n_gpus:
        raise CommandError(
            f"--device is {device!r} and there are {n_gpus} such devices; pass "
            f"{'another' if n_gpus else 'cpu'}"
        )


def or_none(name: str) -> Any:
    """An option that "none" switches off."""
    return None if name == "none" else name


def is_json(asked: bool | None) -> bool:
    """Whether the answer is JSON."""
    return not sys.stdout.isatty() if asked is None else asked
