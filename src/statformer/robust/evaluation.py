"""How robust a classifier is: attacks of maintained libraries, each image scored anew.

Axes: n images, k channels, h by w pixels, c classes.
"""

from __future__ import annotations

import hashlib
import json
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor, nn

from statformer.robust.attack_library import (
    ENSEMBLE,
    SQUARE_QUERIES,
    ensemble_parts,
    known_attack,
    run_attack,
)
from statformer.robust.batches import as_images, as_labels
from statformer.robust.eval_mode import eval_logits, frozen
from statformer.robust.settings import doubt_of_units
from statformer.robust.suspicions import RobustnessWarning, seen_after, seen_before
from statformer.robust.table import CLEAN, RobustnessTable, Stage

__all__ = ["ATTACKS", "evaluate_robustness"]

ATTACKS = ("fgsm", "pgd10", "pgd50", "cw", "autoattack")
BATCH_SIZE = 250
TOLERANCE = 1e-6  # of pixels, in the ball and in [0, 1]
STEP_OF_EPS = 0.25  # 2/255 at 8/255, as in SKG-FAT's evaluation


def evaluate_robustness(
    model: nn.Module,
    loader: Any,
    *,
    eps_255: float,
    step_255: float | None = None,
    attacks: Sequence[str] = ATTACKS,
    n_queries: int = SQUARE_QUERIES,
    seed: int = 0,
    record: str | Path | None = None,
    callback: Callable[[str, float], None] | None = None,
) -> RobustnessTable:
    """Attack every image within eps_255/255 of each pixel and see how it is classified.

    Parameters
    ----------
    model : nn.Module
        Images "n k h w" in [0, 1] -> logits "n c"; it normalises inside. It is evaluated where it
        lies, in eval mode, and left in the mode it had.
    loader : iterable of (x, y) or (x, y, ...), or a pair (x, y) of arrays
        Read once, in its order. Float images in [0, 1] (1e-6 beyond is clipped); uint8 is divided
        by 255. Batches are attacked as they come, a pair in batches of 250.
    eps_255, step_255 : float
        Budget and step of "pgd<n>" and "cw", in units of 1/255. The step is eps/4 where not given.
    attacks : sequence of str
        "fgsm", "pgd<n>" (n steps), "cw", "autoattack" (the standard ensemble of APGD-CE, APGD-T,
        FAB-T and Square), "apgd" (its first two parts: in public logs of CIFAR-10 they found all
        but 0.03 points of what the four find; elsewhere it may be less). See
        `attack_library.run_attack`.
    n_queries : int
        Of Square; fewer than the standard 5,000 are for a quick look.
    seed : int
        Of the attacks, the same for each batch, so that PGD of more steps starts at the same point.
    record : path, optional
        A JSON file, written after each attack. Where it is there, its attacks are not run again.
    callback : callable, optional
        Hears the name of each attack (or part of the ensemble) and the accuracy after it.

    Returns
    -------
    RobustnessTable
        `summary`, `per_class`, `per_sample`, `parts`, `warnings`, `to_json()`, `write(path)`.

    Raises
    ------
    ValueError
        Images outside [0, 1], labels that are no class, no image, an unknown attack, a record of
        another network, other images or other settings.
    MissingExtraError
        The library of an attack is not installed.

    Warns
    -----
    RobustnessWarning
        The outputs are probabilities; they differ from pass to pass; many images have no gradient;
        Square, which needs no gradient, fools what the others did not; an attack left the ball;
        eps_255 is outside 0.5 to 128.
    """
    settings = _checked(attacks, eps_255, step_255, n_queries) | {"seed": seed}
    batches = _batches(loader)
    y = torch.cat([y for _, y in batches])
    with frozen(model) as device:
        started = time.perf_counter()
        logits = torch.cat([eval_logits(model, x.to(device)).cpu() for x, _ in batches])
        clean = Stage(logits.argmax(1).numpy(), time.perf_counter() - started)
        n_classes = logits.shape[1]
        if not 0 <= int(y.min()) <= int(y.max()) < n_classes:
            raise ValueError(
                f"labels run from {int(y.min())} to {int(y.max())} and the model has {n_classes} "
                "logits; pass labels from 0 to one less"
            )
        settings |= {
            "n_classes": n_classes,
            "model_sha256": _digest(model.state_dict().values()),
            "images_sha256": _digest([*(x for x, _ in batches), y]),
        }
        stages = _recorded(record, settings, clean)
        planned, stage_of = _plan(attacks, n_classes)
        doubt = doubt_of_units(eps_255)
        said = [*([doubt] if doubt else []), *seen_before(model, batches, logits, device)]
        table = partial(RobustnessTable, y.numpy(), stages, tuple(attacks), settings, stage_of)
        if record is not None:  # that it cannot be written is known before the attacks
            table(tuple(said)).write(record)
        for name in planned:
            if name not in stages:
                before = _before(stages, name)
                stages[name] = _attack_all(name, model, batches, before, settings, device)
                if record is not None:
                    table(tuple(said)).write(record)
            if callback is not None:
                right = (stages[name].predicted == y.numpy()) & (clean.predicted == y.numpy())
                callback(name, float(right.mean()))
    found = table((*said, *seen_after(stages, y.numpy())))
    if record is not None:
        found.write(record)
    for message in found.warnings:
        warnings.warn(message, RobustnessWarning, stacklevel=2)
    return found


