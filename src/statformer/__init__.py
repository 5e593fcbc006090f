"""Pretrained attention networks as statistical estimators.

Importing this package is quick: the public names are looked up when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from statformer.estimators import (
        AttentionBayesNet,
        AttentionMixture,
        AttentionNeighborsClassifier,
        AttentionNeighborsRegressor,
        AttentionPCA,
        AttentionRegressor,
        AttentionSpectralClustering,
        cluster_tables,
        judge,
        load,
    )

__version__ = "0.1.0.dev0"

__all__ = [
    "AttentionBayesNet",
    "AttentionMixture",
    "AttentionNeighborsClassifier",
    "AttentionNeighborsRegressor",
    "AttentionPCA",
    "AttentionRegressor",
    "AttentionSpectralClustering",
    "cluster_tables",
    "judge",
    "load",
]


def __getattr__(name: str) -> object:
    if name in __all__:
        value: object = getattr(import_module("statformer.estimators"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
