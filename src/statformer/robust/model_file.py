"""A trained image classifier as one file: weights as safetensors, and what to build in its header.

Axes: k colours, h rows and w columns of pixels, c classes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from safetensors.torch import save
from torch import Generator, Tensor

from statformer.nn.image_classifiers import ResNet18, SmallCNN
from statformer.pretraining.checkpoint import write_atomically
from statformer.weights.reader import WeightsError, read_safetensors

__all__ = ["MODELS", "ImageModel", "load_model", "save_model"]

MODELS = ("resnet18", "small-cnn")
MAX_BYTES = 2**30
_KEY = "statformer.robust"
_DIGITS = 4
_CHUNK = 1000


@dataclass(frozen=True)
class ImageModel:
    """Which network: its name (of `MODELS`), classes, image size "h w", and normalisation."""

    name: str
    n_classes: int
    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if self.name not in MODELS:
            raise ValueError(f"model {self.name!r}: pass one of {', '.join(MODELS)}")

    @classmethod
    def for_images(
        cls, name: str, images: UInt8[np.ndarray, "n h w *k"], n_classes: int
    ) -> ImageModel:
        """Normalised by the mean and the standard deviation of each colour of these images."""
        n_colours = images.shape[3] if images.ndim == 4 else 1
        counts, values = np.zeros((n_colours, 256)), np.arange(256) / 255
        for first in range(0, len(images), _CHUNK):  # so that no large copy is made
            pixels = images[first : first + _CHUNK].reshape(-1, n_colours)
            counts += [np.bincount(colour, minlength=256) for colour in pixels.T]
        shares = counts / counts.sum(1, keepdims=True)
        mean = shares @ values
        std = np.sqrt(np.maximum(shares @ values**2 - mean**2, 0.0))
        height, width = images.shape[1:3]
        return cls(
            name,
            n_classes,
            (height, width),
            tuple(round(float(m), _DIGITS) for m in mean),
            tuple(max(round(float(s), _DIGITS), 10**-_DIGITS) for s in std),
        )

    def build(self, generator: Generator) -> ResNet18 | SmallCNN:
        """The network with weights drawn from `generator`."""
        about: dict[str, Any] = {"mean": self.mean, "std": self.std, "generator": generator}
        if self.name == "resnet18":
            return ResNet18(self.n_classes, **about)
        return SmallCNN(self.n_classes, size=self.size, **about)


def save_model(path: Path, model: ImageModel, weights: Mapping[str, Tensor]) -> None:
    """Write the weights (a state dict) and what they belong to; the file is replaced whole."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
    write_atomically(path, save(tensors, {_KEY: json.dumps(asdict(model))}))


def load_model(path: Path) -> tuple[ImageModel, ResNet18 | SmallCNN]:
    """The network of a file, in eval mode.

    Raises FileNotFoundError; WeightsError where the file is damaged, of another kind, or its
    weights are not those of the network it names. Nothing in the file is executed.
    """
    arrays, metadata, _ = read_safetensors(path, MAX_BYTES)
    if _KEY not in metadata:
        raise WeightsError(
            f"{path}: these weights do not say to which network they belong; pass a file that "
            "`statformer robust train` wrote"
        )
    try:
        about = json.loads(metadata[_KEY])
        model = ImageModel(
            str(about["name"]),
            int(about["n_classes"]),
            (int(about["size"][0]), int(about["size"][1])),
            tuple(map(float, about["mean"])),
            tuple(map(float, about["std"])),
        )
        _check_sizes(model, arrays)
        network = model.build(Generator().manual_seed(0))
        network.load_state_dict({name: torch.from_numpy(value) for name, value in arrays.items()})
    except (KeyError, TypeError, ValueError, IndexError, OverflowError, RuntimeError) as error:
        line = " ".join(str(error).split())
        raise WeightsError(f"{path}: not the weights of a network of ours ({line})") from None
    return model, network.eval()


def _check_sizes(model: ImageModel, arrays: Mapping[str, np.ndarray]) -> None:
    """Raise ValueError where the header promises a larger network than the file holds."""
    n_colours, n_classes = len(arrays["normalization.mean"]), len(arrays["head.bias"])
    promised = {"mean": (len(model.mean), n_colours), "n_classes": (model.n_classes, n_classes)}
    if model.name == "small-cnn":
        n_pixels = (model.size[0] // 4) * (model.size[1] // 4)
        channels = len(arrays["norm2.weight"])
        promised["size"] = (n_pixels * channels, arrays["hidden.weight"].shape[1])
    for name, (told, there) in promised.items():
        if told != there:
            raise ValueError(f"{name} is for {told} where the weights have {there}")
