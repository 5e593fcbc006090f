"""Vision transformers of several sizes, trained to fit their training images.

What `mean_field_heads` and `mean_field_layers` share. From the paper (arXiv 2410.23610, text):
CIFAR-10, 4 patches, Adam at 1e-4 with a cosine, 200 epochs, batches of 512, no augmentation, no
weight decay, dropout of .1. Accuracy and loss are of training images; here without dropout, which
of the two the paper plots was not found. The quick size had 1,000 images and 40 epochs at first,
in which no network came to fit (accuracy .67 with 4 heads, .49 with 24); it has the paper's number
of epochs now, and fewer images.

Axes: n images, k colours, h rows and w columns of pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor
from torch.nn.functional import cross_entropy

from statformer.experiments._seeds import over_seeds, seed_curve
from statformer.experiments.base import Cell, Row, Verdict
from statformer.images import image_splits
from statformer.nn.image_transformer import ImageTransformer
from statformer.plotting.chart import Chart, Panel, Series

N_CLASSES = 10
# Ours: the paper says only that accuracy and loss come close to 1 and 0, and shows the rest.
ACCURACY, LOSS, WORSE = 0.99, 0.05, 0.01
NOT_FOUND = (
    "width 128, layer norm, positions, pooling, start and seeds were not found; quick sizes are "
    "far smaller; images may be JPEG copies"
)

# Images, their number, features of a head, width, epochs, images of a batch, rate.
SIZES: Mapping[str, tuple[str, int, int, int, int, int, float]] = {
    "made": ("made", 8, 4, 64, 60, 8, 2e-3),
    "some CIFAR-10": ("cifar10", 200, 8, 32, 200, 50, 1e-3),
    "CIFAR-10": ("cifar10", 50_000, 128, 128, 200, 512, 1e-4),
}


class Images(NamedTuple):
    """Training images in [0, 1] and their labels."""

    x: Float[Tensor, "n k h w"]
    y: Int[Tensor, " n"]


def images_of(source: str, n: int) -> Images:
    """The first n training images, or noise with labels by chance, the same for every seed."""
    if source == "made":
        rng = Generator().manual_seed(0)
        return Images(
            torch.rand(n, 3, 8, 8, generator=rng), torch.randint(N_CLASSES, (n,), generator=rng)
        )
    found = image_splits(source)
    x = torch.from_numpy(found.train_images[:n]).permute(0, 3, 1, 2).float() / 255.0
    return Images(x, torch.from_numpy(found.train_labels[:n]).long())


def measure(
    cell: Cell,
    rng: np.random.Generator,
    *,
    labels_change: bool = False,
    always: Mapping[str, int] | None = None,
    idle: Mapping[str, int] | None = None,
) -> Sequence[Row]:
    """Training accuracy and loss after every epoch, without dropout.

    `labels_change` and `always` (sizes that take the cell's place) are for planted faults; a
    network of the `idle` size does not learn, which must show.
    """
    source, n, head_dim, width, n_epochs, n_batch, rate = SIZES[cell["size"]]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    shape: dict[str, int] = {"n_heads": cell["n_heads"], "n_layers": cell["n_layers"]}
    shape |= always or {}
    x, y = (part.to(device) for part in images_of(source, n))
    start = Generator().manual_seed(int(rng.integers(2**62)))
    drops = Generator(device).manual_seed(int(rng.integers(2**62)))
    network = ImageTransformer(
        N_CLASSES,
        size=(x.shape[1], x.shape[2], x.shape[3]),
        width=width,
        head_dim=head_dim,
        generator=start,
        **shape,
    ).to(device)
    if idle and all(cell[axis] == value for axis, value in idle.items()):
        rate = 0.0
    optimizer = torch.optim.Adam(network.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_epochs)
    rows: list[Row] = []
    for epoch in range(1, n_epochs + 1):
        target = (
            torch.from_numpy(rng.integers(N_CLASSES, size=n)).to(device) if labels_change else y
        )
        for at in torch.split(torch.from_numpy(rng.permutation(n)).to(device), n_batch):
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                logits = network(x[at], drops)
            torch.autograd.backward(cross_entropy(logits.float(), target[at]))
            optimizer.step()
        schedule.step()
        rows.append({"epoch": epoch, **_fit(network, x, y)})
    return rows


@torch.no_grad()
def _fit(
    network: ImageTransformer, x: Float[Tensor, "n k h w"], y: Int[Tensor, " n"]
) -> dict[str, float]:
    logits = torch.cat([network(part) for part in torch.split(x, 2048)]).float()
    right = (logits.argmax(1) == y).double().mean()
    return {"accuracy": float(right), "loss": float(cross_entropy(logits, y))}


def verdict(table: pd.DataFrame, axis: str, above: int, least: int) -> Verdict:
    """At every size > `above` accuracy >= .99 and loss <= .05; at size `least` .01 less."""
    last = table[table["epoch"] == table["epoch"].max()]
    by_size = last.pivot_table(index="seed", columns=axis, values=["accuracy", "loss"])
    large = [size for size in sorted(set(last[axis])) if size > above]
    verdicts = []
    for size in large:
        reached = over_seeds(by_size["accuracy", size])
        verdicts.append(
            Verdict.above(
                reached.value,
                ACCURACY,
                threshold_source="ours",
                interval=reached.interval,
                what=f"training accuracy at {size}",
            )
        )
        left = over_seeds(by_size["loss", size])
        verdicts.append(
            Verdict.below(
                left.value,
                LOSS,
                threshold_source="ours",
                interval=left.interval,
                what=f"training loss at {size}",
            )
        )
    gap = over_seeds(by_size["accuracy", large[0]] - by_size["accuracy", least])
    verdicts.append(
        Verdict.above(
            gap.value,
            WORSE,
            threshold_source="ours",
            interval=gap.interval,
            what=f"accuracy at {large[0]} minus at {least}",
        )
    )
    return Verdict.all_of(*verdicts)


def figure(table: pd.DataFrame, axis: str, word: str) -> Chart:
    """Training loss and accuracy over epochs, one curve per size."""
    panels = []
    for column, log_y in (("loss", True), ("accuracy", False)):
        series = []
        for size, rows in table.groupby(axis):
            curve = seed_curve(rows, "epoch", column)
            x, y, low, high = (curve[name].to_list() for name in ("x", "value", "low", "high"))
            series.append(Series(f"{size} {word}", x, y, low, high))
        rule = LOSS if column == "loss" else ACCURACY
        panels.append(
            Panel(
                f"Training {column}",
                "epoch",
                column,
                series,
                log_y=log_y,
                rule=rule,
                rule_label="threshold (ours)",
            )
        )
    return Chart(panels, "Without dropout. Means over seeds with 95 % intervals.")
