"""One goal and its verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

REACHED, SHORT, MISSING, INVALID = "reached", "short", "not measured", "invalid"

Cells = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Target:
    """One goal: its part, what was wanted, what was found, and the verdict.

    is_headline is False for the families and cells that a headline is made of.
    """

    part: str
    goal: str
    found: str
    status: str
    is_headline: bool = True

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def signed(interval: Mapping[str, Any]) -> str:
    """'+0.012 [+0.003, +0.021], 50 tables'."""
    value, low, high = (interval[name] for name in ("value", "low", "high"))
    return f"{value:+.3f} [{low:+.3f}, {high:+.3f}], {interval['n']} tables"
