"""One training loop for every recipe of the project; needs torch."""

from __future__ import annotations

from statformer.pretraining.checkpoint import CheckpointError
from statformer.pretraining.loop import Progress, Result, pretrain
from statformer.pretraining.recipe import Recipe, find_recipes, get_recipe, parse_options

__all__ = [
    "CheckpointError",
    "Progress",
    "Recipe",
    "Result",
    "find_recipes",
    "get_recipe",
    "parse_options",
    "pretrain",
]
