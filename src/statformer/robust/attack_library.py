"""Attacks that evaluate: those of foolbox and of pyautoattack, behind one signature.

Axes: n images, k channels, h by w pixels, c classes. Images are in [0, 1], eps and step in pixel
units, the norm is the largest change of a pixel.

foolbox has FGSM and PGD, and lets a subclass put another loss into PGD. pyautoattack is the
reference code of AutoAttack (Croce and Hein, arXiv 2003.01690), packaged; its four parts run here
one by one, each on the images that the parts before have not fooled, as in its own loop, so that a
run can be resumed between them. Both are loaded when they are used.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from statformer._extras import require

__all__ = ["ENSEMBLE", "Attacked", "ensemble_parts", "known_attack", "run_attack"]

ENSEMBLE = ("apgd-ce", "apgd-t", "fab-t", "square")
SQUARE_QUERIES = 5000  # of the standard version
CW_STEPS = 20  # as in the evaluation of SKG-FAT's code
_MOST_TARGETS = 9  # likewise
_FEWEST_CLASSES = 4  # that the targeted loss of APGD-T is defined for


class Attacked(NamedTuple):
    """Images as an attack left them, and which of them it claims to have fooled."""

    x: Float[Tensor, "n k h w"]
    claimed: Bool[Tensor, " n"]


def known_attack(name: str) -> bool:
    """Whether `name` is an attack on its own: "fgsm", "pgd<steps>" or "cw"."""
    return name in ("fgsm", "cw") or _pgd_steps(name) is not None


def ensemble_parts(n_classes: int) -> tuple[str, ...]:
    """The parts of AutoAttack's standard version; under 4 classes without APGD-T.

    The targeted loss divides by the distance of the first to the third and fourth logit.
    """
    return tuple(part for part in ENSEMBLE if part != "apgd-t" or n_classes >= _FEWEST_CLASSES)


def run_attack(
    name: str,
    model: nn.Module,
    x: Float[Tensor, "n k h w"],
    y: Int[Tensor, " n"],
    *,
    eps: float,
    step: float,
    seed: int,
    n_classes: int,
    n_queries: int = SQUARE_QUERIES,
) -> Attacked:
    """Attack a batch; the model is in eval mode and its parameters take no gradient.

    fgsm      one step of eps from the image itself (Goodfellow et al. 2015)
    pgd<n>    n steps of `step` from a uniform draw from the ball (Madry et al. 2018)
    cw        20 such steps up the margin max_{k != y} f_k - f_y, the loss of Carlini and Wagner
    apgd-ce   100 steps of a size that adapts, cross-entropy
    apgd-t    the same on the targeted DLR loss, for the 9 likeliest wrong classes
    fab-t     100 steps to the nearest point of each of those classes
    square    `n_queries` random squares that see the logits alone, 5,000 in the standard

    The seed goes to torch's own generator, which is left as it was. Raises MissingExtraError where
    the library is not installed.
    """
    with _seeded(seed, x.device), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # evaluation.py says itself what is suspicious
        if name in ENSEMBLE:
            n_targets = min(_MOST_TARGETS, n_classes - 1)
            return _run_part(name, model, x, y, eps, seed, n_targets, n_queries)
        attack = _foolbox_attack(name, step)
        wrapped = _foolbox().PyTorchModel(model, bounds=(0, 1), device=x.device)
        _, inside, claimed = attack(wrapped, x, y, epsilons=eps)
        return Attacked(inside.detach(), claimed)


def _pgd_steps(name: str) -> int | None:
    """The n of "pgd<n>"."""
    steps = name.removeprefix("pgd")
    return int(steps) if name.startswith("pgd") and steps.isdecimal() and int(steps) else None


@torch.no_grad()  # the parts switch gradients on where they take one
def _run_part(
    name: str,
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    eps: float,
    seed: int,
    n_targets: int,
    n_queries: int,
) -> Attacked:
    """One part of the standard version, with its settings."""
    library = require("pyautoattack", "robust")
    standard = library.AutoAttack(model, eps=eps, seed=seed, device=x.device)
    standard.square.n_queries = n_queries
    part = {
        "apgd-ce": standard.apgd,
        "apgd-t": standard.apgd_targeted,
        "fab-t": standard.fab,
        "square": standard.square,
    }[name]
    if name in ("apgd-t", "fab-t"):
        part.n_target_classes = n_targets
    if name == "fab-t":
        part.targeted = True
    if name in ("apgd-ce", "apgd-t"):
        part.logger = None  # its remarks become warnings
    attacked = part.perturb(x.clone(), y.clone())
    return Attacked(attacked.detach(), (attacked != x).flatten(1).any(1))


def _foolbox_attack(name: str, step: float) -> Any:
    attacks = _foolbox().attacks
    if name == "fgsm":
        return attacks.LinfFastGradientAttack()
    if name == "cw":
        return _margin_descent()(abs_stepsize=step, steps=CW_STEPS)
    return attacks.LinfProjectedGradientDescentAttack(abs_stepsize=step, steps=_pgd_steps(name))


@cache
def _foolbox() -> ModuleType:
    """foolbox, which imports GitPython, which wants to be told that git may be absent."""
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it imports a name that SciPy is about to drop
        return require("foolbox", "robust")


@cache
def _margin_descent() -> Any:
    """foolbox's PGD with the margin as its loss, which is what it offers `get_loss_fn` for."""
    astensor = require("eagerpy", "robust").astensor
    base: Any = _foolbox().attacks.LinfProjectedGradientDescentAttack

    class MarginDescent(base):  # type: ignore[misc]
        """Steps up sum_i (max_{k != y_i} f_k(x_i) - f_{y_i}(x_i))."""

        def get_loss_fn(self, model: Callable[[Any], Any], labels: Any) -> Callable[[Any], Any]:
            def loss(inputs: Any) -> Any:
                logits, y = model(inputs).raw, labels.raw[:, None]
                wrong = logits.scatter(1, y, -torch.inf).amax(1)
                return astensor((wrong - logits.gather(1, y)[:, 0]).sum())

            return loss

    return MarginDescent


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Both libraries draw from torch's own generators: seed them, and put them back."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
