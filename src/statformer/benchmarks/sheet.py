"""A table of words for a terminal, and how numbers become words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Cells = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Sheet:
    """A table of words."""

    title: str
    header: tuple[str, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list)


def interval(found: Mapping[str, Any]) -> str:
    """'0.512 [0.480, 0.544]'."""
    return "{value:.3f} [{low:.3f}, {high:.3f}]".format(**found)


def signed(found: Mapping[str, Any]) -> str:
    """'+0.012 [+0.003, +0.021]'."""
    return "{value:+.3f} [{low:+.3f}, {high:+.3f}]".format(**found)


def value(found: Mapping[str, Any] | None) -> str:
    """'0.512', or nothing."""
    return "" if found is None else f"{found['value']:.3f}"
