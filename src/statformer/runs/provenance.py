"""Which commit last changed a file, and whether that file is as it was committed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from statformer.runs.machine import git_output

__all__ = ["Provenance", "provenance"]


@dataclass(frozen=True)
class Provenance:
    """The last commit of some files, its date (ISO), and whether nothing was changed since.

    note   "not a checkout", "never committed" or "uncommitted changes"; "" where all is committed
    """

    commit: str | None
    date: str | None
    is_clean: bool
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def provenance(*paths: Path) -> Provenance:
    """Of files of one checkout, by `git`: the latest commit that changed one of them."""
    folder = paths[0].parent
    names = [str(path) for path in paths]
    if git_output(folder, "rev-parse", "--is-inside-work-tree") != "true":
        return Provenance(None, None, False, "not a checkout")
    last = git_output(folder, "log", "-1", "--format=%H %cI", "--", *names)
    changes = git_output(folder, "status", "--porcelain", "--ignored", "--", *names)
    if not last:
        return Provenance(None, None, False, "never committed")
    commit, _, date = last.partition(" ")
    if changes is None or changes:
        return Provenance(commit, date, False, "uncommitted changes")
    return Provenance(commit, date, True)
