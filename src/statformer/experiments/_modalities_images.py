"""Coloured digits seen through views, and through an idealised language: arXiv 2411.02837, Table 1.

The paper's: the data (`tasks.colored_digits`), an ideal language encoder (digit one-hot and colour
one-hot) beside the multi-modal network, SimCLR's augmentations beside the single-modal one, and a
linear head on frozen embeddings, fitted on the training labels. Not found, so ours: network, sizes,
optimiser, temperature, epochs, the augmentations and all of the head.

One network serves both: two layers of convolution on 14 x 14 pixels and two dense ones, its last
layer being the embedding that is compared and that the head reads, as in the paper's theory; by
default of 20 coordinates, as the language has. A view is SimCLR's random crop (its share of the
image, of its default 0.08 on, and ratio of sides), brought back to size. It leaves colours as they
are: SimCLR's jitter of colours removes what the test set swaps, so whether it is among the paper's
augmentations decides, and its result says that it is not. `Faults.jitter` adds it.

The language names the digit of the image, not its label, so that the multi-modal network is told
what the single-modal one has to find, without the 10 % of wrong labels.

Axes: n images, r rows and s columns of pixels, k coordinates of an embedding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Bool, Float
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Generator, Tensor, nn
from torch.nn.functional import (
    affine_grid,
    avg_pool2d,
    cross_entropy,
    grid_sample,
    interpolate,
    normalize,
)

from statformer.experiments.base import Cell, Row
from statformer.images import image_splits
from statformer.tasks.colored_digits import N_CLASSES, ColoredDigits, ColoredDigitsPrior
from statformer.tasks.digits import Digits, DigitSplits
from statformer.tasks.stream import TaskStream

SIDE, BATCH, STEP_SIZE, DECAY, N_TEST = 14, 100, 3e-3, 1e-4, 5000
MADE = "made"


@dataclass(frozen=True)
class Faults:
    """What can be changed to flip a verdict; the defaults are the experiment's.

    jitter  views also permute and rescale the colour channels
    told    without it each image has the words of another one
    trains  without it no step is taken
    """

    jitter: bool = False
    told: bool = True
    trains: bool = True


NONE = Faults()


def measure_images(cell: Cell, rng: np.random.Generator, *, faults: Faults = NONE) -> Sequence[Row]:
    """Both methods on one training set; "train" and "test" are accuracies of the head on labels.

    "digit" and "color" are the test accuracies of heads that are fitted on what the images show.
    """
    seed = int(rng.integers(2**62))
    stream, generator = TaskStream(seed, 0, range(1)), Generator().manual_seed(seed)
    pools = made_pools(rng) if cell["images"] == MADE else mnist_pools()
    train = ColoredDigitsPrior(pools.train, cell["n"]).sample(stream)
    n_test = min(N_TEST, len(pools.test.labels))
    test = ColoredDigitsPrior(pools.test, n_test, swapped=True).sample(stream)
    rows: list[Row] = []
    for method in ("single", "multi"):
        network = image_encoder(cell["width"], seed)
        if faults.trains:
            _train(network, method, train, cell, faults, generator)
        embedded, fresh = _embedded(network, train), _embedded(network, test)
        row: dict[str, float | str] = {"method": method}
        for name, known, asked in (
            ("label", train.y, test.y),
            ("digit", train.digit, test.digit),
            ("color", train.color, test.color),
        ):
            head = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000, tol=1e-3))
            head.fit(embedded, known[0].numpy())
            if name == "label":
                row["train"] = float(head.score(embedded, known[0].numpy()))
            score = float(head.score(fresh, asked[0].numpy()))
            row["test" if name == "label" else name] = score
        rows.append(row)
    return rows


def image_encoder(width: int, seed: int) -> nn.Sequential:
    """Colour images "n 3 14 14" to embeddings "n k", k = `width`; torch's own first weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(288, 128),
            nn.ReLU(),
            nn.Linear(128, width),
        )


