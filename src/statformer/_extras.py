"""Optional modules: import one, or say in one line which extra brings it.

``require(module: str, extra: str) -> ModuleType`` returns the imported module, for example
``plt = require("matplotlib.pyplot", "plot")``. Where it is missing, ``MissingExtraError`` (an
``ImportError``) names the command to run.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType


class MissingExtraError(ImportError):
    """An optional module is not installed; the message is one line with the pip command."""


def require(module: str, extra: str) -> ModuleType:
    """Return the module called `module`, which the extra `extra` installs.

    Raises MissingExtraError where the module's top-level package is not installed. A package that
    is installed but broken keeps its own error, for reinstalling the extra would not mend it.
    """
    package = module.partition(".")[0]
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise MissingExtraError(
            f'{package} is not installed; run: pip install "statformer[{extra}]"', name=package
        ) from None
