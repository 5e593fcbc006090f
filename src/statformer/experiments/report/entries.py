"""What the site shows of each claim: its deciding result, or that it has not been run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from statformer.experiments.base import SIZES, Status
from statformer.experiments.folder import load_experiment

Shown = Status | Literal["not run"]
STATUSES: tuple[Shown, ...] = ("holds", "fails", "undecided", "not run")

_NAME = re.compile(r"[A-Za-z0-9_]+")


@dataclass(frozen=True)
class Entry:
    """A claim. `result` is that of the largest size, `smaller` those of the others."""

    name: str
    claim: str
    paper: str
    kind: str
    source: str
    not_the_authors: str = ""
    result: Mapping[str, Any] | None = None
    smaller: Sequence[Mapping[str, Any]] = field(default_factory=tuple)

    @property
    def status(self) -> Shown:
        """Of the verdict, or "not run"."""
        return "not run" if self.result is None else self.result["verdict"]["status"]


def entries(
    results: Iterable[Mapping[str, Any]], names: Iterable[str], package: str
) -> list[Entry]:
    """The claims of the results and of the experiments called `names`, sorted by name.

    Results are enough by themselves; the experiment is loaded only where it has none. Raises
    ValueError for a result whose name cannot be that of a file.
    """
    by_name: dict[str, list[Mapping[str, Any]]] = {}
    for result in results:
        if not _NAME.fullmatch(result["name"]):
            raise ValueError(
                f"name is {result['name']!r}; a result bears the name of its experiment's module"
            )
        by_name.setdefault(result["name"], []).append(result)
    found = [_with_results(name, of_sizes) for name, of_sizes in by_name.items()]
    found += [_without_results(name, package) for name in names if name not in by_name]
    return sorted(found, key=lambda entry: entry.name)


def _with_results(name: str, results: list[Mapping[str, Any]]) -> Entry:
    *smaller, deciding = sorted(results, key=lambda result: SIZES.index(result["size"]))
    said = {key: deciding[key] for key in ("claim", "paper", "kind", "source", "not_the_authors")}
    return Entry(name, **said, result=deciding, smaller=smaller)


def _without_results(name: str, package: str) -> Entry:
    one = load_experiment(name, package)
    return Entry(name, one.claim, one.paper, one.kind, one.source, one.not_the_authors)