def _checked(
    attacks: Sequence[str], eps_255: float, step_255: float | None, n_queries: int
) -> dict[str, Any]:
    """The settings that do not depend on the network. Raises ValueError for impossible ones."""
    for name in attacks:
        if name not in ("apgd", "autoattack") and not known_attack(name):
            known = '"fgsm", "pgd<steps>", "cw", "apgd", "autoattack"'
            raise ValueError(f"attacks has {name!r}: pass any of {known}")
    step_255 = STEP_OF_EPS * eps_255 if step_255 is None else step_255
    for name, value in (("eps_255", eps_255), ("step_255", step_255), ("n_queries", n_queries)):
        if not value > 0:
            raise ValueError(f"{name}={value}: pass a positive number")
    return {"eps_255": eps_255, "step_255": step_255, "n_queries": n_queries}


def _plan(attacks: Sequence[str], n_classes: int) -> tuple[list[str], dict[str, str]]:
    """The stages to run, in their order, and after which stage each ensemble is complete."""
    parts = ensemble_parts(n_classes)
    ends = {
        "apgd": [part for part in parts if part.startswith("apgd")][-1],
        "autoattack": parts[-1],
    }
    stage_of = {name: ends[name] for name in attacks if name in ends}
    n_parts = max((parts.index(end) + 1 for end in stage_of.values()), default=0)
    alone = [name for name in dict.fromkeys(attacks) if name not in ends]
    return [*alone, *parts[:n_parts]], stage_of


def _before(stages: Mapping[str, Stage], name: str) -> Int[np.ndarray, " n"] | None:
    """The predictions that a part of the ensemble goes on from; None for an attack on its own."""
    if name not in ENSEMBLE:
        return None
    earlier = [part for part in ENSEMBLE[: ENSEMBLE.index(name)] if part in stages]
    return stages[earlier[-1] if earlier else CLEAN].predicted


