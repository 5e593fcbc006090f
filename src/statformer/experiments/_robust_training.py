"""Training and testing of the networks that the claims on robustness compare.

All methods of one seed see the same images in the same order and start from the same weights. On
a GPU, forward passes are bfloat16 and channels last. Where the environment variable
STATFORMER_ROBUST_RUNS names a folder, a training or test that was interrupted goes on from it.

Axes: n images, k channels, h by w pixels, c classes.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Generator, Tensor, nn

from statformer.experiments._robust_recipes import METHODS, RECIPES, Recipe
from statformer.experiments.base import Row
from statformer.images import image_splits
from statformer.nn.image_classifiers import ResNet18, SmallCNN
from statformer.objectives.adversarial import relaxed_targets
from statformer.pretraining.checkpoint import latest_step
from statformer.robust import FastAdversarialTrainer, ImageBatches, evaluate_robustness
from statformer.robust.attack import pgd
from statformer.robust.batches import as_images

N_MADE_CLASSES, MADE_SIZE = 10, 8
N_ENSEMBLE = 1000
CHUNK = 10  # steps of PGD between two looks at which images are fooled


@dataclass(frozen=True)
class Split:
    """Images in [0, 1] and labels on the device: for training, held out, for the last test."""

    train: tuple[Tensor, Tensor]
    held_out: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Trained:
    """A network with the weights of its best held-out epoch, its tables, and its folder if any."""

    model: nn.Module
    history: pd.DataFrame
    classes: pd.DataFrame
    folder: Path | None = None


def device() -> torch.device:
    """The GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def images_of(recipe: Recipe) -> Split:
    """The first images of a recipe's files, or made ones."""
    n = recipe.n_train + recipe.n_test
    if recipe.images == "made":
        x, y = _made(n)
        train, test = (
            (x[: recipe.n_train], y[: recipe.n_train]),
            (x[recipe.n_train :], y[recipe.n_train :]),
        )
    else:
        splits = _files(recipe.images)
        train = as_images(splits[0][: recipe.n_train]), torch.as_tensor(splits[1][: recipe.n_train])
        test = as_images(splits[2][: recipe.n_test]), torch.as_tensor(splits[3][: recipe.n_test])
    cut = recipe.n_train - recipe.n_held_out
    parts = (train[0][:cut], train[1][:cut]), (train[0][cut:], train[1][cut:]), test
    here = [(x.to(device()), y.long().to(device())) for x, y in parts]
    return Split(*here)


@cache
def _files(name: str) -> tuple[np.ndarray, ...]:
    """Training images and labels, test images and labels; read once."""
    splits = image_splits(name)
    return splits.train_images, splits.train_labels, splits.test_images, splits.test_labels


def _made(n: int) -> tuple[Tensor, Tensor]:
    """Smooth pictures of ten classes and noise; two of the classes look alike.

    The same pictures for every seed, as the files are the same.
    """
    rng = Generator().manual_seed(0)
    pictures = torch.rand(N_MADE_CLASSES, 1, 4, 4, generator=rng)
    pictures[1] = 0.6 * pictures[0] + 0.4 * pictures[1]
    pictures = nn.functional.interpolate(pictures, size=(MADE_SIZE, MADE_SIZE), mode="bilinear")
    y = torch.randint(N_MADE_CLASSES, (n,), generator=rng)
    noise = torch.randn(n, 1, MADE_SIZE, MADE_SIZE, generator=rng)
    return (pictures[y] + 0.1 * noise).clamp(0, 1), y


def network_of(recipe: Recipe, split: Split, seed: int) -> nn.Module:
    """A fresh network for the recipe's images."""
    _, n_channels, *size = split.train[0].shape
    n_classes = N_MADE_CLASSES if recipe.images == "made" else 10
    rng = Generator().manual_seed(seed)
    scale: dict[str, Any] = {"mean": (0.0,) * n_channels, "std": (1.0,) * n_channels}
    if recipe.network == "resnet18":
        model: nn.Module = ResNet18(n_classes, **scale, generator=rng)
    else:
        model = SmallCNN(
            n_classes, size=(size[0], size[1]), width=recipe.width, **scale, generator=rng
        )
    return model.to(device())


