"""What the claims on robustness train: images, a network, a budget; and the methods they compare.

The size of SKG-FAT's own runs is 110 epochs of CIFAR-10 with ResNet-18 and step drops (code). The
full size here is 30 epochs with OneCycle; the others are far smaller. Rates, sizes and budgets of
the small recipes are ours, chosen before the deciding runs, on other seeds, so that the networks
learn at all: in the few hundred steps of such a run the small network stays at chance under a
pairing of strength 1. It is 0.2 there, for all methods that have one. On some thousand images of
CIFAR-10 at 8/255 it stays at chance all the same, under FGSM-RS too, so that recipe is for times of
batches only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

SMALLER = (
    "30 epochs and OneCycle in place of 110 and step drops; at quick size a small CNN on some "
    "thousand MNIST images; CIFAR-10 may be JPEG copies"
)

Images = Literal["made", "mnist", "cifar10"]


@dataclass(frozen=True)
class Recipe:
    """How to train and test one network; counts of images, budgets in 1/255.

    n_train      training images, of which `n_held_out` choose the epoch and feed the alarm
    ensemble     AutoAttack on the first 1,000 test images beside PGD
    test_steps   of PGD on test images
    strength     of the pairing of clean and adversarial logits, 1 in the code
    """

    images: Images
    n_train: int
    n_held_out: int
    n_test: int
    epochs: int
    eps_255: float
    batch_size: int
    learning_rate: float
    network: Literal["small-cnn", "resnet18"] = "small-cnn"
    width: int = 16
    augments: bool = False
    ensemble: bool = False
    test_steps: int = 50
    strength: float = 1.0


RECIPES: Mapping[str, Recipe] = {
    "made, small CNN": Recipe(
        "made", 320, 20, 200, 3, 12.0, 30, 0.05, width=4, test_steps=10, strength=0.2
    ),
    "MNIST, small CNN": Recipe("mnist", 3000, 100, 1000, 10, 51.0, 50, 0.05, strength=0.2),
    "MNIST at 0.3, small CNN": Recipe("mnist", 3000, 100, 1000, 12, 76.5, 50, 0.05, strength=0.2),
    "CIFAR-10, small CNN": Recipe("cifar10", 3000, 100, 1000, 10, 8.0, 50, 0.05, strength=0.2),
    "CIFAR-10, ResNet-18": Recipe(
        "cifar10",
        50_000,
        1000,
        10_000,
        30,
        8.0,
        128,
        0.1,
        network="resnet18",
        augments=True,
        ensemble=True,
    ),
}

# The baseline has the same start, loop and strength, but neither class weights nor label weights
# that follow the classes.
BASELINE, GUIDED = "baseline", "SKG-FAT"
_PLAIN: dict[str, Any] = {"regulariser": None, "relaxation": None}
METHODS: Mapping[str, Mapping[str, Any]] = {
    "FGSM": {"start": "zero", **_PLAIN},
    "FGSM-RS": {"start": "uniform", **_PLAIN},
    "N-FGSM": {"start": "noise", **_PLAIN},
    BASELINE: {"regulariser": "uniform", "relaxation": "sls"},
    "CWR": {"regulariser": "cwr", "relaxation": "sls"},
    "SKLR": {"regulariser": "uniform", "relaxation": "sklr"},
    GUIDED: {"regulariser": "cwr", "relaxation": "sklr"},
    "literal": {"regulariser": "cwr", "relaxation": "sklr", "guidance": "literal"},
    "PGD-AT": {"start": "uniform", "n_steps": 10, **_PLAIN},
}
