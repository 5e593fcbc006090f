"""Which files a module's numbers depend on, read from its imports without running any of it.

Followed are the imports of the package a module lies in and of statformer, those inside functions
too, and files that a module names in a string and that lie beside it (the manifest of the weights,
which has the digest of each). Not followed are imports for type checkers, what makes pictures and
commands, and modules that are imported by a name made at run time.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

__all__ = ["closure", "sources_key"]

_NO_PART_OF_A_NUMBER = ("statformer.cli", "statformer.plotting")


def sources_key(module: str) -> str:
    """SHA-256 over names and bytes of all files in the closure of `module`."""
    digest = hashlib.sha256()
    for name, path in sorted(closure(module).items()):
        content = path.read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def closure(module: str) -> dict[str, Path]:
    """The files that `module` depends on, itself included, by module name or "module:file".

    Raises ModuleNotFoundError where there is no such module.
    """
    roots = {name: _root(name) for name in {"statformer", module.partition(".")[0]}}
    if _file(module, roots) is None:
        raise ModuleNotFoundError(f"there is no module {module}", name=module)
    found: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = _file(name, roots)
        if name in found or path is None or name.startswith(_NO_PART_OF_A_NUMBER):
            continue
        found[name] = path
        read = _read(path, path.read_text(encoding="utf-8"))
        found |= {f"{name}:{file}": path.parent / file for file in read.files}
        waiting += [parent for parent in _parents(name) if parent not in found]
        for target, attribute in read.imports:
            waiting += _modules(target, attribute, roots)
    return found


@dataclass(frozen=True)
class _Read:
    """What a file imports, as (module, name or ""), what only for type checkers, and its files."""

    imports: frozenset[tuple[str, str]]
    for_types: frozenset[tuple[str, str]]
    files: frozenset[str]
    is_lazy: bool


def _root(package: str) -> Path:
    """The folder of a top-level package; nothing is imported."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"there is no package {package}", name=package)
    return Path(next(iter(spec.submodule_search_locations)))


def _file(module: str, roots: dict[str, Path]) -> Path | None:
    """The file of a module of one of the packages, None where there is none."""
    package, *parts = module.split(".")
    if package not in roots:
        return None
    place = roots[package].joinpath(*parts)
    if (place / "__init__.py").is_file():
        return place / "__init__.py"
    alone = place.with_suffix(".py")
    return alone if parts and alone.is_file() else None


def _parents(module: str) -> Iterator[str]:
    """The packages around a module, which are imported before it."""
    while "." in module:
        module = module.rpartition(".")[0]
        yield module


def _modules(target: str, attribute: str, roots: dict[str, Path]) -> list[str]:
    """The modules behind `from target import attribute`, or behind `import target`.

    A package that looks its names up when they are used says only to type checkers whence they are.
    """
    below = f"{target}.{attribute}"
    if attribute and _file(below, roots) is not None:
        return [below]
    path = _file(target, roots)
    if path is None:
        return []
    read = _read(path, path.read_text(encoding="utf-8"))
    lazily = [module for module, name in read.for_types if not attribute or name == attribute]
    return [target, *lazily] if read.is_lazy else [target]


@lru_cache(maxsize=1024)
def _read(path: Path, text: str) -> _Read:
    """What a file of that text imports."""
    tree = ast.parse(text)
    imports: set[tuple[str, str]] = set()
    for_types: set[tuple[str, str]] = set()
    files: set[str] = set()
    waiting: list[tuple[ast.AST, set[tuple[str, str]]]] = [(tree, imports)]
    while waiting:
        node, target = waiting.pop()
        if isinstance(node, ast.Import):
            target.update((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            target.update((node.module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Constant) and _names_a_file(node.value, path.parent):
            files.add(str(node.value))
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            waiting += [(child, for_types) for child in node.body]
            waiting += [(child, target) for child in node.orelse]
        else:
            waiting += [(child, target) for child in ast.iter_child_nodes(node)]
    is_lazy = any(
        isinstance(node, ast.FunctionDef) and node.name == "__getattr__" for node in tree.body
    )
    return _Read(frozenset(imports), frozenset(for_types), frozenset(files), is_lazy)


def _names_a_file(value: object, folder: Path) -> bool:
    if not isinstance(value, str) or len(value) > 100 or not re.fullmatch(r"[\w.-]+\.\w+", value):
        return False
    return (folder / value).is_file()