def _train(
    network: nn.Module,
    method: str,
    batch: ColoredDigits,
    cell: Cell,
    faults: Faults,
    generator: Generator,
) -> None:
    """AdamW on InfoNCE in both directions; negatives are the other images, or other words."""
    X, words = batch.X[0], batch.language()[0]
    if not faults.told:
        words = words.roll(1, 0)
    optimizer = torch.optim.AdamW(network.parameters(), STEP_SIZE, weight_decay=DECAY)
    for _ in range(cell["epochs"]):
        for chosen in torch.split(torch.randperm(len(X), generator=generator), BATCH):
            x, same = X[chosen], torch.eye(len(chosen), dtype=torch.bool)
            if method == "single":
                left, right = (
                    network(view(x, cell["crop"], generator, jitter=faults.jitter))
                    for _ in range(2)
                )
                ignored = torch.zeros_like(same)
            else:
                left, right = network(x), words[chosen]
                ignored = (right @ right.T > 1.5) & ~same  # the same words as one's own
            optimizer.zero_grad(set_to_none=True)
            contrast(left, right, cell["tau"], ignored).backward()  # type: ignore[no-untyped-call]
            optimizer.step()


def contrast(
    left: Float[Tensor, "n k"],
    right: Float[Tensor, "n k"],
    tau: float,
    ignored: Bool[Tensor, "n n"],
) -> Float[Tensor, ""]:
    """The mean of both directions of InfoNCE on cosines; `ignored` pairs are no negatives."""
    logits = normalize(left, dim=1) @ normalize(right, dim=1).T / tau
    logits = logits.masked_fill(ignored, -torch.inf)
    own = torch.arange(len(left))
    return 0.5 * (cross_entropy(logits, own) + cross_entropy(logits.T, own))


def view(
    X: Float[Tensor, "n c r s"], smallest: float, generator: Generator, *, jitter: bool = False
) -> Float[Tensor, "n c r s"]:
    """A random crop of each image, of a share from `smallest` to 1, brought back to size.

    The ratio of its sides is from 3/4 to 4/3, as in SimCLR. `jitter` draws the order of the colour
    channels anew and multiplies each by a number from 0 to 1.
    """

    def uniform(*shape: int) -> Tensor:
        return torch.rand(len(X), *shape, generator=generator, dtype=X.dtype)

    share = smallest + (1.0 - smallest) * uniform(1)
    ratio = torch.exp((2.0 * uniform(1) - 1.0) * math.log(4.0 / 3.0))
    sides = torch.cat([share * ratio, share / ratio], 1).sqrt().clamp(max=1.0)
    place = torch.cat(
        [torch.diag_embed(sides), ((2.0 * uniform(2) - 1.0) * (1.0 - sides))[..., None]], 2
    )
    seen = grid_sample(
        X, affine_grid(place, list(X.shape), align_corners=False), align_corners=False
    )
    if not jitter:
        return seen
    order = uniform(X.shape[1]).argsort(1)[..., None, None].expand_as(seen)
    return seen.gather(1, order) * uniform(X.shape[1], 1, 1)


@torch.no_grad()
def _embedded(network: nn.Module, batch: ColoredDigits) -> Float[np.ndarray, "n k"]:
    return torch.cat([network(X) for X in torch.split(batch.X[0], 1000)]).double().numpy()


@lru_cache(maxsize=1)
def mnist_pools() -> DigitSplits:
    """MNIST at half its resolution. Raises ValueError where its images are not the originals."""
    images = image_splits("mnist")
    if images.note:
        raise ValueError(f"mnist.npz says {images.note!r}; pass the original images")
    return DigitSplits(
        *(
            Digits(_halved(pixels), torch.from_numpy(labels.astype(np.int64)))
            for pixels, labels in (
                (images.train_images, images.train_labels),
                (images.test_images, images.test_labels),
            )
        )
    )


def _halved(pixels: np.ndarray) -> Tensor:
    grey = torch.from_numpy(pixels).float()[:, None]
    return avg_pool2d(grey, 2)[:, 0].round().to(torch.uint8)


def made_pools(rng: np.random.Generator, n_train: int = 2000, n_test: int = 1000) -> DigitSplits:
    """Ten patterns in place of digits, moved by up to a pixel: for tests, which read no file."""
    patterns = interpolate(
        torch.from_numpy(rng.random((1, N_CLASSES, 4, 4)).round()), scale_factor=3
    )
    padded = nn.functional.pad(patterns[0], (2, 2, 2, 2))
    pools = []
    for n in (n_train, n_test):
        labels, moves = rng.integers(0, N_CLASSES, n), rng.integers(0, 3, (n, 2))
        moved = [
            padded[label, i : i + SIDE, j : j + SIDE]
            for label, (i, j) in zip(labels, moves, strict=True)
        ]
        pools.append(Digits((255 * torch.stack(moved)).to(torch.uint8), torch.from_numpy(labels)))
    return DigitSplits(*pools)