def train(
    recipe: Recipe, method: str, seed: int, split: Split, changed: Mapping[str, Any] | None = None
) -> Trained:
    """Train a network of the recipe by a method; `changed` settings are for planted faults."""
    settings = {**METHODS[method], **(changed or {})}
    if settings.get("n_steps", 1) > 1:
        settings.setdefault("step_255", recipe.eps_255 / 4)
    settings.setdefault("eps_255", recipe.eps_255)
    epochs = settings.pop("epochs", recipe.epochs)
    on_gpu = device().type == "cuda"
    folder = _folder(recipe, method, seed, changed)
    trainer = FastAdversarialTrainer(
        network_of(recipe, split, seed),
        learning_rate=recipe.learning_rate,
        strength=recipe.strength,
        alarm="warn",
        precision="bfloat16" if on_gpu else "float32",
        channels_last=on_gpu,
        generator=Generator().manual_seed(seed),
        checkpoints=folder,
        **settings,
    )
    batches = ImageBatches(
        *split.train,
        batch_size=recipe.batch_size,
        augment="crop-flip" if recipe.augments else None,
        device=device(),
        generator=Generator().manual_seed(seed),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the alarm is a column of the history
        trainer.fit(
            batches,
            validation=split.held_out,
            epochs=epochs,
            resume=folder is not None and latest_step(folder) is not None,
        )
    return Trained(trainer.model, trainer.history_, trainer.classes_, folder)


def _folder(
    recipe: Recipe, method: str, seed: int, changed: Mapping[str, Any] | None
) -> Path | None:
    """The folder of a training's checkpoints, where there is a place for them."""
    place = os.environ.get("STATFORMER_ROBUST_RUNS")
    if not place:
        return None
    text = f"{asdict(recipe)} {method} {seed} {sorted((changed or {}).items())}"
    return Path(place) / hashlib.sha256(text.encode()).hexdigest()[:16]


def test_rows(recipe: Recipe, trained: Trained, split: Split, seed: int) -> list[Row]:
    """A row per class: `clean`, `pgd` and `robust` accuracy, and how many test images it has.

    robust is AutoAttack's on the first 1,000 images where the recipe has it, else that of PGD.
    """
    x, y = split.test
    model = trained.model
    clean, held = (right.cpu().numpy() for right in survivors(recipe, model, split, seed))
    labels = y.cpu().numpy()
    found = pd.DataFrame({"label": labels, "clean": clean, "pgd": held})
    found["robust"] = found["pgd"]
    if recipe.ensemble:
        table = evaluate_robustness(
            model,
            (x[:N_ENSEMBLE].cpu(), y[:N_ENSEMBLE].cpu()),
            eps_255=recipe.eps_255,
            attacks=("autoattack",),
            seed=seed,
            record=None if trained.folder is None else trained.folder / "robustness.json",
        )
        right = table.robust("autoattack").astype(np.float64)
        found["robust"] = np.concatenate([right, np.full(len(y) - len(right), np.nan)])
    by_class = found.groupby("label")
    means = by_class.mean().assign(n=by_class.size()).reset_index()
    return records(means)


def records(table: pd.DataFrame) -> list[Row]:
    """The lines of a table as rows."""
    return [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]


def survivors(recipe: Recipe, model: nn.Module, split: Split, seed: int) -> tuple[Tensor, Tensor]:
    """Which test images are right, and which are so after PGD from one random start, "n" each.

    An image is given up once it is fooled after ten steps, as in SKG-FAT's evaluation, which gives
    it up after any.
    """
    x, y = split.test
    rng = Generator(x.device).manual_seed(seed)
    eps = recipe.eps_255 / 255
    hard = relaxed_targets(y, torch.ones(int(y.max()) + 1, device=x.device))
    n_classes = hard.shape[1]
    was_training = model.training
    model.eval()
    right, held = [], []
    for place in torch.split(torch.arange(len(x), device=x.device), 500):
        with torch.no_grad():
            logits = model(x[place])
        ok = logits.argmax(1) == y[place]
        right.append(ok)
        alive = ok.clone()
        delta = eps * (2 * torch.rand(x[place].shape, generator=rng, device=x.device) - 1)
        targets = nn.functional.pad(hard[place], (0, logits.shape[1] - n_classes))
        for _ in range(max(1, recipe.test_steps // CHUNK)):
            left = alive.nonzero()[:, 0]
            if not len(left):
                break
            delta[left] = pgd(
                model,
                x[place][left],
                targets[left],
                start=delta[left],
                eps=eps,
                step=eps / 4,
                n_steps=min(CHUNK, recipe.test_steps),
            )
            with torch.no_grad():
                moved = x[place][left] + delta[left]
                alive[left] = model(moved).argmax(1) == y[place][left]
        held.append(alive)
    model.train(was_training)
    return torch.cat(right), torch.cat(held)


def compare(
    recipe_name: str,
    methods: Sequence[str],
    rng: np.random.Generator,
    changed: Mapping[str, Mapping[str, Any]] | None = None,
    also: Callable[[Mapping[str, Any], Trained], Mapping[str, float]] | None = None,
) -> list[Row]:
    """Rows of `test_rows` for each method, all from one seed.

    changed  settings of single methods, for faults and positive controls
    also     further columns, from the settings of a method and its network
    """
    recipe = RECIPES[recipe_name]
    seed = int(rng.integers(2**31))
    split = images_of(recipe)
    rows: list[Row] = []
    for method in methods:
        trained = train(recipe, method, seed, split, (changed or {}).get(method))
        settings = {**METHODS[method], **(changed or {}).get(method, {})}
        more = {} if also is None else also(settings, trained)
        tested = test_rows(recipe, trained, split, seed)
        rows += [{"method": method, **row, **more} for row in tested]
    return rows