def _attack_all(
    name: str,
    model: nn.Module,
    batches: Sequence[tuple[Tensor, Tensor]],
    before: Int[np.ndarray, " n"] | None,
    settings: Mapping[str, Any],
    device: torch.device,
) -> Stage:
    """Attack the images (of a part: those not fooled before), put them back, score them anew."""
    eps, started = settings["eps_255"] / 255, time.perf_counter()
    predicted, n_outside, n_mismatched, first = [], 0, 0, 0
    for images, labels in batches:
        x, y = images.to(device), labels.to(device)
        result = torch.full_like(y, -1)
        if before is not None:
            result = torch.as_tensor(before[first : first + len(y)], device=device)
        first += len(y)
        left = (result == y) | (result < 0)
        if bool(left.any()):
            x, y = x[left], y[left]
            attacked = run_attack(
                name,
                model,
                x,
                y,
                eps=eps,
                step=settings["step_255"] / 255,
                seed=settings["seed"],
                n_classes=settings["n_classes"],
                n_queries=settings["n_queries"],
            )
            inside = torch.minimum(torch.maximum(attacked.x, x - eps), x + eps).clamp(0.0, 1.0)
            # FAB divides by gradients, and where there is none its images are no numbers
            inside = torch.where(inside.isnan(), x, inside)
            label = eval_logits(model, inside).argmax(1)
            off = (attacked.x - inside).abs().flatten(1).amax(1)
            n_outside += int((~(off <= TOLERANCE)).sum())
            n_mismatched += int((attacked.claimed != (label != y)).sum())
            result = result.masked_scatter(left, label)
        predicted.append(result.cpu())
    seconds = time.perf_counter() - started
    return Stage(torch.cat(predicted).numpy(), seconds, n_outside, n_mismatched)


def _batches(loader: Any) -> list[tuple[Tensor, Tensor]]:
    """All batches on the CPU, checked."""
    batches = []
    for x, y in _raw_batches(loader):
        images = as_images(x).cpu().float()
        if len(images) != len(y):
            raise ValueError(f"a batch has {len(images)} images and {len(y)} labels; pass as many")
        low, high = images.aminmax() if images.numel() else (torch.zeros(()), torch.zeros(()))
        if not (low >= -TOLERANCE and high <= 1 + TOLERANCE):
            raise ValueError(
                f"images run from {low:.4g} to {high:.4g}; pass pixels in [0, 1] and put the "
                "normalisation inside the model"
            )
        batches.append((images.clamp(0.0, 1.0), as_labels(y).cpu()))
    batches = [batch for batch in batches if len(batch[1])]
    if not batches:
        raise ValueError("loader yields no image; pass at least one")
    return batches


def _raw_batches(loader: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(loader, tuple):
        x, y = loader
        if len(x) != len(y):
            raise ValueError(f"x has {len(x)} images and y {len(y)} labels; pass as many")
        for first in range(0, len(y), BATCH_SIZE):
            yield x[first : first + BATCH_SIZE], y[first : first + BATCH_SIZE]
    else:
        for batch in loader:
            yield batch[0], batch[1]


def _digest(tensors: Iterable[Tensor]) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        array = tensor.detach().cpu().contiguous()
        digest.update(f"{array.dtype}{tuple(array.shape)}".encode())
        digest.update(array.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _recorded(
    record: str | Path | None, settings: dict[str, Any], clean: Stage
) -> dict[str, Stage]:
    """The stages of an earlier run of the same evaluation.

    Raises ValueError where the file is of another one.
    """
    stages = {CLEAN: clean}
    if record is None or not Path(record).exists():
        return stages
    try:
        found = json.loads(Path(record).read_text())
        theirs, kept = found["settings"], found["stages"]
        for name, stage in kept.items():
            if name != CLEAN:
                stage["predicted"] = np.asarray(stage["predicted"], dtype=np.int64)
                if stage["predicted"].shape != clean.predicted.shape:
                    raise ValueError(f"{name} has {stage['predicted'].shape} predictions")
                stages[name] = Stage(**stage)
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        OverflowError,
        RecursionError,
    ) as error:
        raise ValueError(f"record={record}: not a record of an evaluation ({error})") from None
    if other := [name for name in settings if theirs.get(name) != settings[name]]:
        raise ValueError(
            f"record={record} is of another evaluation ({', '.join(other)} differ); "
            "name another file or remove it"
        )
    return stages
