"""The experiments of a folder: their names without importing them, and one by its name."""

from __future__ import annotations

import re
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from statformer.experiments.base import Experiment

__all__ = ["PACKAGE", "experiment_names", "load_experiment", "module_path"]

PACKAGE = "statformer.experiments"
_DEFINES = re.compile(r"^EXPERIMENT\b", re.MULTILINE)


def experiment_names(package: str = PACKAGE) -> list[str]:
    """Names of the modules of `package` that define `EXPERIMENT`, sorted; nothing is imported."""
    folder = module_path(package).parent
    return sorted(
        path.stem
        for path in folder.glob("[!_]*.py")
        if _DEFINES.search(path.read_text(encoding="utf-8"))
    )


def load_experiment(name: str, package: str = PACKAGE) -> Experiment:
    """The experiment called `name`.

    Raises KeyError where there is none, TypeError where its `EXPERIMENT` is something else.
    """
    module = f"{package}.{name}"
    if module not in sys.modules and name not in experiment_names(package):
        raise KeyError(f"there is no experiment {name!r}; `statformer experiments list` shows all")
    experiment = getattr(import_module(module), "EXPERIMENT", None)
    if not isinstance(experiment, Experiment):
        raise TypeError(f"EXPERIMENT of {module} is {experiment!r}; make it an Experiment")
    return experiment


def module_path(module: str) -> Path:
    """The file of a module; of a package, its `__init__.py`. Imports the packages it lies in.

    Raises ModuleNotFoundError where there is no such module.
    """
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"there is no module {module}", name=module)
    return Path(spec.origin)
