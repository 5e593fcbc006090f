"""What a training run has to say about itself, and how a recipe is found by name.

Axes: b tasks of one rank's slice of the batch.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from torch import Tensor

from statformer.tasks.stream import TaskStream

__all__ = ["Recipe", "find_recipes", "get_recipe", "parse_options"]


class Recipe(Protocol):
    """A network, a prior, a loss and schedules; the loop does the rest.

    Subclass it (a frozen dataclass suits) to inherit the optional members. A recipe draws random
    numbers from the stream it is given and nowhere else; then a resumed run, or the same run on
    more ranks, sees the same tasks.
    """

    name: str
    batch_size: int
    """Tasks of one step, over all ranks."""

    ema_decay: float | None = None
    """Decay of the averaged weights. Evaluation and export use them when it is set."""
    max_gradient_norm: float = 1.0
    """Longer gradients are scaled down to this norm."""
    eval_every: int = 500
    log_every: int = 10

    def build(self, seed: int) -> torch.nn.Module:
        """The network before training. The global generator is seeded with `seed` meanwhile."""
        ...

    def sample(self, stream: TaskStream) -> Any:
        """The tasks of `stream`, usually a TaskBatch with leading axis b."""
        ...

    def loss(
        self, module: torch.nn.Module, batch: Any, progress: float
    ) -> tuple[Tensor, dict[str, float]]:
        """The mean loss over the tasks of `batch`, and numbers worth a place in the log.

        `progress` runs from 0 at the first step to 1 at the last. The numbers are averaged over
        ranks and over the steps between two lines of the log.
        """
        ...

    def evaluate(self, module: torch.nn.Module) -> dict[str, float]:
        """Scores of `module` on tasks that are the same at every call."""
        ...

    def learning_rate(self, step: int, n_steps: int) -> float:
        """The learning rate of step 0, ..., n_steps - 1. A group's "lr_scale" multiplies it."""
        ...

    def optimizer(self, params: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
        """An optimizer of the network's parameters."""
        ...

    def settings(self) -> dict[str, Any]:
        """What tells this recipe from its variants, for the card and the checkpoint (JSON)."""
        if dataclasses.is_dataclass(self) and not isinstance(self, type):
            return cast(
                "dict[str, Any]", json.loads(json.dumps(dataclasses.asdict(self), default=str))
            )
        return {}

    def export(self, module: torch.nn.Module) -> dict[str, Tensor]:
        """The tensors of final.safetensors."""
        return dict(module.state_dict())


def find_recipes() -> tuple[str, ...]:
    """The names of the recipes in the folder `recipes`, sorted; nothing is imported."""
    folder = Path(__file__).parent / "recipes"
    return tuple(sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__"))


def get_recipe(name: str, **options: Any) -> Recipe:
    """The recipe called `name`, or the one at "module:attribute"; options go to its factory.

    Raises ValueError when there is no such recipe, or when it does not take an option.
    """
    if ":" in name:
        module_name, _, attribute = name.partition(":")
        found = getattr(import_module(module_name), attribute, None)
        if found is None:
            raise ValueError(f"recipe {name!r}: {module_name} has no attribute {attribute!r}")
    elif name in find_recipes():
        module = import_module(f"statformer.pretraining.recipes.{name}")
        found = getattr(module, "recipe", None) or module.RECIPE
    else:
        known = ", ".join(find_recipes()) or "none"
        raise ValueError(
            f"there is no recipe {name!r}; known are {known}, or pass module:attribute"
        )
    if isinstance(found, type) or not hasattr(found, "learning_rate"):
        try:
            return cast("Recipe", found(**options))
        except TypeError as error:
            raise ValueError(f"recipe {name!r} with options {options}: {error}") from error
    if options:
        raise ValueError(f"recipe {name!r} takes no options; got {options}")
    return cast("Recipe", found)


def parse_options(pairs: Iterable[str]) -> Mapping[str, Any]:
    """{"size": 3, "without": "outliers"} from ["size=3", "without=outliers"].

    Values are read as JSON where they are JSON, and as plain text otherwise.
    """
    options: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key.isidentifier():
            raise ValueError(f"option {pair!r}: write key=value, for example size=3")
        try:
            options[key] = json.loads(text)
        except json.JSONDecodeError:
            options[key] = text
    return options
