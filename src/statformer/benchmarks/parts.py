"""Run the parts of a bench one by one into one record, and end with its goals."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from statformer.benchmarks.sheet import Sheet
from statformer.benchmarks.verdicts import Cells, Target
from statformer.runs.machine import PACKAGES, commit, machine, versions
from statformer.runs.record import Record
from statformer.runs.timing import LoadWatch

Setting = TypeVar("Setting")


@dataclass(frozen=True)
class Plan(Generic[Setting]):
    """What a bench is made of.

    runners   one per part, which puts cells {"part": ...} into the record
    targets   goals of the cells; asked for the parts that have any
    rivals    packages whose versions are noted
    """

    schema: str
    runners: Mapping[str, Callable[[Setting], None]]
    targets: Callable[[Cells, Sequence[str]], list[Target]]
    rivals: tuple[str, ...]

    def checked(self, parts: Sequence[str]) -> list[str]:
        """The parts in their order; raises ValueError for one that there is not, or for none."""
        return checked_parts(parts, self.runners)

    def run(
        self, setting: Setting, record: Record, parts: Sequence[str], **facts: Any
    ) -> dict[str, Any]:
        """Run the parts and return what the record holds; `facts` are noted beside the cells."""
        watch = LoadWatch()
        record.update(
            schema=self.schema,
            commit=commit(),
            versions=versions((*PACKAGES, *self.rivals)),
            machine=machine(),
            began=record.data.get("began", _now()),
            **facts,
        )
        for part in self.checked(parts):
            self.runners[part](setting)
        cells = record.cells
        measured = [part for part in self.runners if any(c["part"] == part for c in cells.values())]
        record.update(
            ended=_now(),
            other_load=watch.read(),
            targets=[target.as_dict() for target in self.targets(cells, measured)],
        )
        return record.data


def checked_parts(parts: Sequence[str], known: Iterable[str]) -> list[str]:
    """`parts` in the order of `known`; raises ValueError for one that is not there, or for none."""
    names = list(known)
    unknown = [part for part in parts if part not in names]
    if unknown or not parts:
        named = ",".join(unknown) or "none"
        raise ValueError(f"part={named} is unknown; choose from {','.join(names)}")
    return [part for part in names if part in parts]


def cells_of(cells: Cells, part: str) -> dict[str, Mapping[str, Any]]:
    """The cells of a part by their names, without its letter."""
    return {key.partition(": ")[2]: cell for key, cell in cells.items() if cell["part"] == part}


def goals(data: Mapping[str, Any]) -> Sheet:
    """The goals and their verdicts; those that are no headlines stand back."""
    sheet = Sheet("To reach", ("part", "goal", "found", "verdict"))
    for target in data.get("targets", []):
        indent = "" if target["is_headline"] else "  "
        sheet.rows.append(
            (target["part"], indent + target["goal"], target["found"], target["status"])
        )
    return sheet


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
