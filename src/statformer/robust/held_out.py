"""Images held out of training: split off where the caller brings none, and looked at each epoch.

Axes: n images, c classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor
from torch.utils.data import DataLoader, RandomSampler, SequentialSampler, Subset

from statformer.objectives.adversarial import relaxed_targets
from statformer.robust.alarm import Signs
from statformer.robust.attack import pgd, single_step
from statformer.robust.batches import ImageBatches
from statformer.robust.classes import ClassCounts

__all__ = ["HeldOut", "look", "split"]

SHARE, AT_MOST = 0.1, 1000
BATCH_SIZE = 250
TEN_STEPS, STEP_OF_EPS = 10, 0.25  # PGD-10 with 2/255 at 8/255, as in SKG-FAT's evaluation


class HeldOut(NamedTuple):
    """What an epoch did on held-out images: counts of clean and PGD-10, and the alarm's signs."""

    counts: ClassCounts
    signs: Signs


def split(
    train: Any, validation: Any, rng: Generator
) -> tuple[Iterable[Any], Iterable[tuple[Tensor, ...]]]:
    """Loaders of training and of held-out images.

    A pair of arrays (x, y) becomes `ImageBatches`. Where `validation` is None a tenth of the
    training images, at most 1,000, is held out and not trained on: of `ImageBatches` with all
    classes in their shares and without augmentation, of a `DataLoader` by chance (held-out images
    then go through the data set's transforms).
    Raises TypeError for another kind of loader without `validation`.
    """
    if isinstance(train, tuple):
        train = ImageBatches(*train, generator=rng)
    if validation is None and isinstance(train, ImageBatches):
        n = len(train.x)
        held = _held_out(n, rng, train.y)
        validation = train.part(held, augment=None, shuffle=False)
        train = train.part((~_marked(n, held)).nonzero()[:, 0], augment=train.augment, shuffle=True)
    elif validation is None:
        train, validation = _split_loader(train, rng)
    if isinstance(validation, tuple):
        validation = ImageBatches(*validation, batch_size=BATCH_SIZE, shuffle=False)
    return train, validation


def _marked(n: int, index: Tensor) -> Tensor:
    """True at the places of `index`."""
    marked = torch.zeros(n, dtype=torch.bool)
    marked[index] = True
    return marked


def _held_out(n: int, rng: Generator, y: Tensor | None = None) -> Tensor:
    """Places of the held-out images; every n-th of those sorted by class, where `y` is given."""
    if n < 2:
        raise ValueError(
            f"train has {n} images and validation is None: a tenth is held out; pass at least 2 "
            "images, or held-out ones as validation"
        )
    wanted = max(1, min(int(SHARE * n), AT_MOST))
    order = torch.randperm(n, generator=rng, device=rng.device).cpu()
    if y is not None:
        order = order[torch.argsort(y.cpu()[order], stable=True)]
    places = torch.linspace(0, n - 1, wanted).round().long()
    return torch.sort(order[places]).values


def _split_loader(train: Any, rng: Generator) -> tuple[Any, Any]:
    """Two DataLoaders over the parts of one's data set."""
    if (
        not isinstance(train, DataLoader)
        or not hasattr(train.dataset, "__len__")
        or train.batch_size is None
        or not isinstance(train.sampler, RandomSampler | SequentialSampler)
    ):
        raise TypeError(
            f"train is a {type(train).__name__} and validation is None: only a pair (x, y) or a "
            "DataLoader over a data set with a length, without a sampler of its own, can be "
            "split; pass a loader of held-out images as validation"
        )
    n = len(train.dataset)
    held = _held_out(n, rng)
    kept = torch.arange(n)[~_marked(n, held)]
    same: dict[str, Any] = {
        "num_workers": train.num_workers,
        "collate_fn": train.collate_fn,
        "pin_memory": train.pin_memory,
    }
    loader: DataLoader[Any] = DataLoader(
        Subset(train.dataset, kept.tolist()),
        batch_size=train.batch_size,
        shuffle=isinstance(train.sampler, RandomSampler),
        drop_last=train.drop_last,
        generator=train.generator,
        **same,
    )
    other: DataLoader[Any] = DataLoader(
        Subset(train.dataset, held.tolist()), batch_size=BATCH_SIZE, **same
    )
    return loader, other


def look(
    logits: Callable[[Tensor], Tensor],
    loader: Iterable[tuple[Tensor, ...]],
    *,
    n_classes: int,
    eps: float,
    rng: Generator,
    images: Callable[[Tensor], Tensor],
    labels: Callable[[Tensor], Tensor],
) -> HeldOut:
    """Clean, single-step (zero start, step eps) and PGD-10 (one random start) accuracies.

    logits          images -> "n c"; the network is in eval mode
    images, labels  bring those of a batch to the device of the network
    """
    counts = ClassCounts(n_classes, rng.device)
    n_right = torch.zeros((), dtype=torch.float64, device=rng.device)
    n_seen = 0
    hard = torch.ones(n_classes, device=rng.device)
    for batch in loader:
        x, y = images(batch[0]), labels(batch[1])
        targets = relaxed_targets(y, hard)
        zero = torch.zeros_like(x)
        one = single_step(logits, x, targets, start=zero, eps=eps, step=eps)
        start = eps * (2 * torch.rand(x.shape, generator=rng, device=x.device) - 1)
        ten = pgd(
            logits, x, targets, start=start, eps=eps, step=STEP_OF_EPS * eps, n_steps=TEN_STEPS
        )
        with torch.no_grad():
            n_right += (logits(x + one.delta).argmax(1) == y).sum()
            counts.add(y, one.at_start.argmax(1) == y, logits(x + ten).argmax(1) == y)
        n_seen += len(y)
    if not n_seen:
        raise ValueError("validation yields no batch; pass held-out images or None")
    return HeldOut(counts, Signs(float(n_right / n_seen), counts.robust_mean))
